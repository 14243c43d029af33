/**
 * domain/preflight.ts (docs/theory-of-operation.md): a move that may begin has no reason against it; each reason
 * alone gives exactly its code and names the host and what is wrong; all at once are all told.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { failure } from '../../domain/failures.js';
import type { Order } from '../../domain/order.js';
import { type DestinationFacts, type SourceFacts, isAtLeast, planMove } from '../../domain/preflight.js';
import type { VmDocument } from '../../domain/vm.js';
import { DESTINATION, SOURCE, digest, orderOf, samples, vmDocument } from '../support/documents.js';

const MIB = 1024 * 1024;
const order = orderOf();
const vm = vmDocument();
const hypervisor = { kind: 'qemu', version: '7.2.22', accelerator: 'kvm', machineTypes: ['pc-q35-7.1', 'pc-q35-7.2'], cpuModels: ['qemu64', 'Westmere'] };
const disks = vm.disks.map(({ id }, i) => ({ id, identity: { inode: `10${i}`, birthTimeNs: `170000000000000000${i}`, sizeBytes: 1000 + i } }));
const common = { failures: [], hypervisor, swtpmVersion: '0.7.1', strangers: [], disks, networks: [{ id: 'lan', isVisible: true }] };
const source: SourceFacts = { ...common, hostId: SOURCE, ownership: { state: 'owner', epoch: 1 }, vmStatus: 'running', vmDigest: order.vmDigest };
const destination: DestinationFacts = { ...common, hostId: DESTINATION, availableMemoryBytes: (256 + 128) * MIB, missingBootFiles: [], leftovers: [] };

interface Case {
  readonly order?: Order;
  readonly vm?: VmDocument;
  readonly source?: Partial<SourceFacts>;
  readonly destination?: Partial<DestinationFacts>;
}

function told(changes: Case): string[] {
  const failures = planMove(changes.order ?? order, changes.vm ?? vm, { ...source, ...changes.source }, { ...destination, ...changes.destination });
  return failures.map((f) => `${f.code}: ${f.message}`);
}

const disksWith = (change: Partial<{ inode: string; birthTimeNs: string; sizeBytes: number }>) => disks.map((d) => (d.id === 'data' ? { ...d, identity: { ...d.identity, ...change } } : d));
const unseen = disks.map((d) => (d.id === 'data' ? { ...d, identity: null } : d));
const unbridged = [{ id: 'lan', isVisible: false }];
const DATA = samples.vm.disks[1]?.path;

describe('a move', () => {
  it('against which nothing speaks may begin', () => {
    expect(told({})).toEqual([]);
  });

  it('of a fake VM between fake hosts may begin: what QEMU must be is asked of QEMU only', () => {
    const fake = { hypervisor: { ...hypervisor, kind: 'fake', version: '1.0.0', accelerator: 'none' } };
    expect(told({ vm: vmDocument({ hypervisor: 'fake' }), source: fake, destination: fake })).toEqual([]);
  });

  it('of a VM without disks may begin', () => {
    expect(told({ vm: vmDocument({ disks: [] }), source: { disks: [] }, destination: { disks: [] } })).toEqual([]);
  });

  it('between hosts without KVM may begin where the size of its memory is one that QEMU keeps track of', () => {
    const safe = vmDocument({ memoryBytes: 256 * MIB - 8192 });
    const tcg = { hypervisor: { ...hypervisor, accelerator: 'tcg' } };
    expect(told({ vm: safe, source: tcg, destination: tcg })).toEqual([]);
  });

  it('to a host with a newer swtpm, more machine types and just enough memory may begin', () => {
    expect(told({ destination: { swtpmVersion: '0.10.0', hypervisor: { ...hypervisor, version: '10.0.2', machineTypes: [...hypervisor.machineTypes, 'pc-q35-10.0'] } } })).toEqual([]);
  });

  it.each<[string, Case, string[]]>([
    ['of a VM that the source does not know', { source: { vmDigest: null } }, ['VM_UNKNOWN: VM web-1 is not known on any host that answers']],
    ['of a VM that is another one than ordered', { source: { vmDigest: digest(9) } }, ['VM_DIFFERS: the VM document that host-a has is not the one that was signed']],
    ['to where the VM is', { order: orderOf({ destination: SOURCE }) }, ['SOURCE_IS_DESTINATION: VM web-1 already runs on host-a']],
    ['of a paused VM', { source: { vmStatus: 'paused' } }, ['VM_PAUSED: VM web-1 is paused on host-a']],
    ['of a VM that does not run', { source: { vmStatus: 'absent' } }, ['VM_NOT_RUNNING: VM web-1 does not run on host-a: its hypervisor says absent']],
    ['of a VM that is owned elsewhere', { source: { ownership: { state: 'retired', epoch: 1 } } }, ['VM_NOT_OWNED: host-a does not own VM web-1: its ownership record says retired']],
    ['of a VM that is being moved', { source: { ownership: { state: 'offering', epoch: 1 } } }, ['VM_NOT_OWNED: host-a does not own VM web-1: its ownership record says offering']],
    ['of a VM without vTPM', { vm: vmDocument({ vtpm: null }) }, ['VM_WITHOUT_VTPM: VM web-1 has no vTPM']],
    ['whose source does not see a disk', { source: { disks: unseen } }, [`DISK_NOT_VISIBLE: host-a does not see disk data at ${DATA}`]],
    ['whose destination does not see a disk', { destination: { disks: unseen } }, [`DISK_NOT_VISIBLE: host-b does not see disk data at ${DATA}`]],
    ['whose destination says nothing of a disk', { destination: { disks: disks.slice(0, 1) } }, [`DISK_NOT_VISIBLE: host-b does not see disk data at ${DATA}`]],
    ['of which neither side sees a disk', { source: { disks: unseen }, destination: { disks: unseen } }, ['host-a', 'host-b'].map((host) => `DISK_NOT_VISIBLE: ${host} does not see disk data at ${DATA}`)],
    ['whose source has no bridge of a network', { source: { networks: unbridged } }, ['NETWORK_NOT_VISIBLE: host-a has no bridge br0 for network lan']],
    ['whose destination has no bridge of a network', { destination: { networks: unbridged } }, ['NETWORK_NOT_VISIBLE: host-b has no bridge br0 for network lan']],
    ['whose hosts say nothing of a network', { source: { networks: [] }, destination: { networks: [] } }, ['host-a', 'host-b'].map((host) => `NETWORK_NOT_VISIBLE: ${host} has no bridge br0 for network lan`)],
    ['whose disk is another file there, by its inode', { destination: { disks: disksWith({ inode: '999' }) } }, [`DISK_NOT_SAME: disk data at ${DATA} is another file on host-b than on host-a`]],
    ['whose disk is another file there, by its time of birth', { destination: { disks: disksWith({ birthTimeNs: '999' }) } }, [`DISK_NOT_SAME: disk data at ${DATA} is another file on host-b than on host-a`]],
    ['whose disk is another file there, by its size', { destination: { disks: disksWith({ sizeBytes: 999 }) } }, [`DISK_NOT_SAME: disk data at ${DATA} is another file on host-b than on host-a`]],
    ['to a host with one byte too little memory', { destination: { availableMemoryBytes: 384 * MIB - 1 } }, [`MEMORY_INSUFFICIENT: host-b has ${384 * MIB - 1} bytes of memory free, VM web-1 needs ${384 * MIB}`]],
    ['to a host without the machine type', { destination: { hypervisor: { ...hypervisor, machineTypes: ['pc-q35-7.1'] } } }, ['MACHINE_TYPE_UNSUPPORTED: host-b does not offer machine type pc-q35-7.2']],
    ['to a host without the CPU model', { destination: { hypervisor: { ...hypervisor, cpuModels: ['qemu64'] } } }, ['CPU_MODEL_UNSUPPORTED: host-b does not offer CPU model Westmere']],
    ['to a host with another accelerator', { destination: { hypervisor: { ...hypervisor, version: '10.0.2', accelerator: 'tcg' } } }, ['ACCELERATOR_DIFFERS: host-a runs VMs with kvm, host-b with tcg']],
    ['to a host whose QEMU is too old', { destination: { hypervisor: { ...hypervisor, version: '7.1.9' } } }, ['QEMU_UNSUPPORTED: host-b has QEMU 7.1.9, at least 7.2 is needed']],
    ['between hosts without KVM, one of whose QEMUs loses pages of a memory of this size', { source: { hypervisor: { ...hypervisor, version: '9.2.1', accelerator: 'tcg' } }, destination: { hypervisor: { ...hypervisor, version: '10.0.2', accelerator: 'tcg' } } }, ['QEMU_LOSES_MEMORY: without KVM, QEMU 9.2.1 on host-a loses changed pages of VM web-1: its 268435456 bytes are a multiple of 256 KiB']],
    ['from a host whose QEMU is too old', { source: { hypervisor: { ...hypervisor, version: '6.2.0' } } }, ['QEMU_UNSUPPORTED: host-a has QEMU 6.2.0, at least 7.2 is needed']],
    ['to a host without QEMU', { destination: { hypervisor: null } }, ['HYPERVISOR_UNSUPPORTED: host-b has no driver for hypervisor qemu']],
    ['to a host of another hypervisor', { destination: { hypervisor: { ...hypervisor, kind: 'fake' } } }, ['HYPERVISOR_UNSUPPORTED: host-b has no driver for hypervisor qemu']],
    ['of a fake VM to a host with QEMU', { vm: vmDocument({ hypervisor: 'fake' }), source: { hypervisor: { ...hypervisor, kind: 'fake' } } }, ['HYPERVISOR_UNSUPPORTED: host-b has no driver for hypervisor fake']],
    ['to a host without swtpm', { destination: { swtpmVersion: null } }, ['SWTPM_UNSUPPORTED: host-b has swtpm none, at least 0.7 is needed']],
    ['from a host without swtpm', { source: { swtpmVersion: null } }, ['SWTPM_UNSUPPORTED: host-a has swtpm none, at least 0.7 is needed']],
    ['between hosts whose swtpm is too old', { source: { swtpmVersion: '0.6.3' }, destination: { swtpmVersion: '0.6.3' } }, ['host-a', 'host-b'].map((host) => `SWTPM_UNSUPPORTED: ${host} has swtpm 0.6.3, at least 0.7 is needed`)],
    ['to a host whose swtpm is older than the source\'s', { source: { swtpmVersion: '0.8.0' } }, ['SWTPM_OLDER: host-b has swtpm 0.7.1, older than 0.8.0 on host-a']],
    ['to a host with leftovers', { destination: { leftovers: ['/run/korora/web-1', '/var/lib/korora/vms/web-1/vtpm'] } }, [
      'LEFTOVER_FOUND: host-b has a leftover of an earlier attempt for VM web-1, which no record of host-b owns: /run/korora/web-1',
      'LEFTOVER_FOUND: host-b has a leftover of an earlier attempt for VM web-1, which no record of host-b owns: /var/lib/korora/vms/web-1/vtpm',
    ]],
    ['to a host without a boot file', { destination: { missingBootFiles: [vm.boot.kernel] } }, ['BOOT_FILE_NOT_VISIBLE: host-b does not see the boot file /srv/boot/vmlinuz']],
    ['that the source itself refuses', { source: { failures: [failure('BUNDLE_EXPIRED', { host: SOURCE, expiresAt: 'then' })] } }, ['BUNDLE_EXPIRED: the trust bundle of host-a expired at then']],
    ['that the destination itself refuses', { destination: { failures: [failure('TPM_UNREACHABLE', { host: DESTINATION, problem: 'gone' })] } }, ['TPM_UNREACHABLE: the TPM of host-b does not answer: gone']],
  ])('%s is refused for that alone', (_, changes, expected) => {
    expect(told(changes)).toEqual(expected);
  });

  it('against which everything speaks is refused for all of it', () => {
    const all = told({
      order: orderOf({ destination: SOURCE }),
      vm: vmDocument({ vtpm: null }),
      source: {
        failures: [failure('BUNDLE_EXPIRED', { host: SOURCE, expiresAt: 'then' })],
        vmDigest: digest(9), vmStatus: 'paused', hypervisor: { ...hypervisor, version: '6.2.0', machineTypes: [], cpuModels: [] }, swtpmVersion: '0.6.3', disks: unseen, networks: unbridged,
      },
      destination: {
        failures: [failure('ORDER_EXPIRED', { notAfter: 'then', host: 'host-a', now: 'now' })],
        hypervisor: { ...hypervisor, version: '6.1.0', accelerator: 'tcg', machineTypes: [], cpuModels: [] }, swtpmVersion: '0.6.2', networks: unbridged, availableMemoryBytes: 0,
        missingBootFiles: [vm.boot.kernel, vm.boot.initrd], leftovers: ['a folder'], disks: disksWith({}).map((d) => (d.id === 'root' ? { ...d, identity: { ...d.identity, inode: '999' } } : d)),
      },
    });
    expect(all.map((text) => text.split(':')[0])).toEqual([
      'BUNDLE_EXPIRED', 'ORDER_EXPIRED', 'SOURCE_IS_DESTINATION', 'VM_DIFFERS', 'VM_PAUSED', 'VM_WITHOUT_VTPM',
      'QEMU_UNSUPPORTED', 'MACHINE_TYPE_UNSUPPORTED', 'CPU_MODEL_UNSUPPORTED', 'SWTPM_UNSUPPORTED',
      'QEMU_UNSUPPORTED', 'MACHINE_TYPE_UNSUPPORTED', 'CPU_MODEL_UNSUPPORTED', 'SWTPM_UNSUPPORTED',
      'MEMORY_INSUFFICIENT', 'BOOT_FILE_NOT_VISIBLE', 'BOOT_FILE_NOT_VISIBLE', 'LEFTOVER_FOUND',
      'DISK_NOT_SAME', 'DISK_NOT_VISIBLE', 'NETWORK_NOT_VISIBLE', 'NETWORK_NOT_VISIBLE', 'ACCELERATOR_DIFFERS', 'SWTPM_OLDER',
    ]);
  });
});

describe('isAtLeast', () => {
  const parts = fc.array(fc.nat({ max: 30 }), { minLength: 1, maxLength: 4 });
  const compare = (a: readonly number[], b: readonly number[]): number => {
    const at = [0, 1, 2, 3].find((i) => (a[i] ?? 0) !== (b[i] ?? 0));
    return at === undefined ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
  };

  it('orders versions as their numbers are ordered, a missing number as 0', () => {
    fc.assert(fc.property(parts, parts, (a, b) => {
      expect(isAtLeast(a.join('.'), b.join('.'))).toBe(compare(a, b) >= 0);
    }));
  });

  it.each([
    ['7.2.22', '7.2', true], ['7.2', '7.2', true], ['7.10', '7.2', true], ['10.0', '7.2', true], ['7.2.0 (Debian 1:7.2+dfsg-7)', '7.2', true],
    ['7.1.99', '7.2', false], ['6.9', '7.2', false], ['7', '7.2', false], ['', '7.2', false], ['none', '0.7', false],
  ])('"%s" at least "%s" is %s', (version, minimum, expected) => {
    expect(isAtLeast(version, minimum)).toBe(expected);
  });
});
