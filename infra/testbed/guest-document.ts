/** VM documents of a testbed: the project's guest, with a disk on the storage that both hosts share. */
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KIB, MIB, VmDocument } from '../../domain/vm.js';
import type { HostConfig } from '../../workers/config.js';
import type { TestbedOptions } from './testbed.js';

export interface GuestOptions {
  /** 256; of a fake VM 4. */
  readonly memoryMib?: number;
  readonly dirtyMibPerSecond?: number;
  readonly dirtySetMib?: number;
  readonly tickMs?: number;
  readonly unsealEveryS?: number;
  readonly hasVtpm?: boolean;
  readonly hasDisk?: boolean;
  readonly cpuModel?: string;
  /** `address` is A.B.C.D/BITS; the guest gives back on TCP port 7 what it gets. */
  readonly network?: { readonly mac: string; readonly bridge: string; readonly address: string };
  /** The guest flushes its record to the disk before it says the number. */
  readonly isFlushing?: boolean;
}

type Place = Pick<TestbedOptions, 'root' | 'guestDir' | 'hypervisor'>;

/** The disk is made; both hosts see it. */
export async function guestDocument(options: Place, vmId: string, guest: GuestOptions = {}): Promise<VmDocument> {
  const { dirtyMibPerSecond = 0, dirtySetMib, hasVtpm = true, hasDisk = true, cpuModel = 'max', tickMs, unsealEveryS, network, isFlushing } = guest;
  const { hypervisor = 'qemu', root } = options;
  const { memoryBytes, boot } = await MACHINES[hypervisor](options, guest);
  const words = { dirty_mib_per_s: dirtyMibPerSecond, dirty_set_mib: dirtySetMib, tick_ms: tickMs, unseal_every_s: unsealEveryS, flush: isFlushing ? 1 : undefined, address: network?.address };
  const settings = Object.entries(words).flatMap(([name, value]) => (value === undefined ? [] : [`korora.${name}=${value}`]));
  const disk = join(root, 'shared', `${vmId}.raw`);
  const file = await open(disk, 'w');
  await file.truncate(MIB);
  await file.close();
  return VmDocument.parse({
    kind: 'korora/vm',
    version: 1,
    vmId,
    hypervisor,
    machine: 'pc-q35-7.2',
    cpu: { model: cpuModel, count: 1 },
    memoryBytes,
    boot: { ...boot, commandLine: [boot.commandLine, ...settings].join(' ') },
    disks: hasDisk ? [{ id: 'disk0', path: disk, format: 'raw' }] : [],
    networks: network ? [{ id: 'net0', mac: network.mac, bridge: network.bridge }] : [],
    vtpm: hasVtpm ? { model: 'tpm-crb' } : null,
  });
}

/** What a guest boots, and the memory that it has. */
const MACHINES: { readonly [K in HostConfig['hypervisor']]: (options: Place, guest: GuestOptions) => Promise<Pick<VmDocument, 'memoryBytes' | 'boot'>> } = {
  async qemu({ guestDir }, { memoryMib = 256 }) {
    const commandLine = (await readFile(join(guestDir, 'cmdline'), 'utf8')).trim();
    // A size that QEMU 7.2 keeps track of without KVM (QEMU_LOSES_MEMORY).
    return { memoryBytes: memoryMib * MIB - 8 * KIB, boot: { kernel: join(guestDir, 'vmlinuz'), initrd: join(guestDir, 'initramfs.cpio'), commandLine } };
  },
  async fake({ root }, { memoryMib = 4 }) {
    const file = join(root, 'shared', 'fake-boot');
    await writeFile(file, 'A fake VM boots from nothing, but its boot files must be there.\n');
    return { memoryBytes: 64 * MIB - 8 * KIB, boot: { kernel: file, initrd: file, commandLine: `korora.memory_mib=${memoryMib}` } };
  },
};
