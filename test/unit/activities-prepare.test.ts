/** activities/prepare.ts on hosts in memory: what a destination waits with, and what it clears away for it. */
import { describe, expect, it, vi } from 'vitest';
import { A, B, WEB, beginHosts, installedPath, onB, onBWithImage, recordPath, runDirOf } from '../support/hosts-in-memory.js';
import { type Move, refusedOf, sessionOn } from '../support/moves-in-memory.js';
import { refuse } from '../../domain/failures.js';
import { type OwnershipRecord, noRecord } from '../../domain/ownership.js';
import { SecretKey } from '../../domain/secret-key.js';
import { VmDocument } from '../../domain/vm.js';
import type { InstalledVm } from '../../host/vm-store.js';
import { vmOf } from '../../infra/testbed/hostile/people.js';

const withDisk = VmDocument.parse({ ...vmOf('web'), disks: [{ id: 'one', path: '/srv/one.raw', format: 'raw' }] });
const preparing = ({ signed, vm }: Move) => ({ order: signed, vm });

describe('preparing a destination', () => {
  it('has the record say so, the vTPM and the hypervisor wait, and the channel listen, once', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    const { order, signed, port } = move;
    expect(hosts.record('host-b')).toMatchObject({ state: 'incoming', epoch: 2, migrationId: order.migrationId, peer: 'host-a', order: signed, before: null });
    expect([hosts.status('host-b'), hosts.machine('host-b').runs('web'), hosts.world.network.doorsOf('host-b')]).toEqual(['incoming', false, [`host-b:${port}`]]);
    const { incoming, secrets } = sessionOn(hosts, 'host-b', move);
    expect(incoming).toMatchObject({ isConnected: false, verification: null, listener: { address: { host: 'host-b', port } } });
    expect(await hosts.ask('host-b', 'prepareDestination', preparing(move))).toEqual({ port });
    expect(sessionOn(hosts, 'host-b', move).incoming).toBe(incoming);
    const installed = JSON.parse(hosts.files('host-b').get(installedPath('host-b'))?.toString() ?? '') as InstalledVm;
    expect(installed).toEqual({ version: 1, vm: move.vm, vtpm: { identity: secrets?.vtpmIdentity, keys: installed.vtpm?.keys }, bootedAfter: null, started: [] });
    const vtpm = hosts.machine('host-b').vtpms.get(runDirOf('host-b'));
    expect(vtpm).toMatchObject({ stateDir: '/var/host-b/vms/web/vtpm', content: null, migrationKey: secrets?.vtpmMigrationKey.use((key) => Buffer.from(key).toString('hex')) });
    expect(hosts.world.hosts['host-b'].tpm.opens(installed.vtpm?.keys.privateArea ?? '')?.toString('hex')).toBe(`${vtpm?.stateKey ?? ''}${vtpm?.migrationKey ?? ''}`);
    expect(vtpm?.stateKey).not.toBe(hosts.machine('host-a').vtpms.get(runDirOf('host-a'))?.stateKey);
  });

  it('gives the hypervisor the vTPM to connect to', async () => {
    const places: object[] = [];
    const hosts = await beginHosts(onB(({ hypervisor }) => ({ hypervisor: { ...hypervisor, openIncoming: (vm, place) => (places.push({ vmId: vm.vmId, ...place }), hypervisor.openIncoming(vm, place)) } })));
    await hosts.move('prepared');
    expect(places).toEqual([{ vmId: 'web', runDir: '/run/host-b/web', vtpmControlSocketPath: '/run/host-b/web/control.sock' }]);
  });

  it('is for the document that was ordered, at the destination, with what it may open', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('sealed');
    expect(await hosts.refused('host-b', 'prepareDestination', { order: move.signed, vm: { ...move.vm, memoryBytes: 128 * 1024 * 1024 } })).toEqual(['VM_DIFFERS: the VM document that host-b has is not the one that was signed']);
    expect(await hosts.refused('host-a', 'prepareDestination', preparing(move))).toEqual(['ORDER_INVALID: the order is not valid: host-a is not its destination']);
    await hosts.install(({ operators }) => ({ operators: operators.map((one) => ({ ...one, scopes: one.scopes.map((scope) => ({ ...scope, bootFiles: ['/elsewhere/*'] })) })) }));
    const other = await hosts.move('ordered');
    expect((await hosts.refused('host-b', 'prepareDestination', preparing(other))).map((text) => text.split(':')[0])).toEqual(['RESOURCE_NOT_ALLOWED', 'RESOURCE_NOT_ALLOWED']);
    expect(hosts.record('host-b')).toBeNull();
  });

  it('is for a peer that was appraised, with the secrets that it wrapped', async () => {
    const hosts = await beginHosts();
    const refusal = ['NOT_ATTESTED: host-b did not appraise its peer in this move: preparing the destination was asked for first'];
    for (const stage of ['quoted', 'appraised'] as const) expect(await hosts.refused('host-b', 'prepareDestination', preparing(await hosts.move(stage)))).toEqual(refusal);
    expect(hosts.record('host-b')).toBeNull();
  });

  it('looks for the disks that the source sees before anything is written', async () => {
    const hosts = await beginHosts({ vm: null });
    const [ofA, ofB] = [hosts.files('host-a'), hosts.files('host-b')];
    for (const files of [ofA, ofB]) files.set('/srv/one.raw', Buffer.alloc(512));
    await hosts.start(withDisk, 'host-a');
    const move = await hosts.move('sealed', { vm: withDisk });
    ofB.set('/srv/one.raw', Buffer.alloc(1024));
    expect(await hosts.refused('host-b', 'prepareDestination', preparing(move))).toEqual([expect.stringMatching(/^DISK_NOT_SAME: .*\/srv\/one\.raw/)]);
    expect(hosts.record('host-b')).toBeNull();
    ofB.set('/srv/one.raw', Buffer.alloc(512));
    expect(await hosts.ask('host-b', 'prepareDestination', preparing(move))).toEqual({ port: expect.any(Number) as number });
  });

  it('clears away nothing that no record explains', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('sealed');
    const stray = '/var/host-b/vms/web/vtpm/vtpm.state';
    hosts.files('host-b').set(stray, Buffer.from('precious'));
    expect(await hosts.refused('host-b', 'prepareDestination', preparing(move))).toEqual([expect.stringMatching(/^LEFTOVER_FOUND: .*host-b.*\/var\/host-b\/vms\/web\/vtpm/)]);
    expect(hosts.record('host-b')).toBeNull();
    expect(hosts.files('host-b').get(stray)?.toString()).toBe('precious');
  });

  it.each(['none', 'retired'] as const)('clears away what a record that says %s calls surplus: what runs, what is kept, what has other keys', async (state) => {
    const hosts = await beginHosts();
    const earlier = await hosts.move('ordered');
    const common = noRecord(WEB, B);
    const record: OwnershipRecord = state === 'retired'
      ? { ...common, state, epoch: 1, migrationId: earlier.order.migrationId, peer: A, keptUntil: '2100-01-01T00:00:00Z' }
      : { ...common, settled: [refusedOf(earlier.order.migrationId)] };
    const move = await hosts.move('sealed', state === 'retired' ? {} : {});
    hosts.files('host-b').set(recordPath('host-b'), Buffer.from(JSON.stringify(record)));
    hosts.files('host-b').set('/var/host-b/vms/web/vtpm/vtpm.state', Buffer.from('old'));
    const { hypervisor, vtpms } = hosts.services('host-b');
    await hosts.drive(vtpms.ensureRunning({ stateDir: '/var/host-b/elsewhere', runDir: runDirOf('host-b'), stateKey: Buffer.alloc(32, 1), migrationKey: Buffer.alloc(32, 2) }));
    await hosts.drive(hypervisor.openIncoming(move.vm, { runDir: runDirOf('host-b'), vtpmControlSocketPath: null }));
    await hosts.ask('host-b', 'prepareDestination', preparing(move));
    expect(hosts.files('host-b').has('/var/host-b/vms/web/vtpm/vtpm.state')).toBe(false);
    expect(hosts.machine('host-b').vtpms.get(runDirOf('host-b'))?.stateKey).not.toBe('01'.repeat(32));
    expect(hosts.state('host-b')).toBe('incoming');
  });

  it('ends a lone vTPM that has other keys', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('sealed');
    await hosts.drive(hosts.services('host-b').vtpms.ensureRunning({ stateDir: '/var/host-b/elsewhere', runDir: runDirOf('host-b'), stateKey: Buffer.alloc(32, 1), migrationKey: Buffer.alloc(32, 2) }));
    await hosts.ask('host-b', 'prepareDestination', preparing(move));
    expect(hosts.machine('host-b').vtpms.get(runDirOf('host-b'))?.stateKey).not.toBe('01'.repeat(32));
  });

  it.each([
    ['settled', (move: Move): OwnershipRecord => ({ ...noRecord(WEB, B), settled: [refusedOf(move.order.migrationId)] }), 'none'],
    ['another move’s', (move: Move): OwnershipRecord => ({ ...noRecord(WEB, B), state: 'incoming', epoch: 2, migrationId: move.key.migrationId.replace(/.$/, 'f') as never, peer: A, order: move.signed, before: null }), 'incoming'],
  ])('touches nothing where the record is %s by then', async (_, recordOf, state) => {
    let held: OwnershipRecord | null = null;
    const hosts = await beginHosts(onB(({ ownership }) => ({ ownership: { ...ownership, hold: (vmId, work) => (held ? work(held, undefined as never) : ownership.hold(vmId, work)) } })));
    const move = await hosts.move('sealed');
    held = recordOf(move);
    expect(await hosts.refused('host-b', 'prepareDestination', preparing(move))).toEqual([`OWNERSHIP_REFUSED: host-b refuses expect for VM web: its record says ${state}`]);
    expect([hosts.status('host-b'), hosts.machine('host-b').vtpms.size, hosts.world.network.doorsOf('host-b'), sessionOn(hosts, 'host-b', move).incoming]).toEqual(['absent', 0, [], null]);
    held = null;
  });

  it('has no keys left where the hypervisor fails, and is tried again', async () => {
    const problem = refuse('HYPERVISOR_COMMAND_FAILED', { command: 'start', host: 'host-b', problem: 'no memory' });
    let fails = true;
    const destroyed = vi.spyOn(SecretKey.prototype, 'destroy');
    try {
      const hosts = await beginHosts(onB(({ hypervisor }) => ({ hypervisor: { ...hypervisor, openIncoming: (...args) => (fails ? Promise.reject(problem) : hypervisor.openIncoming(...args)) } })));
      const move = await hosts.move('sealed');
      const before = destroyed.mock.calls.length;
      expect(await hosts.refused('host-b', 'prepareDestination', preparing(move))).toEqual([`HYPERVISOR_COMMAND_FAILED: ${problem.message.slice('HYPERVISOR_COMMAND_FAILED: '.length)}`]);
      expect(destroyed.mock.calls.length - before).toBe(1);
      expect(hosts.world.network.doorsOf('host-b')).toEqual([]);
      fails = false;
      expect(await hosts.ask('host-b', 'prepareDestination', preparing(move))).toEqual({ port: expect.any(Number) as number });
      expect(hosts.status('host-b')).toBe('incoming');
    } finally {
      destroyed.mockRestore();
    }
  });

  it('closes what waits where it cannot be written down', async () => {
    const problem = refuse('HOST_COMMAND_FAILED', { command: 'write', host: 'host-b', problem: 'the disk is full' });
    const closed: string[] = [];
    const hosts = await beginHosts({ services: (services) => {
      const made = onBWithImage(() => ({}), closed).services?.(services) ?? services;
      return made.hostId === 'host-b' ? { ...made, vms: { ...made.vms, write: () => Promise.reject(problem) } } : made;
    } });
    const move = await hosts.move('sealed');
    expect(await hosts.refused('host-b', 'prepareDestination', preparing(move))).toEqual([expect.stringMatching(/^HOST_COMMAND_FAILED: .*the disk is full/)]);
    expect([closed, hosts.status('host-b'), hosts.world.network.doorsOf('host-b')]).toEqual([['close image'], 'absent', []]);
  });
});
