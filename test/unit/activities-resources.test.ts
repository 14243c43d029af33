/**
 * activities/resources.ts, refusal by refusal and to the letter, over a table of paths: among them block devices, which no test makes on a real machine. On real
 * files: resources.test.ts.
 */
import { describe, expect, it } from 'vitest';
import { openable, refuseResources, resourceFailures } from '../../activities/resources.js';
import type { HostServices } from '../../activities/services.js';
import { digestOf } from '../../domain/canonical.js';
import { QCOW2_HEADER_BYTES } from '../../domain/qcow2.js';
import type { VmDocument } from '../../domain/vm.js';
import type { FileFacts } from '../../host/port.js';
import { SOURCE, orderOf, samples, startOrderOf, trustBundleOf, vmDocument } from '../support/documents.js';
import { qcow2Header } from '../support/qcow2-images.js';
import { refusalOf, textsOf } from '../support/refusal.js';

type Place = Partial<FileFacts> & { /** A symbolic link's target. */ readonly to?: string; readonly start?: Uint8Array };

const FOLDER: Place = { kind: 'directory' };
const FILE: Place = { kind: 'file', links: 1 };
const BLOCK: Place = { kind: 'block-device', links: 1 };
const PLACES: Readonly<Record<string, Place>> = {
  '/srv': FOLDER, '/srv/disks': FOLDER, '/srv/disks/x': FOLDER, '/srv/disks/x/one.raw': FILE, '/boot': FOLDER, '/boot/kernel': FILE, '/boot/initrd': FILE, '/dev': FOLDER, '/dev/vg': FOLDER,
  '/var/korora': FOLDER,
};

/** A host with these files beside the usual ones, and an operator who may name any. */
function hostWith(others: Readonly<Record<string, Place>> = {}, { disks = ['/srv/disks'], boot = ['/boot'], reserved = ['/var/korora'] } = {}, scope: object = {}) {
  const places = { ...PLACES, ...others };
  const starts: [string, number][] = [];
  const looked: string[] = [];
  const access = {
    resolve: (path: string) => {
      looked.push(path);
      const place = places[path];
      return Promise.resolve(place ? (place.to ?? path) : null);
    },
    stat: (path: string) => Promise.resolve(places[path] ? { isOpenToOthers: false, sizeBytes: 1, ...places[path] } : null),
    readStart: (path: string, bytes: number) => (starts.push([path, bytes]), Promise.resolve(Buffer.from(places[path]?.start ?? []).subarray(0, bytes))),
  };
  const [ada, grace] = samples.trustBundle.operators;
  const anything = { actions: ['start', 'migrate'], vms: ['x-*'], sources: ['*'], destinations: ['*'], disks: ['*'], bootFiles: ['*'], bridges: ['br-x'] };
  const bundle = trustBundleOf({ operators: [{ ...ada, scopes: [{ ...anything, ...scope }] }, grace] });
  const services = { hostId: SOURCE, access, storage: { disks, boot, reserved }, installedBundle: () => Promise.resolve({ bundle, digest: digestOf(bundle) }) } as unknown as HostServices;
  return { services, starts, looked };
}

const vmWith = (path: string, { format = 'raw', kernel = '/boot/kernel', initrd = '/boot/initrd' } = {}) =>
  vmDocument({ vmId: 'x-1', disks: [{ id: 'disk0', path, format }], boot: { kernel, initrd, commandLine: '' }, networks: [] });
const startOf = (vm: VmDocument) => startOrderOf({ vmId: vm.vmId, vmDigest: digestOf(vm) });
const saidOf = async (services: HostServices, vm: VmDocument) => textsOf(await resourceFailures(services, startOf(vm), vm));

