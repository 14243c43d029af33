/**
 * What each host says of itself before a move, and the pure comparison of the two: every reason
 * why this VM cannot go there, at once, before anything changes.
 */
import { type Failure, failure } from './failures.js';
import type { Order } from './order.js';
import type { OwnershipState } from './ownership.js';
import type { VmDocument } from './vm.js';

const MINIMUM_QEMU = '7.2';
/**
 * Under TCG, QEMU before it loses changed pages of a memory whose pages fill whole words of its dirty bitmap
 * (docs/decisions/0008-dirty-pages-under-tcg.md).
 */
const LOSSLESS_TCG = { version: '10.0', wordBytes: 64 * 4096 };
export const MINIMUM_SWTPM = '0.7';
/** What QEMU and swtpm need beside the guest's memory. */
const OVERHEAD_BYTES = 128 * 1024 * 1024;

export interface HypervisorSummary {
  readonly kind: string;
  readonly version: string;
  readonly accelerator: string;
  readonly machineTypes: readonly string[];
  readonly cpuModels: readonly string[];
}

export interface DiskFacts {
  readonly id: string;
  /** Null where there is no such file. */
  readonly identity: { readonly inode: string; readonly birthTimeNs: string; readonly sizeBytes: number } | null;
}

export interface NetworkFacts {
  readonly id: string;
  /** Whether the host has the bridge. That it leads to the same network as elsewhere cannot be seen. */
  readonly isVisible: boolean;
}

interface HostFacts {
  readonly hostId: string;
  /** What the host itself refuses: order, bundle, TPM, what its record says. */
  readonly failures: readonly Failure[];
  readonly hypervisor: HypervisorSummary | null;
  /** Null where swtpm is not installed. */
  readonly swtpmVersion: string | null;
  /** Processes here that look like this VM and that no worker started, in words. */
  readonly strangers: readonly string[];
  readonly disks: readonly DiskFacts[];
  readonly networks: readonly NetworkFacts[];
}

export interface SourceFacts extends HostFacts {
  readonly ownership: { readonly state: OwnershipState; readonly epoch: number };
  readonly vmStatus: string;
  /** Digest of the installed VM document; null where the VM is not known. */
  readonly vmDigest: string | null;
}

export interface DestinationFacts extends HostFacts {
  readonly availableMemoryBytes: number;
  readonly missingBootFiles: readonly string[];
  /** What stands here of earlier attempts and belongs to no record, in words. */
  readonly leftovers: readonly string[];
}

/** Empty where the move may begin. */
export function planMove(order: Order, vm: VmDocument, source: SourceFacts, destination: DestinationFacts): Failure[] {
  return [
    ...source.failures,
    ...destination.failures,
    ...(order.source === order.destination ? [failure('SOURCE_IS_DESTINATION', { vm: vm.vmId, host: order.source })] : []),
    ...[source, destination].flatMap(({ hostId, strangers }) => strangers.map((what) => failure('STRANGER_FOUND', { host: hostId, vm: vm.vmId, what }))),
    ...sourceRules(order, vm, source),
    ...destinationRules(vm, destination),
    ...pairRules(vm, source, destination),
  ];
}

