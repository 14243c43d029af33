/**
 * Two fake hosts in this process for driver tests: a fake machine and a fake vTPM on either side, with the keys that
 * travel with a VM. It attests nothing and keeps no ownership.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HostId } from '../../domain/ids.js';
import { VmDocument } from '../../domain/vm.js';
import { createLocalHost } from '../../host/local.js';
import { createFakeHypervisor } from '../../hypervisor/fake/driver.js';
import { type FakeMachine, startFakeMachine } from '../../hypervisor/fake/machine.js';
import { machineSocketIn } from '../../hypervisor/fake/protocol.js';
import { createFakeVtpmManager } from '../../hypervisor/fake/vtpm.js';
import type { VtpmManager } from '../../tpm/port.js';
import type { DriverSide, DriverTestbed } from './driver-contract.js';

export interface FakeSide extends DriverSide {
  readonly machine: FakeMachine;
  readonly vtpms: VtpmManager;
  /** Of the VM's vTPM on this side. */
  readonly vtpm: Parameters<VtpmManager['ensureRunning']>[0];
  readonly hostRunDir: string;
}

export async function createFakeTestbed(): Promise<DriverTestbed<FakeSide>> {
  const folder = await mkdtemp('/tmp/kf-');
  const migrationKey = randomBytes(32);
  const a = await createSide(folder, 'a', migrationKey);
  const b = await createSide(folder, 'b', migrationKey);
  const boot = join(folder, 'boot');
  await writeFile(boot, 'nothing is in it');
  return {
    folder,
    a,
    b,
    vm: ({ kernelWords = '', disks = [] } = {}) =>
      VmDocument.parse({
        kind: 'korora/vm', version: 1, vmId: 'guest', hypervisor: 'fake', machine: 'pc-q35-7.2',
        cpu: { model: 'max', count: 1 }, memoryBytes: 64 * 1024 * 1024 - 8192,
        boot: { kernel: boot, initrd: boot, commandLine: `korora.tick_ms=20 korora.dirty_mib_per_s=4 ${kernelWords}` },
        disks, vtpm: { model: 'tpm-crb' },
      }),
    isSlowToBoot: false,
    async close() {
      await a.machine.close();
      await b.machine.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function createSide(folder: string, name: string, migrationKey: Buffer): Promise<FakeSide> {
  const hostId = HostId.parse(`host-${name}`);
  const access = createLocalHost(hostId);
  const hostRunDir = join(folder, name);
  await mkdir(hostRunDir);
  const machine = await startFakeMachine(machineSocketIn(hostRunDir));
  const hypervisor = createFakeHypervisor({ access, hostId, runDir: hostRunDir });
  const vtpms = createFakeVtpmManager({ access, hostId, runDir: hostRunDir });
  const runDir = join(hostRunDir, 'guest');
  const vtpm = { stateDir: join(folder, `${name}-tpm`), runDir, stateKey: randomBytes(32), migrationKey };
  return {
    access,
    hypervisor,
    machine,
    vtpms,
    vtpm,
    hostRunDir,
    place: { runDir, vtpmControlSocketPath: join(runDir, 'control.sock') },
    consoleLog: () => readFile(join(runDir, 'console.log'), 'utf8').catch(() => ''),
    runFiles: () => access.list(runDir),
    kill: () => machine.crash(runDir),
    async reset() {
      await hypervisor.ensureDestroyed(VmDocument.shape.vmId.parse('guest'), runDir);
      await vtpms.ensureStopped(runDir);
      await access.remove(vtpm.stateDir);
    },
    ensureVtpm: async () => void (await vtpms.ensureRunning(vtpm)),
  };
}
