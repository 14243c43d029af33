/** activities/settle.ts on hosts in memory: what a source takes back before the handover, and what ends the move after it. */
import { describe, expect, it } from 'vitest';
import { B, WEB, beginHosts, orderIn, recordPath, refusalsOf, runDirOf } from '../support/hosts-in-memory.js';
import { copying, REASON, acceptedUnheard, ending, handedOver, offeringOf, orderOfEpoch, rejected, settlementOn, settlementOver } from '../support/moves-in-memory.js';
import { createSettlement } from '../../activities/settle.js';
import type { HostServices } from '../../activities/services.js';
import type { OwnershipRecord } from '../../domain/ownership.js';
import { FOREVER } from '../../infra/testbed/hostile/people.js';

describe('a source before the handover', () => {
  it('runs on, and is over with the move and its session', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('sealed');
    expect(await hosts.ask('host-a', 'settleSource', ending(move))).toEqual({ state: 'runs', epoch: 2 });
    expect(hosts.record('host-a')).toMatchObject({ state: 'owner', epoch: 1, settled: [{ migrationId: move.order.migrationId, outcome: 'withdrawn', epoch: 2, notAfter: FOREVER }] });
    expect(hosts.services('host-a').sessions.find(move.order.migrationId)).toBeUndefined();
    expect(await hosts.ask('host-a', 'settleSource', ending(move))).toEqual({ state: 'runs', epoch: 2 });
    expect(hosts.record('host-a')?.settled).toHaveLength(1);
  });

  it('says where its process is gone, and ends the session then, too', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('sealed');
    hosts.machine('host-a').turnOff();
    expect(await hosts.ask('host-a', 'settleSource', ending(move))).toEqual({ state: 'absent', epoch: 2 });
    expect(hosts.services('host-a').sessions.find(move.order.migrationId)).toBeUndefined();
  });

  it('ends the copy that runs, with what was said', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared', { requiresApproval: true });
    const copying = hosts.call('host-a', 'copyMemory', { order: move.signed, port: move.port });
    const handing = hosts.call('host-a', 'stopAndCopy', { order: move.signed, port: move.port });
    hosts.call('host-b', 'verifyImage', { order: move.signed });
    await hosts.quiet();
    expect([hosts.state('host-a'), hosts.status('host-a')]).toEqual(['offering', 'moving-out']);
    expect(await hosts.ask('host-a', 'settleSource', ending(move))).toEqual({ state: 'runs', epoch: 2 });
    for (const { answer } of [copying, handing]) expect(await refusalsOf(answer)).toEqual([`ABORTED: the move was aborted: ${REASON}`]);
    expect([hosts.state('host-a'), hosts.status('host-a')]).toEqual(['owner', 'running']);
    expect(hosts.record('host-a')?.settled).toMatchObject([{ outcome: 'withdrawn', notAfter: null }]);
  });

  it('ends a copy that began while it looked', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    const { ownership, sessions } = hosts.services('host-a');
    const session = sessions.find(move.order.migrationId);
    const aborted: unknown[] = [];
    const began = { abort: (why: unknown) => aborted.push(why), ended: Promise.resolve() };
    let held = 0;
    const services = { ...hosts.services('host-a'), ownership: { ...ownership, hold: (vmId: never, work: never) => {
      if ((held += 1) === 1 && session) session.outgoing = began as never;
      return ownership.hold(vmId, work);
    } } } as HostServices;
    const settling = createSettlement(services).settleSource({ order: move.signed, reason: REASON });
    expect(await hosts.drive(settling)).toEqual({ state: 'runs', epoch: 2 });
    expect(held).toBe(2);
    expect(aborted[0]).toMatchObject({ code: 'ABORTED' });
    expect(hosts.record('host-a')?.settled).toHaveLength(1);
  });

  it('waits for the end of the copy before it looks', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    const session = hosts.services('host-a').sessions.find(move.order.migrationId);
    if (!session) throw new Error('no session');
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => (end = resolve));
    session.outgoing = { abort: () => undefined, ended } as never;
    const settling = hosts.call('host-a', 'settleSource', ending(move));
    await hosts.quiet();
    expect(hosts.record('host-a')?.settled).toEqual([]);
    end();
    expect(await hosts.drive(settling.answer)).toEqual({ state: 'runs', epoch: 2 });
  });

  it('settles what it does not own, and says that it does not', async () => {
    const hosts = await beginHosts();
    const { signed, order } = await orderOfEpoch(hosts, 1);
    const foreign = await hosts.people.order('web', 1, 'host-c', 'host-b');
    expect(await hosts.refused('host-c', 'settleSource', { order: foreign, reason: REASON })).toEqual(['VM_NOT_OWNED: host-c does not own VM web: its ownership record says none']);
    expect(hosts.record('host-c')?.settled).toMatchObject([{ migrationId: orderIn(foreign).migrationId, outcome: 'withdrawn' }]);
    expect(await hosts.ask('host-a', 'settleSource', { order: signed, reason: REASON })).toEqual({ state: 'runs', epoch: 2 });
    expect(order.source).toBe('host-a');
  });

  it.each([
    ['withdraws an offer whose VM runs', true, { state: 'runs', epoch: 2 }],
    ['counts one whose VM stands still as handed over', false, { state: 'needs-verdict', epoch: 2 }],
  ])('that knows no more than its record %s', async (_, isRunning, settled) => {
    const hosts = await beginHosts();
    const { signed, order: { migrationId } } = await hosts.move('ordered');
    if (!isRunning) await hosts.drive(hosts.services('host-a').hypervisor.ensurePaused(WEB, runDirOf('host-a')));
    const { settlement, applied } = settlementOver(hosts, 'host-a', offeringOf(migrationId));
    expect(await hosts.drive(settlement.settleSource({ order: signed, reason: REASON }))).toEqual(settled);
    expect(applied).toEqual([isRunning ? { type: 'withdraw', migrationId, shown: null } : { type: 'relinquish', migrationId }]);
    expect(hosts.machine('host-a').runs('web')).toBe(isRunning);
  });

  it('ends the copy of an offer that nobody tends before it looks whether the VM runs', async () => {
    const hosts = await beginHosts();
    const { signed, order: { migrationId }, vm } = await hosts.move('ordered');
    const image = await hosts.drive(hosts.services('host-a').hypervisor.openOutgoing(vm, runDirOf('host-a'), {} as never));
    image.image.resume();
    await hosts.drive(image.paused);
    expect(hosts.status('host-a')).toBe('moving-out');
    const { settlement, applied } = settlementOver(hosts, 'host-a', offeringOf(migrationId));
    expect(await hosts.drive(settlement.settleSource({ order: signed, reason: REASON }))).toEqual({ state: 'runs', epoch: 2 });
    expect(applied).toEqual([{ type: 'withdraw', migrationId, shown: null }]);
  });
});

