/**
 * Two hosts on one machine for driver tests: real QEMU, the real guest image, a real swtpm on either
 * side with the keys that travel with a VM. It attests nothing and keeps no ownership.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { HostId, VmId } from '../../domain/ids.js';
import { VmDocument } from '../../domain/vm.js';
import { createLocalHost } from '../../host/local.js';
import type { VmPlace } from '../../hypervisor/port.js';
import { createQemu } from '../../hypervisor/qemu/driver.js';
import { createSwtpmManager } from '../../tpm/swtpm.js';
import type { VtpmManager } from '../../tpm/port.js';
import type { DriverSide, DriverTestbed } from './driver-contract.js';

export interface QemuSide extends DriverSide {
  readonly pid: () => Promise<number>;
}

/** Boot file folder; built on first use (some seconds). */
async function guestImage(): Promise<string> {
  const folder = process.env.KORORA_GUEST_DIR ?? resolve('.cache/guest');
  if (!existsSync(join(folder, 'stamp'))) await promisify(execFile)('bash', ['infra/guest/build.sh', folder]);
  return folder;
}

export async function createQemuTestbed(): Promise<DriverTestbed<QemuSide>> {
  const guest = await guestImage();
  const folder = await mkdtemp('/tmp/kq-');
  const keys = { stateKey: randomBytes(32), migrationKey: randomBytes(32) };
  // Taps are named after host and VM in the one kernel: testbeds that run beside each other must not remove each other's.
  const vmId = VmId.parse(`guest-${randomUUID()}`);
  const a = createSide(folder, 'a', vmId, keys);
  const b = createSide(folder, 'b', vmId, keys);
  return {
    folder,
    a,
    b,
    vm: ({ kernelWords = '', disks = [], networks = [] } = {}) =>
      VmDocument.parse({
        kind: 'korora/vm', version: 1, vmId, hypervisor: 'qemu', machine: 'pc-q35-7.2',
        cpu: { model: 'max', count: 1 }, memoryBytes: 256 * 1024 * 1024 - 8192,
        boot: { kernel: join(guest, 'vmlinuz'), initrd: join(guest, 'initramfs.cpio'), commandLine: `console=ttyS0 quiet panic=-1 korora.tick_ms=20 ${kernelWords}` },
        disks, networks, vtpm: { model: 'tpm-crb' },
      }),
    isSlowToBoot: true,
    async close() {
      await a.reset();
      await b.reset();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function createSide(folder: string, name: string, vmId: VmId, keys: { readonly stateKey: Buffer; readonly migrationKey: Buffer }): QemuSide {
  const hostId = HostId.parse(`host-${name}`);
  const access = createLocalHost(hostId);
  const hypervisor = createQemu({ access, hostId });
  const vtpm: VtpmManager = createSwtpmManager({ access, hostId, caDir: join(folder, 'ca') });
  const runDir = join(folder, name);
  const stateDir = join(folder, `${name}-tpm`);
  const vtpmRunDir = join(folder, `${name}-tpm-run`);
  const place: VmPlace = { runDir, vtpmControlSocketPath: join(vtpmRunDir, 'control.sock') };
  const pid = async () => Number(await readFile(join(runDir, 'qemu.pid'), 'utf8'));
  return {
    access,
    hypervisor,
    place,
    consoleLog: () => readFile(join(runDir, 'console.log'), 'utf8').catch(() => ''),
    runFiles: () => access.list(runDir),
    pid,
    kill: async () => access.signal(await pid(), 'SIGKILL'),
    async reset() {
      await hypervisor.ensureDestroyed(vmId, runDir);
      await vtpm.ensureStopped(vtpmRunDir);
      await access.remove(stateDir);
      await access.remove(vtpmRunDir);
    },
    async ensureVtpm() {
      await vtpm.ensureRunning({ stateDir, runDir: vtpmRunDir, ...keys });
    },
  };
}