/** "7.2.22" ≥ "7.2": numeric, part by part; what is not a number only separates. */
export function isAtLeast(version: string, minimum: string): boolean {
  const [a, b] = [version, minimum].map((v) => v.split(/[^0-9]+/).filter(Boolean).map(Number)) as [number[], number[]];
  for (let i = 0; i < b.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

function sourceRules(order: Order, vm: VmDocument, source: SourceFacts): Failure[] {
  const host = source.hostId;
  if (source.vmDigest === null) return [failure('VM_UNKNOWN', { vm: vm.vmId }), ...softwareRules(vm, source)];
  const failures: Failure[] = [];
  if (source.vmDigest !== order.vmDigest) failures.push(failure('VM_DIFFERS', { host }));
  if (source.ownership.state !== 'owner') failures.push(failure('VM_NOT_OWNED', { host, vm: vm.vmId, state: source.ownership.state }));
  else if (source.ownership.epoch !== order.epoch) failures.push(failure('ORDER_STALE', { vm: vm.vmId, ordered: order.epoch, host, actual: source.ownership.epoch }));
  else if (source.vmStatus === 'paused') failures.push(failure('VM_PAUSED', { host, vm: vm.vmId }));
  else if (source.vmStatus !== 'running') failures.push(failure('VM_NOT_RUNNING', { host, vm: vm.vmId, status: source.vmStatus }));
  if (vm.vtpm === null) failures.push(failure('VM_WITHOUT_VTPM', { vm: vm.vmId }));
  return [...failures, ...softwareRules(vm, source)];
}

function destinationRules(vm: VmDocument, destination: DestinationFacts): Failure[] {
  const host = destination.hostId;
  const failures = softwareRules(vm, destination);
  const needed = vm.memoryBytes + OVERHEAD_BYTES;
  if (destination.availableMemoryBytes < needed) {
    failures.push(failure('MEMORY_INSUFFICIENT', { host, vm: vm.vmId, available: destination.availableMemoryBytes, needed }));
  }
  for (const path of destination.missingBootFiles) failures.push(failure('BOOT_FILE_NOT_VISIBLE', { host, path }));
  for (const what of destination.leftovers) failures.push(failure('LEFTOVER_FOUND', { host, vm: vm.vmId, what }));
  return failures;
}

function softwareRules(vm: VmDocument, { hostId: host, hypervisor, swtpmVersion }: HostFacts): Failure[] {
  const failures = hypervisorRules(vm, host, hypervisor);
  if (swtpmVersion === null || !isAtLeast(swtpmVersion, MINIMUM_SWTPM)) {
    failures.push(failure('SWTPM_UNSUPPORTED', { host, version: swtpmVersion ?? 'none', minimum: MINIMUM_SWTPM }));
  }
  return failures;
}

/** Why this VM cannot run under the hypervisor of this host; for a start as for a move. */
export function hypervisorRules(vm: VmDocument, host: string, hypervisor: HypervisorSummary | null): Failure[] {
  if (hypervisor === null || hypervisor.kind !== vm.hypervisor) return [failure('HYPERVISOR_UNSUPPORTED', { host, hypervisor: vm.hypervisor })];
  const { machineTypes, cpuModels } = hypervisor;
  const failures = OWN_RULES[vm.hypervisor](vm, host, hypervisor);
  if (!machineTypes.includes(vm.machine)) failures.push(failure('MACHINE_TYPE_UNSUPPORTED', { host, machine: vm.machine }));
  if (!cpuModels.includes(vm.cpu.model)) failures.push(failure('CPU_MODEL_UNSUPPORTED', { host, model: vm.cpu.model }));
  return failures;
}

/** What speaks against a hypervisor of this kind alone. */
const OWN_RULES: { readonly [K in VmDocument['hypervisor']]: (vm: VmDocument, host: string, hypervisor: HypervisorSummary) => Failure[] } = {
  qemu(vm, host, { version, accelerator }) {
    if (!isAtLeast(version, MINIMUM_QEMU)) return [failure('QEMU_UNSUPPORTED', { host, version, minimum: MINIMUM_QEMU })];
    if (accelerator === 'kvm' || isAtLeast(version, LOSSLESS_TCG.version) || vm.memoryBytes % LOSSLESS_TCG.wordBytes !== 0) return [];
    return [failure('QEMU_LOSES_MEMORY', { host, version, vm: vm.vmId, memory: vm.memoryBytes })];
  },
  fake: () => [],
};

function pairRules(vm: VmDocument, source: SourceFacts, destination: DestinationFacts): Failure[] {
  const failures = [
    ...vm.disks.flatMap((disk) => diskRules(disk, source, destination)),
    ...[source, destination].flatMap(({ hostId, networks }) => networkRules(vm, hostId, networks)),
  ];
  const [from, to] = [source.hypervisor?.accelerator, destination.hypervisor?.accelerator];
  if (from && to && from !== to) {
    failures.push(
      failure('ACCELERATOR_DIFFERS', { source: source.hostId, sourceAccelerator: from, destination: destination.hostId, destinationAccelerator: to }),
    );
  }
  if (source.swtpmVersion && destination.swtpmVersion && !isAtLeast(destination.swtpmVersion, source.swtpmVersion)) {
    failures.push(
      failure('SWTPM_OLDER', {
        source: source.hostId,
        sourceVersion: source.swtpmVersion,
        destination: destination.hostId,
        destinationVersion: destination.swtpmVersion,
      }),
    );
  }
  return failures;
}

/** A network that a host says nothing of counts as one it does not have; for a start as for a move. */
export function networkRules(vm: VmDocument, host: string, facts: readonly NetworkFacts[]): Failure[] {
  const unseen = vm.networks.filter(({ id }) => facts.find((f) => f.id === id)?.isVisible !== true);
  return unseen.map(({ id, bridge }) => failure('NETWORK_NOT_VISIBLE', { host, network: id, bridge }));
}

/** Same inode number, time of birth and size: a copy of a disk has another inode or another birth. */
function diskRules(disk: VmDocument['disks'][number], source: SourceFacts, destination: DestinationFacts): Failure[] {
  const identityAt = (facts: HostFacts) => facts.disks.find((d) => d.id === disk.id)?.identity ?? null;
  const [from, to] = [identityAt(source), identityAt(destination)];
  const unseen = [source, destination].filter((facts) => identityAt(facts) === null);
  if (!from || !to) return unseen.map(({ hostId }) => failure('DISK_NOT_VISIBLE', { host: hostId, disk: disk.id, path: disk.path }));
  if (from.inode === to.inode && from.birthTimeNs === to.birthTimeNs && from.sizeBytes === to.sizeBytes) return [];
  return [failure('DISK_NOT_SAME', { disk: disk.id, path: disk.path, source: source.hostId, destination: destination.hostId })];
}
