/**
 * host/ownership-store.ts and host/vm-store.ts on real files: a record is on disk before anybody
 * hears of it, one event after the other; a record that cannot be read is never taken for none; a
 * refused event writes nothing; erasing a VM leaves its record.
 */
import { mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { KororaError } from '../../domain/failures.js';
import { HostId, VmId } from '../../domain/ids.js';
import { type OwnershipEvent, OwnershipRecord, noRecord } from '../../domain/ownership.js';
import { createLocalHost } from '../../host/local.js';
import { type OwnershipPlace, type OwnershipStore, createOwnershipStore } from '../../host/ownership-store.js';
import type { HostAccess } from '../../host/port.js';
import { createVmStore } from '../../host/vm-store.js';
import { createHostTpm } from '../../tpm/host-tpm.js';
import type { MonotonicCounter } from '../../tpm/port.js';
import { DESTINATION, PEER_BOOT, SIGNED_ORDER, SOURCE, VM, installedVmOf, migrationId, rejectionOf } from '../support/documents.js';
import { type TpmTestbed, startTpmTestbed } from './tpm-testbed.js';

let folder: string;
let vmsDir: string;
let store: OwnershipStore;
let testbed: TpmTestbed;
let counter: MonotonicCounter;
const access = createLocalHost(SOURCE);

beforeAll(async () => {
  testbed = await startTpmTestbed();
  counter = createHostTpm({ access, hostId: SOURCE, tcti: testbed.tcti, stateDir: join(testbed.folder, 'keys') }).ownershipCounter;
}, 60_000);
afterAll(() => testbed?.stop());

const openStore = (through = access, place: Partial<OwnershipPlace> = {}) => createOwnershipStore(through, { hostId: SOURCE, vmsDir, ledgerFile: join(folder, 'ledger.json'), counter, ...place });

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'korora-stores-'));
  vmsDir = join(folder, 'vms');
  store = openStore();
  await store.begin();
});
afterEach(() => rm(folder, { recursive: true }));

const fileOf = (vmId: string) => join(vmsDir, vmId, 'ownership.json');
const onDisk = async (): Promise<unknown> => JSON.parse(await readFile(fileOf(VM), 'utf8'));
const offer = (n: number): OwnershipEvent => ({ type: 'offer', migrationId: migrationId(n), destination: DESTINATION, epoch: 2, order: SIGNED_ORDER, peerBoot: PEER_BOOT });
const withdraw = (n: number): OwnershipEvent => ({ type: 'withdraw', migrationId: migrationId(n), shown: { epoch: 2, notAfter: '2030-01-01T00:00:00Z', now: '2029-01-01T00:00:00Z' } });

async function refusalOf(action: Promise<unknown>): Promise<string> {
  const error: unknown = await action.then(() => 'no refusal', (e: unknown) => e);
  return error instanceof KororaError ? `${error.code} ${error.message}` : `not typed: ${String(error)}`;
}

async function install(content: unknown): Promise<void> {
  await mkdir(join(vmsDir, VM), { recursive: true });
  await writeFile(fileOf(VM), typeof content === 'string' ? content : JSON.stringify(content));
}

