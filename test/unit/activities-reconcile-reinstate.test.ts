/** activities/reconcile.ts and reinstate.ts on hosts in memory: what a worker finds out of line when it starts, what it does about it by the record, and what it leaves alone. */
import { describe, expect, it } from 'vitest';
import { A, B, type Hosts, WEB, beginHosts, installedPath, recordPath, runDirOf } from '../support/hosts-in-memory.js';
import { copying, handedOver, refusedOf } from '../support/moves-in-memory.js';
import { createReconciliation } from '../../activities/reconcile.js';
import type { HostServices } from '../../activities/services.js';
import { createSettlement } from '../../activities/settle.js';
import { type OwnershipRecord, noRecord } from '../../domain/ownership.js';
import { HostId } from '../../domain/ids.js';
import { ledgerDigestOf } from '../../domain/survey.js';
import type { HostName } from '../../infra/testbed/hostile/people.js';

const finding = (found: string, done: string) => ({ vmId: 'web', found, done });
const write = (hosts: Hosts, host: HostName, record: OwnershipRecord) => hosts.files(host).set(recordPath(host), Buffer.from(JSON.stringify(record)));

/** Starts the worker of a host anew: what it found. */
async function restarted(hosts: Hosts, host: HostName) {
  await hosts.startWorker(host);
  return hosts.services(host).findings;
}

/** With other parts, once. */
function reconcile(hosts: Hosts, host: HostName, changes: (services: HostServices) => Partial<HostServices> = () => ({})) {
  const services = { ...hosts.services(host), ...changes(hosts.services(host)) };
  return hosts.drive(createReconciliation(services, createSettlement(services)).reconcile());
}

/** A source whose worker was lost while it copied: its record says offering. */
async function offering() {
  const hosts = await beginHosts();
  const move = await hosts.move('prepared', { requiresApproval: true });
  copying(hosts, move);
  await hosts.quiet();
  expect(hosts.state('host-a')).toBe('offering');
  return { hosts, move };
}

