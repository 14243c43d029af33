/** activities/settle.ts on hosts in memory: what a destination decides of a move, what it says of it, and what ends with it. */
import { describe, expect, it } from 'vitest';
import { A, B, WEB, beginHosts, recordPath, runDirOf } from '../support/hosts-in-memory.js';
import { REASON, QUOTE, acceptedUnheard, ending, ofVerdict, orderOfEpoch, refusedOf, rejected, settlementOn, settlementOver } from '../support/moves-in-memory.js';
import { createSettlement } from '../../activities/settle.js';
import { digestOf } from '../../domain/canonical.js';
import type { VerdictStatement } from '../../domain/manifest.js';
import { type OwnershipRecord, noRecord } from '../../domain/ownership.js';
import { FOREVER } from '../../infra/testbed/hostile/people.js';

describe('what a destination decides', () => {
  it('is a rejection where it has not accepted, which stays what it was', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    const answer = await hosts.ask('host-b', 'settleDestination', ending(move));
    expect(answer).toEqual({ verdict: rejected(move), quote: QUOTE, isAbsent: false, manifest: null });
    expect(await hosts.ask('host-b', 'settleDestination', ending(move, 'another reason'))).toMatchObject({ verdict: rejected(move), isAbsent: false });
    expect(hosts.record('host-b')).toMatchObject({ state: 'none', settled: [{ migrationId: move.order.migrationId, outcome: 'rejected', epoch: 2, reason: REASON, notAfter: null }] });
  });

  it('ends what waited for the image: process, vTPM, files, door and session', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    const before = [...hosts.files('host-b').keys()].filter((path) => path.includes('/web/')).sort();
    expect(before).toEqual(['/run/host-b/web/console.log', '/var/host-b/vms/web/installed.json', '/var/host-b/vms/web/ownership.json']);
    expect([hosts.status('host-b'), hosts.machine('host-b').vtpms.has(runDirOf('host-b')), hosts.world.network.doorsOf('host-b').length]).toEqual(['incoming', true, 1]);
    await hosts.ask('host-b', 'settleDestination', ending(move));
    expect([hosts.status('host-b'), hosts.machine('host-b').vtpms.has(runDirOf('host-b')), hosts.world.network.doorsOf('host-b').length]).toEqual(['absent', false, 0]);
    expect([...hosts.files('host-b').keys()].filter((path) => path.includes('/web/'))).toEqual([recordPath('host-b')]);
    expect(hosts.services('host-b').sessions.find(move.order.migrationId)).toBeUndefined();
    expect(await hosts.refused('host-b', 'prepareDestination', { order: move.signed, vm: move.vm })).toEqual([expect.stringMatching(/^SESSION_LOST: host-b /)]);
  });

  it('of a move that never came is a rejection of its own, for as long as the order is good', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('ordered');
    expect(await hosts.ask('host-b', 'settleDestination', ending(move))).toMatchObject({ verdict: rejected(move) });
    expect(hosts.record('host-b')).toMatchObject({ state: 'none', epoch: 0, settled: [{ migrationId: move.order.migrationId, epoch: 2, outcome: 'rejected', notAfter: FOREVER }] });
  });

  it('has a reason, of a thousand characters at the most', async () => {
    const hosts = await beginHosts();
    const [one, other] = [await hosts.move('ordered'), await hosts.move('ordered')];
    const shown = { epoch: 2, notAfter: FOREVER, now: '2029-01-01T00:00:00Z' };
    expect(await hosts.drive(settlementOn(hosts, 'host-b').decide(one.order, 'x'.repeat(1500), shown))).toEqual({ verdict: rejected(one, 'x'.repeat(1000)), manifest: null });
    expect(await hosts.drive(settlementOn(hosts, 'host-b').decide(other.order, '', shown))).toEqual({ verdict: rejected(other, 'no reason given'), manifest: null });
  });

  it('is what it came to where no reason was kept', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('ordered');
    await hosts.ask('host-a', 'settleSource', ending(move));
    expect(await hosts.drive(settlementOn(hosts, 'host-a').decide(move.order, REASON, null))).toEqual({ verdict: { ...rejected(move, 'withdrawn'), destination: A }, manifest: null });
  });

  it('changes nothing where it is no destination of the move', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('ordered');
    expect(await hosts.refused('host-a', 'settleDestination', ending(move))).toEqual(['ORDER_INVALID: the order is not valid: host-a is not its destination']);
    expect(hosts.record('host-a')?.settled).toEqual([]);
    expect(await hosts.refused('host-b', 'settleSource', ending(move))).toEqual(['ORDER_INVALID: the order is not valid: host-b is not its source']);
    expect(hosts.record('host-b')).toBeNull();
  });

  it('shuts the door before anything is decided, also where nothing ends the session', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    await hosts.drive(settlementOn(hosts, 'host-b').settle({ order: move.order, shown: null, reason: REASON }));
    expect(hosts.world.network.doorsOf('host-b')).toEqual([]);
    expect(hosts.services('host-b').sessions.find(move.order.migrationId)).toBeDefined();
  });

  it('is its acceptance where it accepted: the VM runs, and the session stays', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('copied');
    const { statement, manifest } = move.answers?.[2] ?? {};
    const { verdict } = statement ?? {};
    expect(verdict).toEqual({ ...ofVerdict(move), verdict: 'accepted', manifestDigest: digestOf(manifest), reason: null });
    expect(await hosts.ask('host-b', 'settleDestination', ending(move))).toEqual({ verdict, quote: QUOTE, isAbsent: false, manifest });
    expect(hosts.services('host-b').sessions.find(move.order.migrationId)).toBeDefined();
    expect([hosts.state('host-b'), hosts.status('host-b')]).toEqual(['owner', 'running']);
  });

  it('lets what it accepted run where it stands still, and says where its process is gone', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('copied');
    await hosts.drive(hosts.services('host-b').hypervisor.ensurePaused(WEB, runDirOf('host-b')));
    expect(await hosts.ask('host-b', 'settleDestination', ending(move))).toMatchObject({ verdict: { verdict: 'accepted' }, isAbsent: false });
    expect(hosts.machine('host-b').runs('web')).toBe(true);
    hosts.machine('host-b').turnOff();
    expect(await hosts.ask('host-b', 'settleDestination', ending(move))).toMatchObject({ verdict: { verdict: 'accepted' }, isAbsent: true });
    expect(hosts.status('host-b')).toBe('absent');
  });

  it('gives the manifest that its acceptance names also where both workers are new since', async () => {
    const hosts = await beginHosts();
    const { move, statement } = await acceptedUnheard(hosts);
    for (const host of ['host-a', 'host-b'] as const) await hosts.startWorker(host);
    const answer = await hosts.ask('host-b', 'settleDestination', ending(move));
    if (!('verdict' in answer)) throw new Error('no verdict');
    expect(answer.verdict).toEqual(statement.verdict);
    expect(answer.manifest).toMatchObject({ migrationId: move.order.migrationId, vmId: 'web', epoch: 2 });
    expect(digestOf(answer.manifest)).toBe(answer.verdict.manifestDigest);
  });

  it('does not call absent what it accepted and gave away since', async () => {
    const hosts = await beginHosts();
    const first = await hosts.move('copied');
    await hosts.ask('host-a', 'resolveSource', { statement: first.answers?.[2].statement as VerdictStatement });
    const back = await hosts.move('copied', { source: B, destination: A });
    await hosts.ask('host-b', 'resolveSource', { statement: back.answers?.[2].statement as VerdictStatement });
    expect([hosts.state('host-b'), hosts.status('host-b')]).toEqual(['retired', 'absent']);
    expect(await hosts.ask('host-b', 'settleDestination', ending(first))).toMatchObject({ verdict: { verdict: 'accepted' }, isAbsent: false });
    expect(hosts.status('host-b')).toBe('absent');
  });

  it('is that it owned a later epoch where it no longer knows the move', async () => {
    const hosts = await beginHosts();
    const others = await hosts.move('copied');
    await hosts.ask('host-a', 'resolveSource', { statement: others.answers?.[2].statement as VerdictStatement });
    const unknown = { ...others, ...(await orderOfEpoch(hosts, 1)) };
    const answer = await hosts.ask('host-b', 'settleDestination', ending(unknown));
    expect(answer).toEqual({ succession: { protocol: 'korora/1', purpose: 'succession', vmId: 'web', hostId: 'host-b', migrationId: unknown.order.migrationId, ownedEpoch: 2 }, quote: QUOTE });
    expect(hosts.record('host-b')?.settled.map(({ migrationId }) => migrationId)).toEqual([others.order.migrationId]);
  });

  it('ends the session of a move that it superseded', async () => {
    const hosts = await beginHosts();
    const unknown = await orderOfEpoch(hosts, 1);
    await hosts.ask('host-b', 'openSession', { order: unknown.signed, role: 'destination' });
    const others = await hosts.move('copied');
    await hosts.ask('host-a', 'resolveSource', { statement: others.answers?.[2].statement as VerdictStatement });
    expect(await hosts.ask('host-b', 'settleDestination', ending(unknown))).toMatchObject({ succession: { ownedEpoch: 2 } });
    expect(hosts.services('host-b').sessions.find(unknown.order.migrationId)).toBeUndefined();
  });
});