describe('what a host refuses', () => {
  it.each<[string, VmDocument, Readonly<Record<string, Place>>, string]>([
    ['is what leads into its own', vmWith('/srv/disks/x/link'), { '/srv/disks/x/link': { to: '/var/korora/key' }, '/var/korora/key': FILE },
      'PATH_RESERVED: host-a lets no VM open /srv/disks/x/link: it leads to /var/korora/key, and host-a keeps /var/korora to itself'],
    ['is a device that is no disk', vmWith('/dev/mem'), { '/dev/mem': { kind: 'other' } }, 'PATH_RESERVED: host-a lets no VM open /dev/mem: it leads to /dev/mem, and host-a keeps /dev to itself'],
    ['is a disk below no root', vmWith('/srv/disks/x/link'), { '/srv/disks/x/link': { to: '/etc/shadow' }, '/etc/shadow': FILE },
      'PATH_OUTSIDE_ROOTS: host-a lets no VM open /srv/disks/x/link as a disk: it leads to /etc/shadow, and none of the roots of host-a for that is above it'],
    ['is a boot file below no root', vmWith('/srv/disks/x/one.raw', { kernel: '/srv/disks/x/one.raw' }), {},
      'PATH_OUTSIDE_ROOTS: host-a lets no VM open /srv/disks/x/one.raw as a boot file: it leads to /srv/disks/x/one.raw, and none of the roots of host-a for that is above it'],
    ['lies in a folder of others', vmWith('/srv/disks/x/one.raw'), { '/srv/disks/x': { ...FOLDER, isOpenToOthers: true } },
      'STORAGE_NOT_SAFE: others than root and the worker can change the names in /srv/disks/x on host-a, where /srv/disks/x/one.raw lies'],
    ['is a file of many names', vmWith('/srv/disks/x/one.raw'), { '/srv/disks/x/one.raw': { ...FILE, links: 3 } },
      'DISK_HAS_LINKS: disk disk0 at /srv/disks/x/one.raw has 3 names on host-a: what else opens it cannot be known'],
    ['is an image with more than itself', vmWith('/srv/disks/x/one.raw', { format: 'qcow2' }), { '/srv/disks/x/one.raw': { ...FILE, start: qcow2Header({ backingOffset: 0x100n, backingBytes: 11 }) } },
      'DISK_HAS_BACKING_FILE: disk disk0 at /srv/disks/x/one.raw on host-a is an image with a backing file, which the VM document cannot name'],
    ['is an image that is none', vmWith('/srv/disks/x/one.raw', { format: 'qcow2' }), { '/srv/disks/x/one.raw': { ...FILE, start: Buffer.from('x') } },
      'DISK_FORMAT_WRONG: disk disk0 at /srv/disks/x/one.raw on host-a is no qcow2 image that can be read: it has only 1 bytes'],
    ['is a folder as a disk', vmWith('/srv/disks/x'), {}, 'DISK_NOT_VISIBLE: host-a does not see disk disk0 at /srv/disks/x'],
    ['is a folder as a boot file', vmWith('/srv/disks/x/one.raw', { initrd: '/boot/folder' }), { '/boot/folder': FOLDER }, 'BOOT_FILE_NOT_VISIBLE: host-a does not see the boot file /boot/folder'],
  ])('%s', async (_, vm, others, said) => {
    const { services } = hostWith(others);
    expect(await saidOf(services, vm)).toEqual([said]);
    expect(await refusalOf(refuseResources(services, startOf(vm), vm))).toBe(said);
    expect(await refusalOf(openable(services, vm))).toBe(said);
  });

  it('is named once of a kernel that is its own initrd, and each folder of others by itself', async () => {
    const vm = vmWith('/srv/disks/x/one.raw', { kernel: '/boot/both', initrd: '/boot/both' });
    expect((await saidOf(hostWith({ '/boot/both': FOLDER }).services, vm)).map((text) => text.split(':')[0])).toEqual(['BOOT_FILE_NOT_VISIBLE']);
    const open = { ...FOLDER, isOpenToOthers: true };
    const said = await saidOf(hostWith({ '/srv/disks': open, '/srv/disks/x': open }).services, vmWith('/srv/disks/x/one.raw'));
    expect(said.map((text) => /names in (\S+)/.exec(text)?.[1])).toEqual(['/srv/disks', '/srv/disks/x']);
  });

  it('is nothing where a file is gone between two looks at it: that has a code of its own', async () => {
    const { services } = hostWith();
    const { stat } = services.access;
    Object.assign(services.access, { stat: (path: string) => (path === '/srv/disks/x/one.raw' ? Promise.resolve(null) : stat(path)) });
    const vm = vmWith('/srv/disks/x/one.raw');
    expect(await saidOf(services, vm)).toEqual([]);
    expect(await refusalOf(openable(services, vm))).toBe('DISK_NOT_VISIBLE: host-a does not see disk disk0 at /srv/disks/x/one.raw');
  });

  it('is a folder that it cannot look at', async () => {
    const { services } = hostWith();
    const { stat } = services.access;
    Object.assign(services.access, { stat: (path: string) => (path === '/srv/disks/x' ? Promise.resolve(null) : stat(path)) });
    expect((await saidOf(services, vmWith('/srv/disks/x/one.raw')))[0]).toMatch(/^STORAGE_NOT_SAFE: .* in \/srv\/disks\/x on host-a/);
  });

  it('is all of an image that speaks against it', async () => {
    const start = qcow2Header({ backingOffset: 0x100n, backingBytes: 11, incompatible: 4n });
    const said = await saidOf(hostWith({ '/srv/disks/x/one.raw': { ...FILE, links: 2, start } }).services, vmWith('/srv/disks/x/one.raw', { format: 'qcow2' }));
    expect(said.map((text) => text.split(':')[0])).toEqual(['DISK_HAS_LINKS', 'DISK_HAS_BACKING_FILE', 'DISK_HAS_BACKING_FILE']);
    const unreadable = await saidOf(hostWith({ '/srv/disks/x/one.raw': { ...FILE, links: 2 } }).services, vmWith('/srv/disks/x/one.raw', { format: 'qcow2' }));
    expect(unreadable.map((text) => text.split(':')[0])).toEqual(['DISK_HAS_LINKS', 'DISK_FORMAT_WRONG']);
  });
});