describe('a worker that starts', () => {
  it('finds nothing where all is in line', async () => {
    const hosts = await beginHosts();
    for (const host of ['host-a', 'host-b'] as const) expect(await restarted(hosts, host)).toEqual([]);
    expect(hosts.machine('host-a').runs('web')).toBe(true);
  });

  it('removes files that were never finished, and names them', async () => {
    const hosts = await beginHosts();
    const [one, other] = ['.installed.json.0123456789ab', '.ownership.json.0123456789ab'];
    for (const name of [one, other]) hosts.files('host-a').set(`/var/host-a/vms/web/${name}`, Buffer.from('half'));
    expect(await restarted(hosts, 'host-a')).toEqual([finding(`files that were never finished: ${one}, ${other}`, 'they are gone; what they would have replaced holds')]);
    expect([...hosts.files('host-a').keys()].filter((path) => path.includes('/.'))).toEqual([]);
  });

  it('touches nothing of a record that it cannot read, and goes on with the others', async () => {
    const hosts = await beginHosts();
    hosts.files('host-a').set(recordPath('host-a', 'aaa'), Buffer.from('{'));
    hosts.machine('host-a').guests.clear();
    const [first, second, ...more] = await restarted(hosts, 'host-a');
    expect(first).toMatchObject({ vmId: 'aaa', found: expect.stringMatching(/^RECORD_UNREADABLE: the ownership record of VM aaa on host-a cannot be read/) as string, done: 'nothing: what cannot be read is not touched' });
    expect([second?.vmId, more]).toEqual(['web', []]);
    expect(await reconcile(hosts, 'host-a', ({ hypervisor }) => ({ hypervisor: { ...hypervisor, status: () => Promise.reject(new Error('a defect')) } }))).toEqual([
      expect.objectContaining({ vmId: 'aaa' }), finding('a defect', 'nothing: what cannot be read is not touched'),
    ]);
  });

  it('ends a vTPM whose hypervisor is gone', async () => {
    const hosts = await beginHosts();
    hosts.machine('host-a').guests.clear();
    expect(await restarted(hosts, 'host-a')).toEqual([finding('it is owned here, its hypervisor is gone, its vTPM still ran', 'the vTPM was ended; the VM may be started')]);
    expect(hosts.machine('host-a').vtpms.size).toBe(0);
    expect(await restarted(hosts, 'host-a')).toEqual([]);
    expect(hosts.state('host-a')).toBe('owner');
  });

  it('leaves a VM alone that is owned here and paused', async () => {
    const hosts = await beginHosts();
    await hosts.drive(hosts.services('host-a').hypervisor.ensurePaused(WEB, runDirOf('host-a')));
    expect(await restarted(hosts, 'host-a')).toEqual([finding('it is owned here and paused', 'nothing: a move that is being settled resumes it; else look at its console log')]);
    expect([hosts.status('host-a'), hosts.machine('host-a').vtpms.size]).toEqual(['paused', 1]);
  });

  it('does nothing by a record that has changed before it held it', async () => {
    const hosts = await beginHosts();
    hosts.machine('host-a').guests.clear();
    const held = { ...noRecord(WEB, A), state: 'retired' } as unknown as OwnershipRecord;
    const holdAs = (record: OwnershipRecord) => ({ ownership }: HostServices) => ({ ownership: { ...ownership, hold: <T>(_: unknown, work: (record: OwnershipRecord, apply: never) => Promise<T>) => work(record, undefined as never) } });
    expect(await reconcile(hosts, 'host-a', holdAs(held))).toEqual([]);
    expect(hosts.machine('host-a').vtpms.size).toBe(1);
    const other = await beginHosts();
    await handedOver(other);
    const guest = other.machine('host-a').guests.get(runDirOf('host-a'));
    if (guest) [guest.status, guest.isRunning] = ['running', true];
    expect(await reconcile(other, 'host-a', holdAs(held))).toEqual([]);
    expect(other.machine('host-a').runs('web')).toBe(true);
  });

  it('takes back what is on offer and runs', async () => {
    const { hosts, move } = await offering();
    expect(await restarted(hosts, 'host-a')).toEqual([finding('a move to host-b that no worker tends', 'the move is off, the VM runs on')]);
    expect(hosts.record('host-a')).toMatchObject({ state: 'owner', epoch: 1, settled: [{ migrationId: move.order.migrationId, outcome: 'withdrawn' }] });
    expect(hosts.machine('host-a').runs('web')).toBe(true);
  });

  it('counts as handed over what is on offer and does not run', async () => {
    const { hosts } = await offering();
    hosts.world.endWorker('host-a');
    hosts.machine('host-a').turnOff();
    expect(await restarted(hosts, 'host-a')).toEqual([finding('it was on offer to host-b, and does not run', 'nothing: whether it was handed over is not known here, and it stays stopped until the verdict is proven')]);
    expect(hosts.state('host-a')).toBe('relinquished');
  });

  it('takes no offer back that another step has settled meanwhile', async () => {
    const { hosts } = await offering();
    const record = hosts.record('host-a');
    const others = { ...record, migrationId: '00000000-0000-4000-8000-0000000000ff' } as OwnershipRecord;
    const applied: unknown[] = [];
    const found = await reconcile(hosts, 'host-a', ({ sessions, ownership }) => ({
      sessions: { ...sessions, find: () => undefined },
      ownership: { ...ownership, hold: <T>(_: unknown, work: (record: OwnershipRecord, apply: never) => Promise<T>) => work(others, ((event: unknown) => applied.push(event)) as never) },
    }));
    expect([found.map(({ found: what }) => what), applied]).toEqual([['it was on offer to host-b, and does not run'], []]);
  });

  it('leaves to a session what it tends', async () => {
    const { hosts } = await offering();
    expect(await reconcile(hosts, 'host-a')).toEqual([]);
    expect(await reconcile(hosts, 'host-b')).toEqual([]);
    expect([hosts.state('host-a'), hosts.state('host-b'), hosts.status('host-b')]).toEqual(['offering', 'incoming', 'incoming']);
  });

  it('pauses what was handed over, and runs', async () => {
    const hosts = await beginHosts();
    await handedOver(hosts);
    expect(await restarted(hosts, 'host-a')).toEqual([finding('it was handed to host-b, whose verdict is not known here', 'nothing: it stays stopped until the verdict is proven')]);
    const guest = hosts.machine('host-a').guests.get(runDirOf('host-a'));
    if (guest) [guest.status, guest.isRunning] = ['running', true];
    expect(await restarted(hosts, 'host-a')).toEqual([finding('it ran although it was handed to host-b', 'it was paused: only a proven verdict lets it run')]);
    expect([hosts.machine('host-a').runs('web'), hosts.state('host-a')]).toEqual([false, 'relinquished']);
  });

  it('ends the copy of what was handed over, on whose end the hypervisor runs it on, before it looks', async () => {
    const hosts = await beginHosts();
    const move = await handedOver(hosts);
    const guest = hosts.machine('host-a').guests.get(runDirOf('host-a'));
    if (guest) [guest.status, guest.isRunning] = ['running', true];
    const image = await hosts.drive(hosts.services('host-a').hypervisor.openOutgoing(move.vm, runDirOf('host-a'), {} as never));
    image.image.resume();
    await hosts.drive(image.paused);
    expect(await reconcile(hosts, 'host-a')).toEqual([finding('it ran although it was handed to host-b', 'it was paused: only a proven verdict lets it run')]);
    expect([hosts.machine('host-a').runs('web'), hosts.status('host-a')]).toEqual([false, 'paused']);
  });

  it('rejects for good what waited for an image', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    expect(await restarted(hosts, 'host-b')).toEqual([finding('a copy from host-a that waited for an image', 'rejected for good; the copy is gone')]);
    expect(hosts.record('host-b')).toMatchObject({ state: 'none', settled: [{ migrationId: move.order.migrationId, epoch: 2, outcome: 'rejected', reason: 'the worker of the destination was restarted', notAfter: null }] });
    expect([...hosts.files('host-b').keys()].filter((path) => path.includes('/web/'))).toEqual([recordPath('host-b')]);
    expect([hosts.status('host-b'), hosts.machine('host-b').vtpms.size]).toEqual(['absent', 0]);
    expect(await restarted(hosts, 'host-b')).toEqual([]);
  });

  it('reports what no record explains, and leaves it alone', async () => {
    const hosts = await beginHosts();
    const stray = '/var/host-b/vms/web/vtpm/vtpm.state';
    hosts.files('host-b').set(stray, Buffer.from('precious'));
    expect(await restarted(hosts, 'host-b')).toEqual([finding('traces of a VM without an ownership record, absent', 'nothing: no record says whose it is')]);
    expect(hosts.files('host-b').get(stray)?.toString()).toBe('precious');
  });

  it('says nothing of a VM of which it has a withdrawn order, and no traces', async () => {
    const hosts = await beginHosts();
    const { order } = await hosts.move('ordered');
    write(hosts, 'host-b', { ...noRecord(WEB, B), settled: [refusedOf(order.migrationId, { outcome: 'withdrawn' })] });
    expect(await restarted(hosts, 'host-b')).toEqual([]);
  });

  it('clears away what a rejection stands for', async () => {
    const hosts = await beginHosts();
    const { order } = await hosts.move('ordered');
    write(hosts, 'host-b', { ...noRecord(WEB, B), settled: [refusedOf(order.migrationId)] });
    expect(await restarted(hosts, 'host-b')).toEqual([]);
    hosts.files('host-b').set('/var/host-b/vms/web/vtpm/vtpm.state', Buffer.from('x'));
    hosts.files('host-b').set(installedPath('host-b'), Buffer.from('x'));
    expect(await restarted(hosts, 'host-b')).toEqual([finding('surplus: the record says none, the hypervisor absent; /var/host-b/vms/web/installed.json, /var/host-b/vms/web/vtpm', 'it is gone')]);
    expect([...hosts.files('host-b').keys()].filter((path) => path.includes('/web/'))).toEqual([recordPath('host-b')]);
  });

  it.each([
    ['ends, and keeps until its time is over, what was given up to a claim', '2100-01-01T00:00:00Z', finding('the record says retired, the hypervisor running', 'it was ended; what it gave up to another host is kept for now'), true],
    ['ends, and clears away, what was given up to a verdict', null, finding('surplus: the record says retired, the hypervisor running; /var/host-a/vms/web/installed.json, /var/host-a/vms/web/vtpm, /run/host-a/web', 'it is gone'), false],
  ] as const)('%s', async (_, keptUntil, found, isKept) => {
    const hosts = await beginHosts();
    const { order } = await hosts.move('ordered');
    const { generation } = hosts.record('host-a') ?? {};
    write(hosts, 'host-a', { ...noRecord(WEB, A), generation: generation as number, state: 'retired', epoch: 1, migrationId: order.migrationId, peer: B, keptUntil });
    expect(await restarted(hosts, 'host-a')).toEqual([found]);
    expect([hosts.status('host-a'), hosts.files('host-a').has(installedPath('host-a'))]).toEqual(['absent', isKept]);
    expect(await restarted(hosts, 'host-a')).toEqual([]);
  });

  it('ends a process of which no file is left', async () => {
    const hosts = await beginHosts();
    const { order } = await hosts.move('ordered');
    const { generation } = hosts.record('host-a') ?? {};
    write(hosts, 'host-a', { ...noRecord(WEB, A), generation: generation as number, state: 'retired', epoch: 1, migrationId: order.migrationId, peer: B, keptUntil: null });
    hosts.world.hosts['host-a'].disk.remove('/run/host-a/web');
    hosts.world.hosts['host-a'].disk.remove('/var/host-a/vms/web/vtpm');
    hosts.files('host-a').delete(installedPath('host-a'));
    expect(await restarted(hosts, 'host-a')).toEqual([finding('surplus: the record says retired, the hypervisor running; ', 'it is gone')]);
    expect(hosts.status('host-a')).toBe('absent');
  });
});

