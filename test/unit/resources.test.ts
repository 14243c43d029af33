/**
 * activities/resources.ts on real files: what an operator may name and what a host lets VMs open are two questions, and whatever a path
 * is called, what it leads to counts. The attacker may start VMs `x-*` with disks and boot files of his folder.
 */
import { execFileSync } from 'node:child_process';
import { chmod, link, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openable, refuseResources, resourceFailures } from '../../activities/resources.js';
import type { HostServices } from '../../activities/services.js';
import { digestOf } from '../../domain/canonical.js';
import { type StorageRules, foldersTo, reservedPlace } from '../../domain/resources.js';
import type { Disk, VmDocument } from '../../domain/vm.js';
import { createLocalHost } from '../../host/local.js';
import { reservedPlaces } from '../../workers/reserved.js';
import { SOURCE, orderOf, samples, startOrderOf, trustBundleOf, vmDocument } from '../support/documents.js';
import { qcow2Header } from '../support/qcow2-images.js';
import { refusalOf } from '../support/refusal.js';

let folder: string;
let storage: StorageRules;
const path = (...names: readonly string[]) => join(folder, ...names);
const SECRET = ['host/state/vms/victim', 'ownership.json'] as const;

beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kres-')));
  for (const name of ['disks/x', 'disks/victim', 'boot', 'host/run', SECRET[0], 'elsewhere']) await mkdir(path(name), { recursive: true, mode: 0o755 });
  for (const name of ['disks/x/one.raw', 'disks/victim/root.raw', 'boot/vmlinuz', 'boot/initrd', 'elsewhere/file', 'host/payload.key', 'host/trust.json']) await writeFile(path(name), 'x');
  await writeFile(path(...SECRET), '{}');
  await writeFile(path('disks/x/two.qcow2'), qcow2Header({}));
  storage = { disks: [path('disks')], boot: [path('boot')], reserved: [path('host/state'), path('host/run'), path('host/trust.json'), path('host/payload.key')] };
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const disk = (at: string, format: Disk['format'] = 'raw') => [{ id: 'disk0', path: at, format }];
const vmWith = (changes: Partial<Record<'disks' | 'kernel' | 'initrd' | 'networks', unknown>> = {}) => {
  const { disks = disk(path('disks/x/one.raw')), kernel = path('boot/vmlinuz'), initrd = path('boot/initrd'), networks = [] } = changes;
  return vmDocument({ vmId: 'x-1', disks, boot: { kernel, initrd, commandLine: '' }, networks });
};

/** With a scope of any file: what is left are the host's own rules. */
const anywhere = { actions: ['start', 'migrate'], vms: ['x-*'], sources: ['*'], destinations: ['*'], disks: ['*'], bootFiles: ['*'], bridges: ['br-x'] };
function servicesWith(scope: object = {}): HostServices {
  const [ada, grace] = samples.trustBundle.operators;
  const bundle = trustBundleOf({ operators: [{ ...ada, scopes: [{ ...anywhere, ...scope }] }, grace] });
  return { hostId: SOURCE, access: createLocalHost(SOURCE), storage, installedBundle: async () => ({ bundle, digest: digestOf(bundle) }) } as Partial<HostServices> as HostServices;
}

const startOf = (vm: VmDocument) => startOrderOf({ vmId: vm.vmId, vmDigest: digestOf(vm) });
async function codesOf(vm: VmDocument, scope: object = {}): Promise<readonly string[]> {
  return (await resourceFailures(servicesWith(scope), startOf(vm), vm)).map(({ code }) => code);
}

