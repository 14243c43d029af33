/**
 * A tenant: an operator who may start and move VMs `x-*`, with disks of his own folder on the shared storage and nothing else. He names what
 * he likes; so does whoever carries his orders. What his VM does not get is as it was.
 */
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeKey, readSigner } from '../../cli/keys.js';
import type { KororaClient } from '../../client/index.js';
import { digestOf } from '../../domain/canonical.js';
import { type Signer, signEnvelope } from '../../domain/envelope.js';
import type { HostEvidence, SessionOffer, WrappedSecrets } from '../../domain/attestation.js';
import { Order } from '../../domain/order.js';
import { DEFAULT_LIMITS } from '../../domain/progress.js';
import type { Operator } from '../../domain/operators.js';
import { installBundle } from '../../domain/trust-bundle.js';
import { MIB, type VmDocument } from '../../domain/vm.js';
import { type Rogue, openRogue } from '../../infra/testbed/attacks/rogue.js';
import { endOfMove } from '../../infra/testbed/end-of-move.js';
import type { GuestConsole } from '../../infra/testbed/guest-console.js';
import type { Testbed } from '../../infra/testbed/testbed.js';
import { qcow2Header } from '../support/qcow2-images.js';
import { type HostName, consoleOn, failedMove, openTestbed, recordAt } from './support.js';

let testbed: Testbed;
let rogue: Rogue;
let tenant: { readonly client: KororaClient; readonly signer: Signer };
/** Of the tenant, as his scope allows it. */
let vm: VmDocument;
let guest: GuestConsole;
const his = (name: string) => join(testbed.root, 'shared/x', name);

async function withTenant(scope: Partial<Operator['scopes'][number]> = {}): Promise<typeof tenant> {
  const { publicKey } = tenant?.signer ?? (await readSigner((await makeKey(join(testbed.root, 'tenant.key'))).privateFile));
  const signer = await readSigner(join(testbed.root, 'tenant.key'));
  const [guestDir = ''] = testbed.hosts['host-a'].config.storage.boot;
  const scopes = [{ actions: ['start' as const, 'migrate' as const], vms: ['x-*'], sources: ['*' as const], destinations: ['*' as const], disks: [`${join(testbed.root, 'shared/x')}/*`], bootFiles: [`${guestDir}/*`], bridges: ['br-x*'], ...scope }];
  const operators = [...testbed.bundle.bundle.operators, { name: 'tenant', publicKey, status: 'active' as const, scopes }];
  return { client: await testbed.installBundle({ ...testbed.bundle.bundle, operators }, signer), signer };
}

beforeAll(async () => {
  testbed = await openTestbed();
  rogue = await openRogue(testbed);
  tenant = await withTenant();
  await mkdir(join(testbed.root, 'shared/x'), { mode: 0o755 });
  await writeFile(his('own.raw'), Buffer.alloc(MIB));
  const made = await testbed.guest('x-1', { memoryMib: 128 });
  await symlink('own.raw', his('own'));
  vm = { ...made, disks: [{ id: 'disk0', path: his('own'), format: 'raw' }] };
  await tenant.client.startVm(vm, 'host-a');
  guest = await consoleOn(testbed, 'x-1', 'host-a');
  await guest.until((c) => c.unseals().length > 0, 'its first unsealing', 120_000);
});
afterAll(async () => {
  await guest?.close();
  await rogue?.close();
  await testbed?.stop();
});

/** What QEMU was given for the disk, which the document names by a link. */
async function openedOn(host: HostName): Promise<readonly string[]> {
  const runDir = join(testbed.hosts[host].config.runDir, 'x-1');
  const words = (await readFile(`/proc/${(await readFile(join(runDir, 'qemu.pid'), 'utf8')).trim()}/cmdline`, 'utf8')).split(/[\0,]/);
  return words.filter((word) => word.startsWith('filename='));
}

async function countsOn(): Promise<void> {
  const before = guest.counts().at(-1) ?? 0;
  await guest.until((c) => (c.counts().at(-1) ?? 0) > before + 2, 'counting on');
}

describe('a start', () => {
  it('gives the hypervisor the file that was looked at, not a name that may lead elsewhere by then', async () => {
    expect(await openedOn('host-a')).toEqual([`filename=${his('own.raw')}`]);
  });

  const record = () => join(testbed.hosts['host-a'].config.stateDir, 'vms/x-1/ownership.json');
  const another = (changes: object): VmDocument => ({ ...vm, vmId: 'x-2', ...changes }) as VmDocument;
  const disk = (path: string, format = 'raw') => another({ disks: [{ id: 'disk0', path, format }] });

  it.each<[string, () => Promise<VmDocument> | VmDocument, string]>([
    ['the record of a VM as its disk', () => disk(record()), 'RESOURCE_NOT_ALLOWED'],
    ['a link to it in his own folder', async () => { await symlink(record(), his('link')); return disk(his('link')); }, 'PATH_RESERVED'],
    ['the storage of others', () => disk(join(testbed.root, 'shared/x-1.raw')), 'RESOURCE_NOT_ALLOWED'],
    ['a link to a file of the machine', async () => { await symlink('/etc/shadow', his('shadow')); return disk(his('shadow')); }, 'PATH_OUTSIDE_ROOTS'],
    ['a file of the machine as its kernel', () => another({ disks: [], boot: { ...vm.boot, kernel: '/etc/shadow' } }), 'RESOURCE_NOT_ALLOWED'],
    ['an image that opens another', async () => { await writeFile(his('backed'), qcow2Header({ backingOffset: 0x100n, backingBytes: record().length })); return disk(his('backed'), 'qcow2'); }, 'DISK_HAS_BACKING_FILE'],
    ['a network of others', () => another({ disks: [], networks: [{ id: 'lan', mac: '52:54:00:00:00:01', bridge: 'br-victim' }] }), 'RESOURCE_NOT_ALLOWED'],
    ['a way up in a path', () => disk(`${his('..')}/x/../../host-a/state`), 'VM_DOCUMENT_INVALID'],
  ])('with %s is refused, and nothing is touched', async (_, make, code) => {
    const before = await readFile(record());
    const asked = await make();
    expect((await failedMove(tenant.client.startVm(asked, 'host-a'))).codes).toContain(code);
    // Past the workflow, which may be anybody's.
    const start = { kind: 'korora/start' as const, version: 1, vmId: asked.vmId, vmDigest: digestOf(asked), host: 'host-a', epoch: null, by: 'tenant', notAfter: new Date(Date.now() + 3_600_000).toISOString() };
    expect(await rogue.codesOf('host-a', 'startVm', { start: await signEnvelope(start, tenant.signer), vm: asked })).toContain(code);
    expect(await readFile(record())).toEqual(before);
    expect(recordAt(testbed, 'host-a', 'x-2').state).toBe('none');
  });

  it('by one who may name any file gives a VM none of the host’s own', async () => {
    const failed = await failedMove(testbed.client.startVm({ ...disk(record()), boot: { ...vm.boot, initrd: '/proc/self/environ' } }, 'host-a'));
    expect(failed.codes).toEqual(['PATH_RESERVED', 'PATH_RESERVED']);
  });
});