describe('reinstating the records of a host', () => {
  const ledgerOf = async (hosts: Hosts) => ledgerDigestOf(A, await hosts.drive(hosts.services('host-a').ownership.showLedger()));
  const word = async (hosts: Hosts, host = 'host-a', digest?: string) => ({ reinstatement: await hosts.people.reinstate(host, digest ?? (await ledgerOf(hosts))) });

  it('has them believed as they are, and looked at', async () => {
    const hosts = await beginHosts();
    hosts.machine('host-a').guests.clear();
    hosts.world.hosts['host-a'].tpm.state.counter = 7;
    await hosts.startWorker('host-a');
    expect(await hosts.drive(hosts.services('host-a').ownership.doubt())).not.toBeNull();
    expect(hosts.machine('host-a').vtpms.size).toBe(1);
    const said = await hosts.ask('host-a', 'reinstateRecords', await word(hosts));
    expect(said).toEqual([finding('it is owned here, its hypervisor is gone, its vTPM still ran', 'the vTPM was ended; the VM may be started')]);
    expect(await hosts.drive(hosts.services('host-a').ownership.doubt())).toBeNull();
  });

  it('has them believed where there are none', async () => {
    const hosts = await beginHosts();
    hosts.world.hosts['host-c'].tpm.state.counter = 7;
    await hosts.startWorker('host-c');
    const { ownership } = hosts.services('host-c');
    expect(await hosts.drive(ownership.doubt())).not.toBeNull();
    const digest = ledgerDigestOf(HostId.parse('host-c'), await hosts.drive(ownership.showLedger()));
    expect(await hosts.ask('host-c', 'reinstateRecords', await word(hosts, 'host-c', digest))).toEqual([]);
    expect(await hosts.drive(ownership.doubt())).toBeNull();
  });

  it('has one believed that was put back, where no doubt is about the ledger', async () => {
    const hosts = await beginHosts();
    const old = hosts.files('host-a').get(recordPath('host-a'));
    const move = await hosts.move('sealed');
    await hosts.ask('host-a', 'settleSource', { order: move.signed, reason: 'x' });
    await hosts.drive(hosts.services('host-a').ownership.renew(WEB));
    hosts.files('host-a').set(recordPath('host-a'), old as Buffer);
    // One that cannot be read is no hindrance to it.
    hosts.files('host-a').set(recordPath('host-a', 'aaa'), Buffer.from('{'));
    await hosts.startWorker('host-a');
    const { ownership } = hosts.services('host-a');
    expect([await hosts.drive(ownership.doubt()), (await hosts.drive(ownership.inspect(WEB))).problem === null]).toEqual([null, false]);
    await hosts.ask('host-a', 'reinstateRecords', await word(hosts));
    expect((await hosts.drive(ownership.inspect(WEB))).problem).toBeNull();
  });

  it('changes nothing of records that nobody doubts', async () => {
    const hosts = await beginHosts();
    const before = hosts.files('host-a').get('/var/host-a/ledger.json');
    expect(await hosts.ask('host-a', 'reinstateRecords', await word(hosts, 'host-a', 'ab'.repeat(32)))).toEqual([]);
    expect(hosts.files('host-a').get('/var/host-a/ledger.json')).toBe(before);
  });

  it('is of what was signed for, on the host that it names, by whoever may', async () => {
    const hosts = await beginHosts();
    hosts.world.hosts['host-a'].tpm.state.counter = 7;
    await hosts.startWorker('host-a');
    expect(await hosts.refused('host-a', 'reinstateRecords', await word(hosts, 'host-a', 'ab'.repeat(32)))).toEqual(['REINSTATEMENT_STALE: the records of host-a are not those any more that were signed for']);
    expect(await hosts.refused('host-a', 'reinstateRecords', await word(hosts, 'host-b'))).toEqual(['ORDER_INVALID: the order is not valid: it is for host-b']);
    const said = await word(hosts);
    await hosts.install(({ operators }) => ({ operators: operators.map((one) => ({ ...one, scopes: one.scopes.map((scope) => ({ ...scope, actions: ['migrate'] })) })) }));
    expect(await hosts.refused('host-a', 'reinstateRecords', said)).toEqual([expect.stringMatching(/^OPERATOR_NOT_ALLOWED: /)]);
    expect(await hosts.drive(hosts.services('host-a').ownership.doubt())).not.toBeNull();
  });
});