describe('a host', () => {
  it('lets a VM open what lies below its roots', async () => {
    expect(await codesOf(vmWith())).toEqual([]);
    expect(await codesOf(vmWith({ disks: disk(path('disks/x/two.qcow2'), 'qcow2') }))).toEqual([]);
    await chmod(path('disks/x/one.raw'), 0o666);
    expect(await codesOf(vmWith())).toEqual([]);
    storage = { ...storage, disks: [path('elsewhere'), path('disks/x/one.raw')] };
    expect(await codesOf(vmWith())).toEqual([]);
    await symlink(path('disks'), path('storage'));
    storage = { ...storage, disks: [path('storage')] };
    expect(await codesOf(vmWith({ disks: disk(path('storage/x/one.raw')) }))).toEqual([]);
  });

  it.each<[string, () => unknown, string]>([
    ['the ownership record of another VM as a raw disk', () => vmWith({ disks: disk(path(...SECRET)) }), 'PATH_RESERVED'],
    ['a file of the machine as a disk', () => vmWith({ disks: disk('/etc/shadow') }), 'PATH_OUTSIDE_ROOTS'],
    ['a file of the machine as its kernel', () => vmWith({ kernel: '/etc/shadow' }), 'PATH_OUTSIDE_ROOTS'],
    ['a file of the machine as its initrd', () => vmWith({ initrd: '/etc/passwd' }), 'PATH_OUTSIDE_ROOTS'],
    ['the environment of the worker as its initrd', () => vmWith({ initrd: '/proc/self/environ' }), 'PATH_RESERVED'],
    ['a file of the kernel', () => vmWith({ initrd: '/sys/kernel/notes' }), 'PATH_RESERVED'],
    ['a device that is no disk', () => vmWith({ disks: disk('/dev/zero') }), 'PATH_RESERVED'],
    ['a disk as its kernel', () => vmWith({ kernel: path('disks/victim/root.raw') }), 'PATH_OUTSIDE_ROOTS'],
    ['a boot file as its disk', () => vmWith({ disks: disk(path('boot/vmlinuz')) }), 'PATH_OUTSIDE_ROOTS'],
    ['a folder whose name begins as a root', async () => { await mkdir(path('disks-of-others')); await writeFile(path('disks-of-others/f'), ''); return vmWith({ disks: disk(path('disks-of-others/f')) }); }, 'PATH_OUTSIDE_ROOTS'],
    ['the payload keys', () => vmWith({ initrd: path('host/payload.key') }), 'PATH_RESERVED'],
    ['the trust bundle', () => vmWith({ disks: disk(path('host/trust.json')) }), 'PATH_RESERVED'],
    ['a link below a root to the record', async () => { await symlink(path(...SECRET), path('disks/x/link')); return vmWith({ disks: disk(path('disks/x/link')) }); }, 'PATH_RESERVED'],
    ['a link below a root to elsewhere', async () => { await symlink(path('elsewhere/file'), path('disks/x/link')); return vmWith({ disks: disk(path('disks/x/link')) }); }, 'PATH_OUTSIDE_ROOTS'],
    ['a linked folder below a root', async () => { await symlink(path('elsewhere'), path('disks/x/folder')); return vmWith({ disks: disk(path('disks/x/folder/file')) }); }, 'PATH_OUTSIDE_ROOTS'],
    ['a file with a second name', async () => { await link(path(...SECRET), path('disks/x/hard')); return vmWith({ disks: disk(path('disks/x/hard')) }); }, 'DISK_HAS_LINKS'],
    ['a folder as a disk', () => vmWith({ disks: disk(path('disks/x')) }), 'DISK_NOT_VISIBLE'],
    ['a folder as a kernel', async () => { await mkdir(path('boot/folder')); return vmWith({ kernel: path('boot/folder') }); }, 'BOOT_FILE_NOT_VISIBLE'],
    ['a pipe as a disk', () => { execFileSync('mkfifo', [path('disks/x/pipe')]); return vmWith({ disks: disk(path('disks/x/pipe'), 'qcow2') }); }, 'DISK_NOT_VISIBLE'],
    ['a qcow2 image with a backing file', async () => { await writeFile(path('disks/x/two.qcow2'), qcow2Header({ backingOffset: 0x100n, backingBytes: 11 })); return vmWith({ disks: disk(path('disks/x/two.qcow2'), 'qcow2') }); }, 'DISK_HAS_BACKING_FILE'],
    ['a qcow2 image whose data are elsewhere', async () => { await writeFile(path('disks/x/two.qcow2'), qcow2Header({ incompatible: 4n })); return vmWith({ disks: disk(path('disks/x/two.qcow2'), 'qcow2') }); }, 'DISK_HAS_BACKING_FILE'],
    ['a qcow2 image that is none', () => vmWith({ disks: disk(path('disks/x/one.raw'), 'qcow2') }), 'DISK_FORMAT_WRONG'],
    ['a disk in a folder that anybody writes', async () => { await chmod(path('disks/x'), 0o777); return vmWith(); }, 'STORAGE_NOT_SAFE'],
    ['a disk below a root that anybody writes', async () => { await chmod(path('disks'), 0o1777); return vmWith(); }, 'STORAGE_NOT_SAFE'],
  ])('gives no VM %s', async (_, make, code) => {
    const vm = (await make()) as VmDocument;
    expect(await codesOf(vm)).toEqual([code]);
    expect(await refusalOf(openable(servicesWith(), vm))).toMatch(new RegExp(`^${code}: `));
  });

  it('keeps its own from VMs also where a root is above it, or in it', async () => {
    storage = { ...storage, disks: [folder], boot: [folder] };
    expect(await codesOf(vmWith({ disks: disk(path(...SECRET)), kernel: path('host/payload.key'), initrd: path('boot/initrd') }))).toEqual(['PATH_RESERVED', 'PATH_RESERVED']);
    storage = { ...storage, disks: [path(SECRET[0])] };
    expect(await codesOf(vmWith({ disks: disk(path(...SECRET)) }))).toEqual(['PATH_RESERVED']);
    await symlink(path('host/state'), path('state-of-old'));
    storage = { ...storage, disks: [folder], reserved: [path('state-of-old')] };
    expect(await codesOf(vmWith({ disks: disk(path(...SECRET)) }))).toEqual(['PATH_RESERVED']);
  });

  it('has no root that is not there, and none at all where it names none', async () => {
    storage = { ...storage, disks: [path('unmounted')], boot: [] };
    expect(await codesOf(vmWith())).toEqual(['PATH_OUTSIDE_ROOTS', 'PATH_OUTSIDE_ROOTS', 'PATH_OUTSIDE_ROOTS']);
  });

  it('says nothing here of a file that is not there: that has a code of its own', async () => {
    const vm = vmWith({ disks: disk(path('disks/x/none')), kernel: path('boot/none') });
    expect(await codesOf(vm)).toEqual([]);
    expect(await refusalOf(openable(servicesWith(), vm))).toContain('BOOT_FILE_NOT_VISIBLE');
    expect(await refusalOf(openable(servicesWith(), vmWith({ disks: disk(path('disks/x/none')) })))).toContain('DISK_NOT_VISIBLE');
  });

  it('gives all reasons at once', async () => {
    const vm = vmWith({ disks: [...disk('/etc/shadow'), { id: 'disk1', path: path(...SECRET), format: 'raw' }], kernel: '/etc/passwd', networks: [{ id: 'lan', mac: '52:54:00:00:00:01', bridge: 'br0' }] });
    expect(await codesOf(vm)).toEqual(['RESOURCE_NOT_ALLOWED', 'PATH_OUTSIDE_ROOTS', 'PATH_RESERVED', 'PATH_OUTSIDE_ROOTS']);
    await expect(refuseResources(servicesWith(), startOf(vm), vm)).rejects.toMatchObject({ code: 'RESOURCE_NOT_ALLOWED', failures: { length: 4 } });
  });

  it('opens what was looked at, by the path that it leads to', async () => {
    await symlink(path('disks/x/one.raw'), path('disks/x/link'));
    await symlink('initrd', path('boot/newest'));
    const vm = vmWith({ disks: disk(path('disks/x/link')), initrd: path('boot/newest') });
    const opened = await openable(servicesWith(), vm);
    expect(opened).toEqual({ ...vm, disks: disk(path('disks/x/one.raw')), boot: { ...vm.boot, initrd: path('boot/initrd') } });
  });
});

