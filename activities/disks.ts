/** Whether two hosts see one disk. Each host says what it sees; nobody between them has a say. */
import { digestOf } from '../domain/canonical.js';
import { type Failure, KororaError, failure, refuse } from '../domain/failures.js';
import type { HostId, Sha256Hex } from '../domain/ids.js';
import type { Order } from '../domain/order.js';
import type { DiskFacts } from '../domain/preflight.js';
import type { VmDocument } from '../domain/vm.js';
import type { HostAccess } from '../host/port.js';

export function diskFacts(access: HostAccess, vm: VmDocument): Promise<readonly DiskFacts[]> {
  return Promise.all(
    vm.disks.map(async ({ id, path }) => {
      const facts = await access.stat(path);
      if (!facts || (facts.kind !== 'file' && facts.kind !== 'block-device')) return { id, identity: null };
      return { id, identity: { inode: facts.inode, birthTimeNs: facts.birthTimeNs, sizeBytes: facts.sizeBytes } };
    }),
  );
}

/** Of what this host sees of each disk, in the document's order. DISK_NOT_VISIBLE. */
export async function diskDigests(access: HostAccess, hostId: HostId, vm: VmDocument): Promise<readonly Sha256Hex[]> {
  const facts = await diskFacts(access, vm);
  return vm.disks.map(({ id, path }, i) => {
    const identity = facts[i]?.identity;
    if (!identity) throw refuse('DISK_NOT_VISIBLE', { host: hostId, disk: id, path });
    return digestOf(identity);
  });
}

/** DISK_NOT_VISIBLE, DISK_NOT_SAME, where this host does not see just the disks that the source of the move does. */
export async function assertSameDisks(access: HostAccess, { source, destination }: Order, vm: VmDocument, ofSource: readonly Sha256Hex[]): Promise<void> {
  const own = await diskDigests(access, destination, vm);
  const [first, ...rest] = vm.disks.flatMap(({ id, path }, i): Failure[] => (own[i] === ofSource[i] ? [] : [failure('DISK_NOT_SAME', { disk: id, path, source, destination })]));
  if (first) throw new KororaError([first, ...rest]);
}