describe('having a move end that was not taken up', () => {
  const shown = { epoch: 2, notAfter: FOREVER, now: '2029-01-01T00:00:00Z' };

  it('entombs its order on both sides', async () => {
    const hosts = await beginHosts();
    const { order } = await hosts.move('ordered');
    await hosts.drive(settlementOn(hosts, 'host-a').settleHere({ order, role: 'source', shown }, REASON));
    await hosts.drive(settlementOn(hosts, 'host-b').settleHere({ order, role: 'destination', shown }, REASON));
    expect(hosts.record('host-a')?.settled).toMatchObject([{ outcome: 'withdrawn', epoch: 2, notAfter: FOREVER }]);
    expect(hosts.record('host-b')?.settled).toMatchObject([{ outcome: 'rejected', epoch: 2, reason: REASON, notAfter: FOREVER }]);
  });

  it('leaves a source alone that holds the move, or has settled it', async () => {
    const hosts = await beginHosts();
    const { order } = await hosts.move('ordered');
    const held = { ...noRecord(WEB, A), state: 'relinquished', epoch: 1, migrationId: order.migrationId, peer: B } as unknown as OwnershipRecord;
    const settled: OwnershipRecord = { ...noRecord(WEB, A), state: 'owner', epoch: 1, settled: [refusedOf(order.migrationId)] };
    for (const record of [held, settled]) {
      const { settlement, applied } = settlementOver(hosts, 'host-a', record);
      await hosts.drive(settlement.settleHere({ order, role: 'source', shown }, REASON));
      expect(applied).toEqual([]);
    }
    const others = { ...held, migrationId: (await hosts.move('ordered')).order.migrationId } as OwnershipRecord;
    const { settlement, applied } = settlementOver(hosts, 'host-a', others);
    await hosts.drive(settlement.settleHere({ order, role: 'source', shown }, REASON));
    expect(applied).toEqual([{ type: 'withdraw', migrationId: order.migrationId, shown }]);
  });

  it('clears away what a destination waited with, and leaves alone what it accepted', async () => {
    const hosts = await beginHosts();
    const waiting = await hosts.move('prepared');
    await hosts.drive(settlementOn(hosts, 'host-b').settleHere({ order: waiting.order, role: 'destination', shown: null }, REASON));
    expect([hosts.status('host-b'), hosts.files('host-b').has('/var/host-b/vms/web/installed.json')]).toEqual(['absent', false]);
    await hosts.ask('host-a', 'settleSource', ending(waiting));
    const moved = await hosts.move('copied');
    await hosts.drive(settlementOn(hosts, 'host-b').settleHere({ order: moved.order, role: 'destination', shown: null }, REASON));
    expect([hosts.state('host-b'), hosts.status('host-b')]).toEqual(['owner', 'running']);
  });

  it('discards nothing at a destination that owned its epoch by another move', async () => {
    const hosts = await beginHosts();
    const unknown = await orderOfEpoch(hosts, 1);
    await hosts.move('copied');
    await hosts.drive(settlementOn(hosts, 'host-b').settleHere({ order: unknown.order, role: 'destination', shown }, REASON));
    expect([hosts.state('host-b'), hosts.status('host-b'), hosts.record('host-b')?.settled.length]).toEqual(['owner', 'running', 1]);
  });
});