describe('an operator', () => {
  const his = { disks: [] as string[], bootFiles: [] as string[] };
  beforeEach(() => {
    his.disks = [`${path('disks/x')}/*`];
    his.bootFiles = [`${path('boot')}/*`];
  });

  it.each<[string, () => VmDocument, string]>([
    ['the disk of another', () => vmWith({ disks: disk(path('disks/victim/root.raw')) }), 'the disk'],
    ['a kernel of his own', () => vmWith({ kernel: path('disks/x/one.raw') }), 'the boot file'],
    ['a network of others', () => vmWith({ networks: [{ id: 'lan', mac: '52:54:00:00:00:01', bridge: 'br-victim' }] }), 'the bridge br-victim'],
  ])('gives his VM no more than his scope: not %s', async (_, make, what) => {
    const vm = make();
    expect(await codesOf(vm, his)).toEqual(['RESOURCE_NOT_ALLOWED']);
    expect(await refusalOf(refuseResources(servicesWith(his), startOf(vm), vm))).toContain(`let ada start VM x-1 with ${what}`);
    const order = orderOf({ vmId: vm.vmId, vmDigest: digestOf(vm) });
    expect(await refusalOf(refuseResources(servicesWith(his), order, vm))).toContain(`let ada migrate VM x-1 with ${what}`);
  });

  it('moves a VM from where his scope says, and from nowhere else', async () => {
    const vm = vmWith();
    const order = orderOf({ vmId: vm.vmId, vmDigest: digestOf(vm) });
    const codesOn = async (sources: readonly string[]) => (await resourceFailures(servicesWith({ sources }), order, vm)).map(({ code }) => code);
    expect(await codesOn(['host-a'])).toEqual([]);
    expect(await codesOn(['host-b'])).toEqual(Array(3).fill('RESOURCE_NOT_ALLOWED'));
  });

  it('is not told of files that he may not name', async () => {
    for (const at of ['/etc/shadow', '/nowhere', path(...SECRET)]) expect(await codesOf(vmWith({ disks: disk(at) }), his)).toEqual(['RESOURCE_NOT_ALLOWED']);
  });

  it('has a word about one document, and about no other', async () => {
    expect((await resourceFailures(servicesWith(), startOf(vmWith()), vmWith({ kernel: '/etc/shadow' }))).map(({ code }) => code)).toEqual(['VM_DIFFERS']);
  });

  it('names no path in two ways', () => {
    for (const at of ['/srv/x/../victim', '/srv//x', '/srv/x/.', '/srv/x/']) expect(() => vmWith({ disks: disk(at) })).toThrow('normalised');
  });
});