describe('the ownership store', () => {
  it('says `none` of a VM that has no record, and makes no file of it', async () => {
    expect(await store.read(VM)).toEqual(noRecord(VM, SOURCE));
    expect(await readdir(folder)).toEqual(['ledger.json']);
  });

  it('has the new record on disk when apply resolves, readable by its owner only, with nothing beside it', async () => {
    await store.apply(VM, { type: 'create' });
    const record = await store.apply(VM, offer(1));
    expect(record).toEqual({ ...noRecord(VM, SOURCE), generation: await counter.read(), state: 'offering', epoch: 1, migrationId: migrationId(1), peer: DESTINATION, order: SIGNED_ORDER, peerBoot: PEER_BOOT });
    expect(await onDisk()).toEqual(record);
    expect((await stat(fileOf(VM))).mode & 0o777).toBe(0o600);
    expect((await stat(join(vmsDir, VM))).mode & 0o777).toBe(0o700);
    expect(await readdir(join(vmsDir, VM))).toEqual(['ownership.json']);
  });

  it('goes through the durable write of the host, so that a crash cannot take the record back', async () => {
    const written: string[] = [];
    const recording: HostAccess = { ...access, writeFileDurably: (path, content) => access.writeFileDurably(path, content).then(() => void written.push(path)) };
    await openStore(recording).apply(VM, { type: 'create' });
    expect(written).toEqual([join(folder, 'ledger.json'), fileOf(VM), join(folder, 'ledger.json')]);
  });

  it('survives a restart of its worker', async () => {
    await store.apply(VM, { type: 'create' });
    const record = await store.apply(VM, withdraw(1));
    const after = openStore();
    expect(await after.read(VM)).toEqual(record);
    expect(await refusalOf(after.apply(VM, offer(1)))).toContain('OWNERSHIP_REFUSED');
  });

  it('leaves the file as it is, byte for byte, where an event is refused or changes nothing', async () => {
    await store.apply(VM, { type: 'create' });
    await store.apply(VM, offer(1));
    await writeFile(fileOf(VM), `\n${JSON.stringify(await onDisk())}  \n`);
    const [before, facts] = [await readFile(fileOf(VM), 'utf8'), await stat(fileOf(VM), { bigint: true })];
    expect(await refusalOf(store.apply(VM, offer(2)))).toContain('OWNERSHIP_REFUSED');
    expect(await refusalOf(store.apply(VM, { type: 'learn-verdict', proven: { verdict: rejectionOf(), proof: 'quote' } }))).toContain('OWNERSHIP_REFUSED');
    expect((await store.apply(VM, offer(1))).state).toBe('offering');
    expect(await readFile(fileOf(VM), 'utf8')).toBe(before);
    const after = await stat(fileOf(VM), { bigint: true });
    expect([after.ino, after.mtimeNs]).toEqual([facts.ino, facts.mtimeNs]);
  });

  it('applies no event while its record is held, and lets go of it after a failure', async () => {
    await store.apply(VM, { type: 'create' });
    let offered: Promise<unknown> = Promise.resolve();
    const held = store.hold(VM, async ({ state }) => {
      offered = store.apply(VM, offer(1));
      // Many writes of its kind: the event has every chance to come between.
      for (let n = 1; n <= 20; n++) await store.apply(VmId.parse(`other-${n}`), { type: 'create' });
      throw new Error(`held as ${state}, now ${(await store.read(VM)).state}`);
    });
    await expect(held).rejects.toThrow('held as owner, now owner');
    await offered;
    expect(await store.hold(VM, async ({ state }) => state)).toBe('offering');
  });

  it('makes no folder for a VM whose first event it refuses', async () => {
    expect(await refusalOf(store.apply(VM, offer(1)))).toContain('OWNERSHIP_REFUSED');
    expect(await readdir(folder)).toEqual(['ledger.json']);
  });

  it.each<[string, unknown]>([
    ['is empty', ''],
    ['is cut', '{"version":1,"vmId":"web-1"'],
    ['is no JSON', '\0\0\0\0'],
    ['is null', null],
    ['is of another version', { ...noRecord(VM, SOURCE), version: 1 }],
    ['has a state that nobody knows', { ...noRecord(VM, SOURCE), state: 'owned', epoch: 1 }],
    ['lacks its epoch', { ...noRecord(VM, SOURCE), state: 'owner', epoch: undefined }],
    ['has a member too many', { ...noRecord(VM, SOURCE), surplus: 1 }],
    ['is of another VM', noRecord(VmId.parse('web-2'), SOURCE)],
    ['is of another host', noRecord(VM, DESTINATION)],
  ])('refuses a record that %s, as it reads and as it applies, and leaves it as evidence', async (_, content) => {
    await install(content);
    const before = await readFile(fileOf(VM));
    expect(await refusalOf(store.read(VM))).toMatch(/^RECORD_UNREADABLE .*the ownership record of VM web-1 on host-a cannot be read: ./);
    expect(await refusalOf(store.apply(VM, { type: 'create' }))).toMatch(/^RECORD_UNREADABLE /);
    expect(await readFile(fileOf(VM))).toEqual(before);
  });

  it('takes nothing it cannot open for nothing', async () => {
    await mkdir(fileOf(VM), { recursive: true });
    expect(await refusalOf(store.read(VM))).toMatch(/^HOST_COMMAND_FAILED /);
    expect(await refusalOf(store.apply(VM, { type: 'create' }))).toMatch(/^HOST_COMMAND_FAILED /);
  });

  it('applies events that come at once one after the other, each to the record of the one before', async () => {
    await store.apply(VM, { type: 'create' });
    const moves = Array.from({ length: 20 }, (_, n) => n + 1);
    await Promise.all(moves.map((n) => store.apply(VM, withdraw(n))));
    const record = OwnershipRecord.parse(await onDisk());
    expect(record.settled.map((s) => s.migrationId)).toEqual(moves.map(migrationId));
  });

  it('lets one of two moves have the VM that ask at once', async () => {
    await store.apply(VM, { type: 'create' });
    const answers = await Promise.allSettled([store.apply(VM, offer(1)), store.apply(VM, offer(2))]);
    expect(answers.map((a) => a.status)).toEqual(['fulfilled', 'rejected']);
    expect(await onDisk()).toMatchObject({ state: 'offering', migrationId: migrationId(1) });
  });

  it('goes on after an event that was refused', async () => {
    const [refused, created] = await Promise.allSettled([store.apply(VM, offer(1)), store.apply(VM, { type: 'create' })]);
    expect([refused.status, created.status]).toEqual(['rejected', 'fulfilled']);
    expect(await onDisk()).toMatchObject({ state: 'owner', epoch: 1 });
  });

  it('does not say that a record is new that it could not write', async () => {
    const broken: HostAccess = { ...access, writeFileDurably: (path, content) => access.writeFileDurably(path === fileOf(VM) ? join(path, 'no', 'folder') : path, content) };
    const failing = openStore(broken);
    expect(await refusalOf(failing.apply(VM, { type: 'create' }))).toMatch(/^HOST_COMMAND_FAILED /);
    expect((await failing.read(VM)).state).toBe('none');
  });

  it('writes nothing that it could not read again: the record that stands is worth more', async () => {
    const before = await store.apply(VM, { type: 'create' });
    const odd = { ...withdraw(1), shown: { epoch: 2.5, notAfter: '2030-01-01T00:00:00Z', now: '2029-01-01T00:00:00Z' } } as OwnershipEvent;
    expect(await refusalOf(store.apply(VM, odd))).toMatch(/^RECORD_UNREADABLE .*settled\.0\.epoch/);
    expect([await onDisk(), await openStore().read(VM)]).toEqual([before, before]);
  });

  it('lets what holds a record apply events of its own, and nobody else’s come between', async () => {
    await store.apply(VM, { type: 'create' });
    const seen: string[] = [];
    const holding = store.hold(VM, async ({ state }, apply) => {
      seen.push(state, (await apply(offer(1))).state);
      await new Promise((resolve) => setImmediate(resolve));
      seen.push((await apply(withdraw(1))).state);
    });
    const other = store.apply(VM, withdraw(2)).then(({ settled }) => seen.push(settled.map(({ migrationId: id }) => id).join()));
    await Promise.all([holding, other]);
    expect(seen).toEqual(['owner', 'offering', 'owner', `${migrationId(1)},${migrationId(2)}`]);
  });

  it('keeps VMs apart and lists those that it has', async () => {
    const other = VmId.parse('web-2');
    await Promise.all([store.apply(other, { type: 'create' }), store.apply(VM, { type: 'reject', migrationId: migrationId(1), epoch: 2, reason: 'undone', shown: { epoch: 2, notAfter: '2030-01-01T00:00:00Z', now: '2029-01-01T00:00:00Z' } })]);
    expect([(await store.read(VM)).state, (await store.read(other)).state]).toEqual(['none', 'owner']);
    await writeFile(join(vmsDir, '.aside'), '');
    expect(await store.list()).toEqual(['web-1', 'web-2']);
    expect(await openStore(access, { vmsDir: join(folder, 'nowhere') }).list()).toEqual([]);
  });
});

