/**
 * A virtual machine as a document: all that a host needs to run it. Typed and validated here,
 * turned into a hypervisor's own terms by a driver. Both hosts must see the same paths and bridges.
 */
import { z } from 'zod';
import { AbsolutePath, VmId } from './ids.js';

export const KIB = 1024;
export const MIB = 1024 * KIB;

const Id = z.string().regex(/^[a-z][a-z0-9-]{0,30}$/, 'a letter, then lower-case letters, digits or hyphens');

export const Disk = z.strictObject({
  id: Id,
  /** On storage that both hosts see at this path. */
  path: AbsolutePath,
  format: z.enum(['raw', 'qcow2']),
});
export type Disk = Readonly<z.infer<typeof Disk>>;

/** Names the host's interface too, so: what Linux takes, and no option of a command. */
export const BridgeName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/, 'the name of a Linux bridge, at most 15 characters');

const MacAddress = z
  .string()
  .regex(/^[0-9a-f][02468ace](?::[0-9a-f]{2}){5}$/, 'a unicast MAC address in lower case such as 52:54:00:12:34:56')
  .refine((mac) => mac !== '00:00:00:00:00:00', 'not the MAC address of nobody');

export const Network = z.strictObject({
  id: Id,
  mac: MacAddress,
  /** On every host under this name, and there the same network. */
  bridge: BridgeName,
});
export type Network = Readonly<z.infer<typeof Network>>;

const areUnique = (values: readonly string[]) => new Set(values).size === values.length;

export const VmDocument = z.strictObject({
  kind: z.literal('korora/vm'),
  version: z.literal(1),
  vmId: VmId,
  hypervisor: z.enum(['qemu', 'fake']),
  /** Versioned machine type: an alias such as `q35` means another machine on another QEMU. */
  machine: z.string().regex(/^(?:pc-q35|pc-i440fx)-\d+\.\d+$/, 'a versioned machine type such as pc-q35-7.2'),
  cpu: z.strictObject({
    model: z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/, 'a CPU model name'),
    count: z.int().min(1).max(64),
  }),
  /** Bytes of guest memory; QEMU takes multiples of 8 KiB. Without KVM not every size is safe: QEMU_LOSES_MEMORY. */
  memoryBytes: z.int().min(64 * MIB - 8 * KIB).max(1024 * 1024 * MIB).multipleOf(8 * KIB),
  boot: z.strictObject({ kernel: AbsolutePath, initrd: AbsolutePath, commandLine: z.string().max(2048).regex(/^\P{Cc}*$/u, 'no control characters') }),
  disks: z.array(Disk).max(16).refine(
    (disks) => areUnique(disks.map((d) => d.id)) && areUnique(disks.map((d) => d.path)),
    'disk ids and paths must be unique',
  ),
  networks: z.array(Network).max(8).refine(
    (networks) => areUnique(networks.map((n) => n.id)) && areUnique(networks.map((n) => n.mac)),
    'network ids and MAC addresses must be unique',
  ).default([]),
  /** Null: no vTPM; such a VM runs but cannot be moved securely. */
  vtpm: z.strictObject({ model: z.literal('tpm-crb') }).nullable(),
});
export type VmDocument = Readonly<z.infer<typeof VmDocument>>;