describe('what a host gives', () => {
  it('is a block device below a root, however many names it has, as a disk and as nothing else', async () => {
    const roots = { disks: ['/dev/vg', '/srv/disks'], boot: ['/dev/vg', '/boot'] };
    const others = { '/dev/vg/web': { ...BLOCK, links: 2 } };
    expect(await saidOf(hostWith(others, roots).services, vmWith('/dev/vg/web'))).toEqual([]);
    const said = await saidOf(hostWith(others, roots).services, vmWith('/srv/disks/x/one.raw', { kernel: '/dev/vg/web' }));
    expect(said).toEqual(['BOOT_FILE_NOT_VISIBLE: host-a does not see the boot file /dev/vg/web']);
    const kept = hostWith(others, { ...roots, reserved: ['/dev/vg/web'] });
    expect((await saidOf(kept.services, vmWith('/dev/vg/web'))).map((text) => text.split(':')[0])).toEqual(['PATH_RESERVED']);
  });

  it('is read in its header alone, and only where it says that it has one', async () => {
    const plain = hostWith();
    expect(await saidOf(plain.services, vmWith('/srv/disks/x/one.raw'))).toEqual([]);
    const image = hostWith({ '/srv/disks/x/link': { to: '/srv/disks/x/two' }, '/srv/disks/x/two': { ...FILE, start: qcow2Header({}) } });
    expect(await saidOf(image.services, vmWith('/srv/disks/x/link', { format: 'qcow2' }))).toEqual([]);
    expect([plain.starts, image.starts]).toEqual([[], [['/srv/disks/x/two', QCOW2_HEADER_BYTES]]]);
  });

  it('is opened by where it leads, file by file; and not where one is gone', async () => {
    const { services } = hostWith({ '/srv/disks/x/link': { to: '/srv/disks/x/one.raw' }, '/boot/newest': { to: '/boot/kernel' } });
    const vm = vmWith('/srv/disks/x/link', { kernel: '/boot/newest' });
    expect(await openable(services, vm)).toEqual({ ...vm, disks: [{ id: 'disk0', path: '/srv/disks/x/one.raw', format: 'raw' }], boot: { ...vm.boot, kernel: '/boot/kernel' } });
    expect(await refusalOf(openable(services, vmWith('/srv/disks/x/none')))).toBe('DISK_NOT_VISIBLE: host-a does not see disk disk0 at /srv/disks/x/none');
    expect(await refusalOf(openable(services, vmWith('/srv/disks/x/link', { initrd: '/boot/none' })))).toBe('BOOT_FILE_NOT_VISIBLE: host-a does not see the boot file /boot/none');
  });

  it('is a disk and a boot file at once, where the roots of both are above it', async () => {
    const { services } = hostWith({ '/srv/disks/both': FILE }, { disks: ['/srv/disks'], boot: ['/srv/disks', '/boot'] });
    const vm = vmWith('/srv/disks/both', { kernel: '/srv/disks/both' });
    expect((await openable(services, vm)).boot.kernel).toBe('/srv/disks/both');
  });
});