describe('a move', () => {
  const orderOf = async () => {
    const { digest: bundleDigest } = installBundle(JSON.parse(await readFile(join(testbed.root, 'trust.json'), 'utf8')), 'the tenant', 'any signer');
    return Order.parse({
      kind: 'korora/order', version: 2, migrationId: crypto.randomUUID(), vmId: 'x-1', vmDigest: digestOf(vm), epoch: recordAt(testbed, 'host-a', 'x-1').epoch, source: 'host-a', destination: 'host-b', bundleDigest,
      limits: DEFAULT_LIMITS, requiresApproval: false, by: 'tenant', notAfter: new Date(Date.now() + 3_600_000).toISOString(),
    });
  };
  const ofMove = async () => failedMove(endOfMove(tenant.client, 'x-1', (await tenant.client.migrate({ vmId: 'x-1', destination: 'host-b' })).runId));

  /** Up to the appraisal, by whoever has Temporal and skips the preflight. */
  async function appraised() {
    const order = await orderOf();
    const signed = await signEnvelope(order, tenant.signer);
    const [a, b] = [{ order: signed, role: 'source' }, { order: signed, role: 'destination' }];
    const offers = { source: await rogue.ask<SessionOffer>('host-a', 'openSession', a), destination: await rogue.ask<SessionOffer>('host-b', 'openSession', b) };
    await rogue.ask('host-a', 'appraisePeer', { ...a, evidence: await rogue.ask<HostEvidence>('host-b', 'quoteHost', { ...b, peer: offers.source }) });
    await rogue.ask('host-b', 'appraisePeer', { ...b, evidence: await rogue.ask<HostEvidence>('host-a', 'quoteHost', { ...a, peer: offers.destination }) });
    return { signed, close: () => Promise.all((['host-a', 'host-b'] as const).map((host) => rogue.ask(host, 'closeSession', { order: signed, reason: 'it is over' }))) };
  }

  it('to a host whose roots do not have the disk is refused there, also where the preflight is skipped', async () => {
    const { configFile } = testbed.hosts['host-b'];
    const text = await readFile(configFile, 'utf8');
    const { storage, ...rest } = JSON.parse(text) as { readonly storage: { readonly boot: readonly string[] } };
    await writeFile(configFile, JSON.stringify({ ...rest, storage: { ...storage, disks: [join(testbed.root, 'shared/of-others')] } }));
    await testbed.restartWorker('host-b');
    expect((await ofMove()).codes).toEqual(['PATH_OUTSIDE_ROOTS']);
    const { signed, close } = await appraised();
    await rogue.ask('host-b', 'unwrapSecrets', { order: signed, wrapped: await rogue.ask<WrappedSecrets>('host-a', 'wrapSecrets', { order: signed }) });
    expect(await rogue.codesOf('host-b', 'prepareDestination', { order: signed, vm })).toEqual(['PATH_OUTSIDE_ROOTS']);
    await close();
    expect(recordAt(testbed, 'host-b', 'x-1').state).toBe('none');
    await writeFile(configFile, text);
    await testbed.restartWorker('host-b');
    await countsOn();
  });

  it('by one whose scope does not have the disk is refused by both hosts', async () => {
    tenant = await withTenant({ disks: [join(testbed.root, 'shared/x/other.raw')] });
    expect((await ofMove()).codes).toEqual(['RESOURCE_NOT_ALLOWED', 'RESOURCE_NOT_ALLOWED']);
    const { signed, close } = await appraised();
    expect(await rogue.codesOf('host-a', 'wrapSecrets', { order: signed })).toEqual(['RESOURCE_NOT_ALLOWED']);
    expect(await rogue.codesOf('host-b', 'prepareDestination', { order: signed, vm })).toEqual(['RESOURCE_NOT_ALLOWED']);
    await close();
    await countsOn();
  });

  it('as the scope and both hosts allow it is made', async () => {
    tenant = await withTenant();
    const { runId } = await tenant.client.migrate({ vmId: 'x-1', destination: 'host-b' });
    expect((await endOfMove(tenant.client, 'x-1', runId)).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
    expect(await openedOn('host-b')).toEqual([`filename=${his('own.raw')}`]);
  });
});