describe('a source that handed over', () => {
  it('needs a verdict, and keeps its session', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    copying(hosts, move);
    await hosts.until(() => hosts.state('host-a') === 'relinquished');
    hosts.world.endWorker('host-b');
    expect(await hosts.ask('host-a', 'settleSource', ending(move))).toEqual({ state: 'needs-verdict', epoch: 2 });
    expect(hosts.services('host-a').sessions.find(move.order.migrationId)).toBeDefined();
    expect([hosts.state('host-a'), hosts.machine('host-a').runs('web')]).toEqual(['relinquished', false]);
  });

  it('does not take the VM back, not even for the move that it was handed over by', async () => {
    const hosts = await beginHosts();
    const { order } = await handedOver(hosts);
    const before = hosts.record('host-a');
    expect(await refusalsOf(hosts.drive(settlementOn(hosts, 'host-a').withdrawOffer(order)))).toEqual(['VM_NOT_OWNED: host-a does not own VM web: its ownership record says relinquished']);
    expect([hosts.record('host-a'), hosts.machine('host-a').runs('web')]).toEqual([before, false]);
  });

  it('needs it also once its worker is another one', async () => {
    const hosts = await beginHosts();
    const move = await handedOver(hosts);
    expect(await hosts.ask('host-a', 'settleSource', ending(move))).toEqual({ state: 'needs-verdict', epoch: 2 });
  });

  it('runs the VM again by the destination’s proven rejection', async () => {
    const hosts = await beginHosts();
    const move = await handedOver(hosts);
    await hosts.startWorker('host-b');
    const answer = await hosts.ask('host-b', 'settleDestination', ending(move));
    if (!('verdict' in answer)) throw new Error('no verdict');
    const statement = { verdict: answer.verdict, quote: answer.quote };
    expect(answer.verdict).toEqual(rejected(move, 'the worker of the destination was restarted'));
    expect(await hosts.ask('host-a', 'resolveSource', { statement })).toEqual({ state: 'runs', epoch: 2 });
    expect([hosts.state('host-a'), hosts.machine('host-a').runs('web')]).toEqual(['owner', true]);
    expect(hosts.record('host-a')?.settled).toMatchObject([{ outcome: 'rejected', reason: 'the worker of the destination was restarted' }]);
    hosts.machine('host-a').turnOff();
    expect(await hosts.ask('host-a', 'resolveSource', { statement })).toEqual({ state: 'absent', epoch: 2 });
  });

  it('does not believe a verdict that nobody proves', async () => {
    const hosts = await beginHosts();
    const move = await handedOver(hosts);
    await hosts.startWorker('host-b');
    const answer = await hosts.ask('host-b', 'settleDestination', ending(move));
    if (!('verdict' in answer)) throw new Error('no verdict');
    const forged = { verdict: { ...answer.verdict, reason: 'another' }, quote: answer.quote };
    const before = hosts.record('host-a');
    expect(await hosts.refused('host-a', 'resolveSource', { statement: forged })).toEqual([expect.stringMatching(/^VERDICT_UNPROVEN: what host-b says of the move does not count: QUALIFYING_DATA_MISMATCH/)]);
    expect(hosts.record('host-a')).toEqual(before);
  });

  it('takes no verdict from another boot than the one that was attested, while it waits for it', async () => {
    const hosts = await beginHosts();
    const move = await handedOver(hosts);
    hosts.world.hosts['host-b'].tpm.state.resetCount += 1;
    await hosts.startWorker('host-b');
    const answer = await hosts.ask('host-b', 'settleDestination', ending(move));
    if (!('verdict' in answer)) throw new Error('no verdict');
    expect(await hosts.refused('host-a', 'resolveSource', { statement: { verdict: answer.verdict, quote: answer.quote } })).toEqual([expect.stringMatching(/^VERDICT_UNPROVEN: what host-b says of the move does not count: RESET_COUNT_CHANGED/)]);
    expect(hosts.state('host-a')).toBe('relinquished');
  });

  it('takes no verdict of a move that it does not wait for, from any boot', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('ordered');
    hosts.world.hosts['host-b'].tpm.state.resetCount += 1;
    const answer = await hosts.ask('host-b', 'settleDestination', ending(move));
    if (!('verdict' in answer)) throw new Error('no verdict');
    expect(await hosts.refused('host-a', 'resolveSource', { statement: { verdict: answer.verdict, quote: answer.quote } })).toEqual(['OWNERSHIP_REFUSED: host-a refuses learn-verdict for VM web: its record says owner (epoch 1)']);
    expect(hosts.state('host-a')).toBe('owner');
  });

  it('gives the VM up by a proven acceptance, with all that it had, and needs no proof again', async () => {
    const hosts = await beginHosts();
    const { move, statement } = await acceptedUnheard(hosts);
    expect(hosts.state('host-a')).toBe('relinquished');
    expect(await hosts.ask('host-a', 'settleSource', ending(move))).toMatchObject({ state: 'needs-verdict' });
    expect(await hosts.ask('host-a', 'resolveSource', { statement })).toEqual({ state: 'retired', epoch: 2 });
    expect(hosts.record('host-a')).toMatchObject({ state: 'retired', epoch: 1, migrationId: move.order.migrationId, peer: B, keptUntil: null });
    expect([...hosts.files('host-a').keys()].filter((path) => path.includes('/web/'))).toEqual([recordPath('host-a')]);
    expect(hosts.status('host-a')).toBe('absent');
    const unproven = { verdict: statement.verdict, quote: { ...statement.quote, signature: 'AAAA' } };
    expect(await hosts.ask('host-a', 'resolveSource', { statement: unproven })).toEqual({ state: 'retired', epoch: 2 });
    expect(await hosts.ask('host-a', 'settleSource', ending(move))).toEqual({ state: 'retired', epoch: 2 });
  });

  it('keeps what it gives up to a succession for as long as the bundle says', async () => {
    const hosts = await beginHosts();
    const { move, statement } = await acceptedUnheard(hosts);
    expect(statement.verdict.verdict).toBe('accepted');
    // The destination moved it on, and knows the move no more.
    const record = JSON.parse(hosts.files('host-b').get(recordPath('host-b'))?.toString() ?? '') as OwnershipRecord;
    hosts.files('host-b').set(recordPath('host-b'), Buffer.from(JSON.stringify({ ...record, settled: [] })));
    await hosts.startWorker('host-b');
    const answer = await hosts.ask('host-b', 'settleDestination', ending(move));
    if (!('succession' in answer)) throw new Error('no succession');
    const before = Date.now();
    const forged = { succession: { ...answer.succession, ownedEpoch: 3 }, quote: answer.quote };
    expect(await hosts.refused('host-a', 'resolveSource', { statement: forged as never })).toEqual([expect.stringMatching(/^VERDICT_UNPROVEN: what host-b says of the move does not count: QUALIFYING_DATA_MISMATCH/)]);
    expect(await hosts.ask('host-a', 'resolveSource', { statement: answer })).toEqual({ state: 'retired', epoch: 2 });
    const kept = hosts.record('host-a');
    if (kept?.state !== 'retired' || kept.keptUntil === null) throw new Error('it keeps nothing');
    expect(Math.abs(Date.parse(kept.keptUntil) - before - 86_400_000)).toBeLessThan(60_000);
    expect(hosts.files('host-a').has('/var/host-a/vms/web/installed.json')).toBe(true);
    expect(hosts.status('host-a')).toBe('absent');
  });

  it('takes a succession from any boot, and from its peer alone', async () => {
    const hosts = await beginHosts();
    const { move } = await acceptedUnheard(hosts);
    const record = JSON.parse(hosts.files('host-b').get(recordPath('host-b'))?.toString() ?? '') as OwnershipRecord;
    hosts.files('host-b').set(recordPath('host-b'), Buffer.from(JSON.stringify({ ...record, settled: [] })));
    hosts.world.hosts['host-b'].tpm.state.resetCount += 1;
    await hosts.startWorker('host-b');
    const answer = await hosts.ask('host-b', 'settleDestination', ending(move));
    expect(await hosts.ask('host-a', 'resolveSource', { statement: answer as never })).toEqual({ state: 'retired', epoch: 2 });
  });
});