describe('what an operator may not name', () => {
  const his = { disks: ['/srv/disks/x/*'], bootFiles: ['/boot/kernel'] };

  it('is said in full, and not looked at; what he may is', async () => {
    const vm = vmWith('/etc/shadow', { initrd: '/srv/disks/x/one.raw' });
    const { services, looked } = hostWith({ '/etc/shadow': FILE }, undefined, his);
    const says = (kind: string, name: string) => `RESOURCE_NOT_ALLOWED: the trust bundle of host-a does not let ada start VM x-1 with the ${kind} ${name}`;
    expect(await saidOf(services, vm)).toEqual([says('disk', '/etc/shadow'), says('boot file', '/srv/disks/x/one.raw')]);
    expect([looked.includes('/etc/shadow'), looked.includes('/srv/disks/x/one.raw'), looked.includes('/boot/kernel')]).toEqual([false, false, true]);
  });

  it('as a boot file he may still name as a disk', async () => {
    const vm = vmWith('/srv/disks/x/one.raw', { initrd: '/srv/disks/x/one.raw' });
    const { services, looked } = hostWith({}, { disks: ['/srv/disks'], boot: ['/boot', '/srv/disks'], reserved: [] }, his);
    expect((await saidOf(services, vm)).map((text) => text.split(' with ')[1])).toEqual(['the boot file /srv/disks/x/one.raw']);
    expect(looked.filter((path) => path === '/srv/disks/x/one.raw')).toHaveLength(1);
  });

  it('is his own, whoever else is in the bundle', async () => {
    const vm = vmWith('/srv/disks/x/one.raw');
    const { services } = hostWith();
    const word = { ...startOf(vm), by: 'grace' as never };
    expect((await resourceFailures(services, word, vm)).map(({ message }) => message)[0]).toBe('the trust bundle of host-a does not let grace start VM x-1 with the disk /srv/disks/x/one.raw');
  });

  it('depends on what he asks for, and from where', async () => {
    const vm = vmWith('/srv/disks/x/one.raw');
    const order = orderOf({ vmId: vm.vmId, vmDigest: digestOf(vm) });
    const { services } = hostWith({}, undefined, { actions: ['start'] });
    const said = (await resourceFailures(services, order, vm)).map(({ message }) => message);
    expect(said[0]).toBe('the trust bundle of host-a does not let ada migrate VM x-1 with the disk /srv/disks/x/one.raw');
    expect(await saidOf(services, vm)).toEqual([]);
    const elsewhere = hostWith({}, undefined, { destinations: ['host-b'], sources: ['host-a'] });
    expect(await resourceFailures(elsewhere.services, order, vm)).toEqual([]);
    expect((await saidOf(elsewhere.services, vm))[0]).toContain('start VM x-1 with the disk');
  });

  it('is not asked where his word is about another document', async () => {
    const vm = vmWith('/etc/shadow');
    const { services, looked } = hostWith({ '/etc/shadow': FILE }, undefined, his);
    expect(textsOf(await resourceFailures(services, startOf(vmWith('/srv/disks/x/one.raw')), vm))).toEqual(['VM_DIFFERS: the VM document that host-a has is not the one that was signed']);
    expect(looked).toEqual([]);
  });
});