it('says until when it keeps what it gives up', async () => {
  const hosts = await beginHosts();
  const services = { ...hosts.services('host-c'), clock: { now: () => Date.parse('2029-06-01T00:00:00Z') } };
  expect(await hosts.drive(createSettlement(services).keptUntil())).toBe('2029-06-02T00:00:00.000Z');
});

it('touches neither what runs nor what is surplus but by its verdict', async () => {
  const hosts = await beginHosts();
  const { order } = await hosts.move('ordered');
  const record: OwnershipRecord = { ...noRecord(WEB, A), state: 'owner', epoch: 1, settled: [refusedOf(order.migrationId)] };
  const services = hosts.services('host-a');
  const done: string[] = [];
  const ownership = { ...services.ownership, hold: <T>(_: unknown, work: (held: OwnershipRecord, apply: never) => Promise<T>) => (done.push('hold'), work(record, undefined as never)) };
  const { carryOut, settleHere } = createSettlement({ ...services, ownership });
  const verdict = { ...rejected({ order }), destination: A } as never;
  expect(await hosts.drive(carryOut({ verdict, manifest: null }))).toEqual({ verdict, quote: QUOTE, isAbsent: false, manifest: null });
  expect(done).toEqual(['hold']);
  const accepted = { ...ofVerdict({ order }), destination: A, verdict: 'accepted', manifestDigest: 'ab'.repeat(32), reason: null } as never;
  await hosts.drive(carryOut({ verdict: accepted, manifest: null }));
  expect(done).toEqual(['hold', 'hold']);
  done.length = 0;
  await hosts.drive(settleHere({ order, role: 'destination', shown: null }, REASON));
  expect(done).toEqual(['hold', 'hold']);
});
