/** activities/settle.ts: what takes a move back and what ends it, in every state that a record may be in, on hosts in memory. */
import { describe, expect, it } from 'vitest';
import { type Hosts, A, B, WEB, beginHosts, orderIn, recordPath, refusalsOf, runDirOf } from '../support/hosts-in-memory.js';
import { createSettlement } from '../../activities/settle.js';
import type { HostServices } from '../../activities/services.js';
import type { VerdictStatement } from '../../domain/manifest.js';
import { digestOf } from '../../domain/canonical.js';
import type { MigrationId } from '../../domain/ids.js';
import { refuse } from '../../domain/failures.js';
import { type OwnershipEvent, type OwnershipRecord, noRecord } from '../../domain/ownership.js';
import type { HostName } from '../../infra/testbed/hostile/people.js';

type Move = Awaited<ReturnType<Hosts['move']>>;
const REASON = 'its operator thought better of it';
const FOREVER = '2100-01-01T00:00:00Z';

const ending = ({ signed }: Pick<Move, 'signed'>, reason = REASON) => ({ order: signed, reason });
const settlementOn = (hosts: Hosts, host: HostName) => createSettlement(hosts.services(host));
const ofVerdict = ({ order: { vmId, migrationId, destination, epoch } }: Pick<Move, 'order'>) => ({ protocol: 'korora/1', purpose: 'verdict', vmId, migrationId, destination, epoch: epoch + 1 });
const rejected = (move: Pick<Move, 'order'>, reason = REASON) => ({ ...ofVerdict(move), verdict: 'rejected', manifestDigest: null, reason });
const QUOTE = { attest: expect.any(String) as string, signature: expect.any(String) as string };

/** The source has handed over, and both workers are new: neither knows more than its record. */
async function handedOver(hosts: Hosts): Promise<Move> {
  const move = await hosts.move('prepared');
  for (const name of ['copyMemory', 'stopAndCopy'] as const) hosts.call('host-a', name, { order: move.signed, port: move.port });
  hosts.call('host-b', 'verifyImage', { order: move.signed });
  await hosts.until(() => hosts.state('host-a') === 'relinquished');
  for (const host of ['host-b', 'host-a'] as const) hosts.world.endWorker(host);
  await hosts.quiet();
  await hosts.startWorker('host-a');
  return move;
}

/** The destination accepted, and its source, whose worker is new, does not know it. */
async function acceptedUnheard(hosts: Hosts): Promise<{ readonly move: Move; readonly statement: VerdictStatement }> {
  const move = await hosts.move('prepared');
  for (const name of ['copyMemory', 'stopAndCopy'] as const) hosts.call('host-a', name, { order: move.signed, port: move.port });
  const verifying = hosts.call('host-b', 'verifyImage', { order: move.signed });
  await hosts.until(() => hosts.state('host-b') === 'owner');
  hosts.world.endWorker('host-a');
  const { statement } = (await hosts.drive(verifying.answer)) as { statement: VerdictStatement };
  await hosts.startWorker('host-a');
  return { move, statement };
}

/** As a worker has them that finds this record, whatever it applies; `applied` is what was. */
function settlementOver(hosts: Hosts, host: HostName, record: OwnershipRecord, apply: (event: OwnershipEvent) => Promise<OwnershipRecord> = () => Promise.resolve(record)) {
  const applied: OwnershipEvent[] = [];
  const noting = (event: OwnershipEvent) => {
    applied.push(event);
    return apply(event);
  };
  const ownership = { ...hosts.services(host).ownership, read: () => Promise.resolve(record), hold: <T>(_: unknown, work: (held: OwnershipRecord, apply: (event: OwnershipEvent) => Promise<OwnershipRecord>) => Promise<T>) => work(record, noting), apply: (_: unknown, event: OwnershipEvent) => noting(event) };
  return { settlement: createSettlement({ ...hosts.services(host), ownership }), applied };
}

