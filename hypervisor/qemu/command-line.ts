/**
 * VM document + place → QEMU's arguments (QEMU 7.2, qemu-options.hx). Pure. Source and destination
 * get the same guest-visible machine because both come from this one function; only where its files
 * live, whether it waits for an image, how its disks are cached and which tap devices it has (which no guest sees) may differ.
 *
 * Disks. virtio-blk with its write cache on: a guest's FLUSH reaches the storage (`cache.no-flush=off`),
 * so what a guest was told is durable is durable. `cache.direct=on` (O_DIRECT) where the file takes it, so
 * that nothing of a disk stays in a host's page cache; where it does not (tmpfs), QEMU itself drops its
 * cached pages when the destination takes the disk over. `locking=on`: QEMU refuses a disk that another
 * process writes, on file systems that have OFD locks. A net under the ownership record, not the record.
 *
 * The format is always the document's: QEMU guesses none, and opens no file that the document does not name.
 *
 * Sandbox. The filter is in force before -daemonize forks and calls setsid, so `spawn=deny` kills QEMU at
 * once and `elevateprivileges=deny` makes the start fail; the other two groups are denied.
 */
import { createHash } from 'node:crypto';
import { KIB, type Disk, type VmDocument } from '../../domain/vm.js';
import type { HostId, VmId } from '../../domain/ids.js';
import type { VmPlace } from '../port.js';
import { networkArguments } from './network.js';

export interface LaunchOptions {
  /** Its tap devices are named after it. */
  readonly hostId: HostId;
  readonly accelerator: 'kvm' | 'tcg';
  /** Starts stopped and waits for an image (`-S -incoming defer`). */
  readonly isIncoming: boolean;
  /** Ids of the disks that take O_DIRECT on this host. */
  readonly directDiskIds: ReadonlySet<string>;
}

/** What a QEMU process has in its run directory; nothing else of it is QEMU's. */
export interface RunFiles {
  readonly pidFile: string;
  /** Short operations: status, cont, cancel, quit. */
  readonly controlSocket: string;
  /** Held by whoever runs a copy, for as long as it runs. */
  readonly copySocket: string;
  readonly outgoingSocket: string;
  readonly incomingSocket: string;
  /** QEMU's own complaints; with -daemonize they would go nowhere else. */
  readonly log: string;
  /** What the guest writes to its serial port. */
  readonly console: string;
  /** The end of what it had written before the console was last shortened (host/port.ts, keepEnd). */
  readonly earlierConsole: string;
}

export function runFiles(runDir: string): RunFiles {
  return {
    pidFile: `${runDir}/qemu.pid`,
    controlSocket: `${runDir}/qmp.sock`,
    copySocket: `${runDir}/copy.sock`,
    outgoingSocket: `${runDir}/out.sock`,
    incomingSocket: `${runDir}/in.sock`,
    log: `${runDir}/qemu.log`,
    console: `${runDir}/console.log`,
    earlierConsole: `${runDir}/console.log.1`,
  };
}

/** The longest run directory: sun_path holds 107 bytes, and a socket is first bound under a longer, private name. */
export const MAX_RUN_DIR_BYTES = 96;