describe('the VM store', () => {
  const dirsOf = () => ({ vmsDir, runDir: join(folder, 'run') });

  it('gives back what was installed, and null where nothing was', async () => {
    const vms = createVmStore(access, dirsOf());
    expect(await vms.read(VM)).toBeNull();
    const installed = installedVmOf();
    await vms.write(VM, installed);
    expect(await vms.read(VM)).toEqual(installed);
    expect((await stat(join(vmsDir, VM, 'installed.json'))).mode & 0o777).toBe(0o600);
  });

  it('refuses a document that is not one, naming the file and the field', async () => {
    const vms = createVmStore(access, dirsOf());
    await mkdir(join(vmsDir, VM), { recursive: true });
    await writeFile(join(vmsDir, VM, 'installed.json'), JSON.stringify({ ...installedVmOf(), vtpm: {} }));
    const refusal = await refusalOf(vms.read(VM));
    expect(refusal).toMatch(/^HOST_CONFIG_INVALID /);
    expect(refusal).toContain(join(vmsDir, VM, 'installed.json'));
    expect(refusal).toContain('vtpm.identity: ');
  });

  it('names what is left of a VM, its record aside, and erases that and no more', async () => {
    const vms = createVmStore(access, dirsOf());
    const other = VmId.parse('web-2');
    await store.apply(VM, { type: 'create' });
    expect(await vms.traces(VM)).toEqual([]);
    for (const id of [VM, other]) {
      await vms.write(id, installedVmOf());
      await mkdir(vms.vtpmStateDirOf(id), { recursive: true });
      await mkdir(vms.runDirOf(id), { recursive: true });
      await writeFile(join(vms.runDirOf(id), 'qemu.pid'), '1');
    }
    expect(await vms.traces(VM)).toEqual([join(vmsDir, VM, 'installed.json'), vms.vtpmStateDirOf(VM), vms.runDirOf(VM)]);
    await vms.erase(VM);
    await vms.erase(VM);
    expect(await vms.traces(VM)).toEqual([]);
    expect((await store.read(VM)).state).toBe('owner');
    expect((await vms.traces(other)).length).toBe(3);
  });

  it('keeps hosts apart', () => {
    const on = (dir: string) => createVmStore(createLocalHost(HostId.parse('host-b')), { vmsDir: join(dir, 'vms'), runDir: join(dir, 'run') });
    expect([on('/a').runDirOf(VM), on('/b').runDirOf(VM), on('/a').vtpmStateDirOf(VM)]).toEqual(['/a/run/web-1', '/b/run/web-1', '/a/vms/web-1/vtpm']);
  });
});