describe('what a destination decides', () => {
  it('is a rejection where it has not accepted, which stays what it was', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    const answer = await hosts.ask('host-b', 'settleDestination', ending(move));
    expect(answer).toEqual({ verdict: rejected(move), quote: QUOTE, isAbsent: false });
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
    expect(await hosts.drive(settlementOn(hosts, 'host-b').decide(one.order, 'x'.repeat(1500), shown))).toEqual(rejected(one, 'x'.repeat(1000)));
    expect(await hosts.drive(settlementOn(hosts, 'host-b').decide(other.order, '', shown))).toEqual(rejected(other, 'no reason given'));
  });

  it('is what it came to where no reason was kept', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('ordered');
    await hosts.ask('host-a', 'settleSource', ending(move));
    expect(await hosts.drive(settlementOn(hosts, 'host-a').decide(move.order, REASON, null))).toEqual({ ...rejected(move, 'withdrawn'), destination: A });
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
    const manifest = move.answers?.[1].manifest;
    const { verdict } = move.answers?.[2].statement ?? {};
    expect(verdict).toEqual({ ...ofVerdict(move), verdict: 'accepted', manifestDigest: digestOf(manifest), reason: null });
    expect(await hosts.ask('host-b', 'settleDestination', ending(move))).toEqual({ verdict, quote: QUOTE, isAbsent: false });
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

async function orderOfEpoch(hosts: Hosts, epoch: number) {
  const signed = await hosts.people.order('web', epoch, 'host-a', 'host-b');
  return { signed, order: orderIn(signed) };
}

describe('what is surplus', () => {
  it('goes, and nothing else does', async () => {
    const hosts = await beginHosts();
    const before = new Map(hosts.files('host-a'));
    await hosts.drive(settlementOn(hosts, 'host-a').discard(WEB));
    expect([hosts.status('host-a'), new Map(hosts.files('host-a'))]).toEqual(['running', before]);
  });

  it.each([
    ['stays on the disk until the time is over for which it is kept', '2100-01-01T00:00:00Z', true],
    ['goes from the disk with the moment at which that is over', '2000-01-01T00:00:00Z', false],
    ['goes from the disk where it is kept for nobody', null, false],
  ])('%s, and is ended', async (_, keptUntil, isThere) => {
    const hosts = await beginHosts();
    const record: OwnershipRecord = { ...noRecord(WEB, A), state: 'retired', epoch: 1, migrationId: (await hosts.move('ordered')).order.migrationId, peer: B, keptUntil };
    await hosts.drive(settlementOver(hosts, 'host-a', record).settlement.discard(WEB));
    expect([hosts.status('host-a'), hosts.machine('host-a').vtpms.size]).toEqual(['absent', 0]);
    expect([...hosts.files('host-a').keys()].some((path) => path.startsWith('/var/host-a/vms/web/vtpm'))).toBe(isThere);
  });

  it('is kept to the millisecond', async () => {
    const hosts = await beginHosts();
    const keptUntil = '2030-01-01T00:00:00.000Z';
    const record: OwnershipRecord = { ...noRecord(WEB, A), state: 'retired', epoch: 1, migrationId: (await hosts.move('ordered')).order.migrationId, peer: B, keptUntil };
    const ownership = { ...hosts.services('host-a').ownership, hold: <T>(_v: unknown, work: (held: OwnershipRecord, apply: never) => Promise<T>) => work(record, undefined as never) };
    const at = (ms: number) => createSettlement({ ...hosts.services('host-a'), ownership, clock: { now: () => ms } }).discard(WEB);
    const isThere = () => hosts.files('host-a').has('/var/host-a/vms/web/installed.json');
    await hosts.drive(at(Date.parse(keptUntil) - 1));
    expect(isThere()).toBe(true);
    await hosts.drive(at(Date.parse(keptUntil)));
    expect(isThere()).toBe(false);
  });

  it('has its vTPM ended, also where no hypervisor is left that would end it', async () => {
    const hosts = await beginHosts();
    const record: OwnershipRecord = { ...noRecord(WEB, A), state: 'retired', epoch: 1, migrationId: (await hosts.move('ordered')).order.migrationId, peer: B, keptUntil: null };
    hosts.machine('host-a').guests.clear();
    await hosts.drive(settlementOver(hosts, 'host-a', record).settlement.discard(WEB));
    expect(hosts.machine('host-a').vtpms.size).toBe(0);
  });
});

const offeringOf = (migrationId: MigrationId) => ({ ...noRecord(WEB, A), state: 'offering', epoch: 1, migrationId, peer: B, order: {}, peerBoot: {} }) as unknown as OwnershipRecord;

describe('a VM that is owned here', () => {
  it('runs on where its process is, out of whatever copy it was in', async () => {
    const hosts = await beginHosts();
    await hosts.drive(hosts.services('host-a').hypervisor.ensurePaused(WEB, runDirOf('host-a')));
    expect(await hosts.drive(settlementOn(hosts, 'host-a').bringBack(WEB))).toBe('runs');
    expect(hosts.machine('host-a').runs('web')).toBe(true);
    const image = await hosts.drive(hosts.services('host-a').hypervisor.openOutgoing((await hosts.move('ordered')).vm, runDirOf('host-a'), {} as never));
    expect(await hosts.drive(settlementOn(hosts, 'host-a').bringBack(WEB))).toBe('runs');
    await expect(image.paused).rejects.toMatchObject({ code: 'COPY_FAILED' });
  });

  it('is absent where it is not', async () => {
    const hosts = await beginHosts();
    hosts.machine('host-a').turnOff();
    expect(await hosts.drive(settlementOn(hosts, 'host-a').bringBack(WEB))).toBe('absent');
    expect(hosts.status('host-a')).toBe('absent');
  });

  it('is brought back in no other state', async () => {
    const hosts = await beginHosts();
    const { order } = await hosts.move('ordered');
    const offering = offeringOf(order.migrationId);
    for (const record of [noRecord(WEB, A), offering, { ...offering, state: 'relinquished' } as OwnershipRecord]) {
      expect(await refusalsOf(hosts.drive(settlementOver(hosts, 'host-a', record).settlement.bringBack(WEB)))).toEqual([`VM_NOT_OWNED: host-a does not own VM web: its ownership record says ${record.state}`]);
    }
  });

  it('is off the offer of the move that offered it, and of no other', async () => {
    const hosts = await beginHosts();
    const [{ key }, other] = [await hosts.move('ordered'), await hosts.move('ordered')];
    const own = settlementOver(hosts, 'host-a', offeringOf(key.migrationId));
    expect(await hosts.drive(own.settlement.withdrawOffer(key))).toBe('runs');
    expect(own.applied).toEqual([{ type: 'withdraw', migrationId: key.migrationId, shown: null }]);
    const others = settlementOver(hosts, 'host-a', offeringOf(other.key.migrationId));
    expect(await refusalsOf(hosts.drive(others.settlement.withdrawOffer(key)))).toEqual(['VM_NOT_OWNED: host-a does not own VM web: its ownership record says offering']);
    expect(others.applied).toEqual([]);
  });

  it('needs no offer to be taken back: but what else goes wrong is said', async () => {
    const hosts = await beginHosts();
    const { key } = await hosts.move('ordered');
    expect(await hosts.drive(settlementOn(hosts, 'host-a').withdrawOffer(key))).toBe('runs');
    expect(hosts.record('host-a')).toMatchObject({ state: 'owner', settled: [] });
    const owner: OwnershipRecord = { ...noRecord(WEB, A), state: 'owner', epoch: 1 };
    const refusedAs = refuse('OWNERSHIP_REFUSED', { host: 'host-a', event: 'withdraw', vm: 'web', state: 'a test' });
    for (const [record, error] of [[owner, new Error('the disk is full')], [owner, refuse('VM_UNKNOWN', { vm: 'web' })], [offeringOf(key.migrationId), refusedAs]] as const) {
      await expect(hosts.drive(settlementOver(hosts, 'host-a', record, () => Promise.reject(error)).settlement.withdrawOffer(key))).rejects.toBe(error);
    }
    await expect(hosts.drive(settlementOver(hosts, 'host-a', owner, () => Promise.reject(refusedAs)).settlement.withdrawOffer(key))).resolves.toBe('runs');
    // Like it, but none of this house's.
    const likeIt = Object.assign(new Error('like it'), { code: 'OWNERSHIP_REFUSED' });
    await expect(hosts.drive(settlementOver(hosts, 'host-a', owner, () => Promise.reject(likeIt)).settlement.withdrawOffer(key))).rejects.toBe(likeIt);
  });
});

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
    const began = { abort: (why: unknown) => aborted.push(why), ended: Promise.resolve(), manifest: null };
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
    session.outgoing = { abort: () => undefined, ended, manifest: null } as never;
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
  it('needs a verdict, and shows the manifest where it still has it', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    for (const name of ['copyMemory', 'stopAndCopy'] as const) hosts.call('host-a', name, { order: move.signed, port: move.port });
    hosts.call('host-b', 'verifyImage', { order: move.signed });
    await hosts.until(() => hosts.services('host-a').sessions.find(move.order.migrationId)?.outgoing?.manifest != null);
    const manifest = hosts.services('host-a').sessions.find(move.order.migrationId)?.outgoing?.manifest;
    hosts.world.endWorker('host-b');
    expect(await hosts.ask('host-a', 'settleSource', ending(move))).toEqual({ state: 'needs-verdict', epoch: 2, manifest });
    expect(hosts.services('host-a').sessions.find(move.order.migrationId)).toBeDefined();
    expect([hosts.state('host-a'), hosts.machine('host-a').runs('web')]).toEqual(['relinquished', false]);
  });

  it('has no manifest to show once its worker is another one', async () => {
    const hosts = await beginHosts();
    const move = await handedOver(hosts);
    expect(await hosts.ask('host-a', 'settleSource', ending(move))).toEqual({ state: 'needs-verdict', epoch: 2, manifest: null });
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
    const settled: OwnershipRecord = { ...noRecord(WEB, A), state: 'owner', epoch: 1, settled: [{ migrationId: order.migrationId, epoch: 2, outcome: 'rejected', manifestDigest: null, reason: 'x', peer: null, authority: null, notAfter: null }] };
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