/** Stable for a VM on every host (the guest sees it in SMBIOS, `validate-uuid` compares it); RFC 9562 version 8. */
export function vmUuid(vmId: VmId): string {
  const hex = createHash('sha256').update(`korora/vm/${vmId}`).digest('hex');
  const variant = (8 + (parseInt(hex.charAt(16), 16) % 4)).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** True for the command line of the process that runs `vmId` with `runDir`: the guard before any signal. */
export function isProcessOf(commandLine: readonly string[], vmId: VmId, runDir: string): boolean {
  const has = (option: string, value: string) => commandLine.some((word, i) => word === option && commandLine[i + 1] === value);
  return has('-pidfile', runFiles(runDir).pidFile) && has('-name', nameOption(vmId));
}

export function commandLine(vm: VmDocument, place: VmPlace, options: LaunchOptions): string[] {
  const files = runFiles(place.runDir);
  const isQ35 = vm.machine.startsWith('pc-q35-');
  const bus = isQ35 ? 'pcie.0' : 'pci.0';
  return [
    '-nodefaults', '-no-user-config', '-display', 'none',
    '-daemonize', '-pidfile', files.pidFile,
    '-D', files.log, '-d', 'plugin', '-msg', 'timestamp=on',
    '-sandbox', 'on,obsolete=deny,resourcecontrol=deny',
    '-name', nameOption(vm.vmId), '-uuid', vmUuid(vm.vmId),
    '-machine', `${vm.machine},accel=${options.accelerator},memory-backend=pc.ram,dump-guest-core=off,usb=off,vmport=off`,
    '-cpu', `${vm.cpu.model},enforce=on`,
    '-smp', `cpus=${vm.cpu.count},sockets=1,cores=${vm.cpu.count},threads=1`,
    '-m', `${vm.memoryBytes / KIB}K`,
    '-object', `memory-backend-ram,id=pc.ram,size=${vm.memoryBytes},dump=off`,
    '-rtc', 'base=utc,clock=host',
    '-kernel', vm.boot.kernel, '-initrd', vm.boot.initrd, '-append', vm.boot.commandLine,
    ...vm.disks.flatMap((disk, i) => diskArguments(disk, bus, i, options.directDiskIds.has(disk.id))),
    ...networkArguments(options.hostId, vm.vmId, vm.networks, bus),
    '-chardev', `file,id=console,path=${value(files.console)},append=on`,
    '-device', 'isa-serial,id=serial0,chardev=console',
    ...vtpmArguments(vm, place),
    ...monitorArguments('control', files.controlSocket),
    ...monitorArguments('copy', files.copySocket),
    ...(options.isIncoming ? ['-S', '-incoming', 'defer'] : []),
  ];
}

function nameOption(vmId: VmId): string {
  return `guest=${vmId}`;
}

/** Slots 4 and up: below are the chipset's on either machine, and q35 has more of it in slot 31. */
function diskArguments(disk: Disk, bus: string, index: number, isDirect: boolean): string[] {
  const file = [
    `driver=file,node-name=file-${disk.id},filename=${value(disk.path)}`,
    `locking=on,aio=threads,cache.direct=${isDirect ? 'on' : 'off'},cache.no-flush=off,auto-read-only=off`,
  ].join(',');
  const slot = `0x${(4 + index).toString(16)}`;
  return [
    '-blockdev', file,
    '-blockdev', formatArgument(disk, isDirect),
    '-device', `virtio-blk-pci,id=dev-${disk.id},drive=disk-${disk.id},bus=${bus},addr=${slot},disable-legacy=on,write-cache=on`,
  ];
}

/** As JSON where there is a backing file to exclude: the other way of writing has no `null`, by which QEMU opens none, whatever the image says. */
function formatArgument({ id, format }: Disk, isDirect: boolean): string {
  if (format === 'qcow2') return JSON.stringify({ driver: 'qcow2', 'node-name': `disk-${id}`, file: `file-${id}`, backing: null, cache: { direct: isDirect, 'no-flush': false } });
  return `driver=raw,node-name=disk-${id},file=file-${id},cache.direct=${isDirect ? 'on' : 'off'},cache.no-flush=off`;
}

function vtpmArguments(vm: VmDocument, place: VmPlace): string[] {
  if (!vm.vtpm || place.vtpmControlSocketPath === null) return [];
  return [
    '-chardev', `socket,id=vtpm,path=${value(place.vtpmControlSocketPath)}`,
    '-tpmdev', 'emulator,id=tpm0,chardev=vtpm',
    '-device', `${vm.vtpm.model},id=tpm,tpmdev=tpm0`,
  ];
}

function monitorArguments(id: string, path: string): string[] {
  return ['-chardev', `socket,id=${id},path=${value(path)},server=on,wait=off`, '-mon', `chardev=${id},mode=control`];
}

/** A comma inside an option's value is written twice (qemu-options.hx, "-drive"). */
function value(text: string): string {
  return text.replaceAll(',', ',,');
}