describe('a block device', () => {
  it('may be opened in /dev, where nothing else may, and not in what the host keeps', () => {
    expect([reservedPlace('/dev/sda', true, []), reservedPlace('/dev/mem', false, []), reservedPlace('/devices/a', false, [])]).toEqual([null, '/dev', null]);
    expect([reservedPlace('/dev/sda', true, ['/dev/sda']), reservedPlace('/srv/state/node', true, ['/srv/state']), reservedPlace('/proc/node', true, [])]).toEqual(['/dev/sda', '/srv/state', '/proc']);
    expect([foldersTo('/dev/dm-3', '/dev/dm-3'), foldersTo('/dev/vg/a', '/dev'), foldersTo('/srv/a/b/c', '/srv')]).toEqual([[], ['/dev', '/dev/vg'], ['/srv', '/srv/a', '/srv/a/b']]);
  });
});

describe('what a worker keeps to itself', () => {
  it('is its folders, its bundle, and each file that its credentials are in', async () => {
    const toml = path('temporal.toml');
    await writeFile(toml, '[profile.default.tls]\nclient_cert_path = "/keys/of-toml.pem"\n');
    const environment = { TEMPORAL_CONFIG_FILE: toml, TEMPORAL_TLS_CLIENT_KEY_PATH: '/keys/client.key', TEMPORAL_TLS_SERVER_CA_CERT_PATH: '/keys/ca.pem', KORORA_PAYLOAD_KEY: '/keys/payload', CREDENTIALS_DIRECTORY: '/run/credentials/unit' };
    const config = { stateDir: '/s', runDir: '/r', trustBundle: '/t.json' } as Parameters<typeof reservedPlaces>[0];
    expect(reservedPlaces(config, environment)).toEqual(['/s', '/r', '/t.json', '/keys/of-toml.pem', '/keys/client.key', '/keys/ca.pem', toml, '/keys/payload', '/run/credentials/unit']);
    expect(reservedPlaces(config, { HOME: '/home/korora' })).toEqual(['/s', '/r', '/t.json', '/home/korora/.config/temporalio/temporal.toml']);
  });
});
