/**
 * What a VM opens on this host: whether whoever signed for it may have that, and whether this host gives that to VMs. Asked before a VM
 * starts, before a move of it begins, and by the destination before it opens anything.
 *
 * What is checked is what is opened: QEMU gets the resolved path (`openable`), and nobody but root and the worker's user can change a name
 * in the folders that it leads through. How many files there are, and what they contain, is not a matter of this file, but for the header of a qcow2
 * image, which could name further files.
 */
import { digestOf } from '../domain/canonical.js';
import { type Failure, KororaError, failure } from '../domain/failures.js';
import { type Wish, resourcesNotAllowed } from '../domain/operators.js';
import type { Order, StartOrder } from '../domain/order.js';
import { QCOW2_HEADER_BYTES, readQcow2Header } from '../domain/qcow2.js';
import { foldersTo, isWithin, reservedPlace } from '../domain/resources.js';
import type { Disk, VmDocument } from '../domain/vm.js';
import type { FileFacts } from '../host/port.js';
import type { HostServices } from './services.js';

type Services = Pick<HostServices, 'hostId' | 'access' | 'storage' | 'installedBundle'>;

/** A file that a VM names. */
interface NamedFile {
  readonly path: string;
  /** Null for a boot file. */
  readonly disk: Disk | null;
}

/**
 * All reasons at once: RESOURCE_NOT_ALLOWED, by the scopes of whoever signed `word`; and of what they allow PATH_OUTSIDE_ROOTS, PATH_RESERVED,
 * STORAGE_NOT_SAFE, DISK_*. A file that is not there is none of them. VM_DIFFERS alone, where `word` is not about this document.
 */
export async function resourceFailures(services: Services, word: Order | StartOrder, vm: VmDocument): Promise<Failure[]> {
  const { hostId, installedBundle } = services;
  if (word.vmDigest !== digestOf(vm)) return [failure('VM_DIFFERS', { host: hostId })];
  const { bundle } = await installedBundle();
  const wish = wishOf(word);
  const lacking = resourcesNotAllowed(bundle.operators.find(({ name }) => name === word.by), wish, vm);
  const isLacking = ({ path, disk }: NamedFile) => lacking.some(({ kind, name }) => name === path && kind === (disk ? 'disk' : 'boot file'));
  // Whoever may not name a file is not told whether it is there.
  const looked = await Promise.all(filesOf(vm).filter((file) => !isLacking(file)).map((file) => look(services, file)));
  return [
    ...lacking.map(({ kind, name }) => failure('RESOURCE_NOT_ALLOWED', { host: hostId, operator: word.by, action: wish.action, vm: vm.vmId, kind, name })),
    ...looked.flatMap(({ failures }) => failures),
  ];
}

/** As resourceFailures, thrown. */
export async function refuseResources(services: Services, word: Order | StartOrder, vm: VmDocument): Promise<void> {
  const [first, ...rest] = await resourceFailures(services, word, vm);
  if (first) throw new KororaError([first, ...rest]);
}

/** The VM with the paths that its own lead to now, for whoever opens them. As resourceFailures but for the scopes; DISK_NOT_VISIBLE, BOOT_FILE_NOT_VISIBLE. */
export async function openable(services: Services, vm: VmDocument): Promise<VmDocument> {
  const { hostId: host } = services;
  const files = filesOf(vm);
  const looked = await Promise.all(files.map((file) => look(services, file)));
  const [first, ...rest] = looked.flatMap(({ failures }) => failures);
  if (first) throw new KororaError([first, ...rest]);
  const leadsTo = (path: string, disk: Disk | null) => {
    const found = looked[files.findIndex((file) => file.path === path && file.disk === disk)]?.leadsTo;
    if (found) return found;
    throw new KororaError([notVisible(host, { path, disk })]);
  };
  const { kernel, initrd } = vm.boot;
  return {
    ...vm,
    boot: { ...vm.boot, kernel: leadsTo(kernel, null), initrd: leadsTo(initrd, null) },
    disks: vm.disks.map((disk) => ({ ...disk, path: leadsTo(disk.path, disk) })),
  };
}

interface Look {
  /** Null where this host sees no such file. */
  readonly leadsTo: string | null;
  readonly failures: readonly Failure[];
}

async function look({ hostId: host, access, storage }: Services, file: NamedFile): Promise<Look> {
  const { path, disk } = file;
  const resolved = await access.resolve(path);
  const facts = resolved === null ? null : await access.stat(resolved);
  if (resolved === null || facts === null) return { leadsTo: null, failures: [] };
  const of = (...failures: readonly Failure[]): Look => ({ leadsTo: resolved, failures });

  const place = reservedPlace(resolved, facts.kind === 'block-device', await allResolved(storage.reserved));
  if (place !== null) return of(failure('PATH_RESERVED', { host, path, resolved, place }));
  const root = (await allResolved(disk ? storage.disks : storage.boot)).find((folder) => isWithin(resolved, folder));
  if (root === undefined) return of(failure('PATH_OUTSIDE_ROOTS', { host, path, resolved, kind: disk ? 'disk' : 'boot file' }));
  const folders = foldersTo(resolved, root);
  const facing = await Promise.all(folders.map((folder) => access.stat(folder)));
  const unsafe = folders.filter((_, i) => facing[i]?.isOpenToOthers !== false);
  if (unsafe.length > 0) return of(...unsafe.map((folder) => failure('STORAGE_NOT_SAFE', { host, folder, path })));
  if (facts.kind !== 'file' && (facts.kind !== 'block-device' || !disk)) return of(notVisible(host, file));
  return of(...(disk ? await imageFailures(disk, resolved, facts) : []));

  async function allResolved(places: readonly string[]): Promise<readonly string[]> {
    return (await Promise.all(places.map((named) => access.resolve(named)))).filter((found) => found !== null);
  }

  async function imageFailures({ id, format }: Disk, image: string, { kind, links }: FileFacts): Promise<Failure[]> {
    const linked = kind === 'file' && links !== 1 ? [failure('DISK_HAS_LINKS', { host, disk: id, path, links })] : [];
    if (format !== 'qcow2') return linked;
    const header = readQcow2Header(await access.readStart(image, QCOW2_HEADER_BYTES));
    if (!header.isReadable) return [...linked, failure('DISK_FORMAT_WRONG', { host, disk: id, path, problem: header.problem })];
    return [...linked, ...header.others.map((what) => failure('DISK_HAS_BACKING_FILE', { host, disk: id, path, what }))];
  }
}

function filesOf({ disks, boot }: VmDocument): readonly NamedFile[] {
  return [...disks.map((disk) => ({ path: disk.path, disk })), ...[...new Set([boot.kernel, boot.initrd])].map((path) => ({ path, disk: null }))];
}

function notVisible(host: string, { path, disk }: NamedFile): Failure {
  return disk ? failure('DISK_NOT_VISIBLE', { host, disk: disk.id, path }) : failure('BOOT_FILE_NOT_VISIBLE', { host, path });
}

function wishOf(word: Order | StartOrder): Wish {
  if (word.kind === 'korora/start') return { action: 'start', vmId: word.vmId, source: null, destination: word.host };
  return { action: 'migrate', vmId: word.vmId, source: word.source, destination: word.destination };
}
