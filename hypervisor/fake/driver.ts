/**
 * The fake hypervisor behind the hypervisor port: for scale runs and fast tests, where QEMU's size and time are in the
 * way. Its VMs are small computations in the memory of one process a host, the fake machine; this driver is a
 * client of it. Statuses, refusals and failure codes are those of hypervisor/qemu, and one suite of tests holds for both
 * (test/support/driver-contract.ts).
 *
 * No claim of the project rests on it: what it shows is the orchestration around a hypervisor, never that a hypervisor
 * does what it does here. docs/fake-driver.md says what may be concluded.
 */
import type { HostId } from '../../domain/ids.js';
import type { HostAccess } from '../../host/port.js';
import type { Hypervisor, HypervisorFacts } from '../port.js';
import { type MachineClient, createMachineClient } from './client.js';
import { openIncoming } from './incoming.js';
import { openOutgoing } from './outgoing.js';

export interface FakeOptions {
  readonly access: HostAccess;
  readonly hostId: HostId;
  /** The host's own; the fake machine's socket is in it. */
  readonly runDir: string;
}

/** What the driver needs to reach its machine. */
export interface FakeHost {
  readonly access: HostAccess;
  readonly hostId: HostId;
  readonly machine: MachineClient;
}

const FACTS: HypervisorFacts = { kind: 'fake', version: '1.0.0', accelerator: 'none', machineTypes: ['pc-q35-7.2'], cpuModels: ['max'] };
const STATUS_TIMEOUT_MS = 5_000;

export function createFakeHypervisor({ access, hostId, runDir: hostRunDir }: FakeOptions): Hypervisor {
  const machine = createMachineClient({ access, hostId, runDir: hostRunDir });
  const host: FakeHost = { access, hostId, machine };

  return {
    facts: async () => FACTS,

    async status(vmId, runDir) {
      try {
        return await machine.ask('status', { vmId, runDir }, { timeoutMs: STATUS_TIMEOUT_MS });
      } catch {
        return (await machine.isThere()) ? 'failed' : 'absent';
      }
    },

    start: (vm, place) =>
      machine.saying('start', async () => {
        await access.ensureDirectory(place.runDir);
        await machine.ensureThere();
        await machine.ask('start', { vm, place, isIncoming: false });
      }),

    ensureRunning: (vmId, runDir) => machine.saying('cont', async () => void (await machine.ask('ensureRunning', { vmId, runDir }))),

    async ensurePaused(vmId, runDir) {
      if (!(await machine.isThere())) return;
      await machine.saying('stop', async () => {
        if ((await machine.ask('status', { vmId, runDir })) !== 'absent') await machine.ask('hold', { vmId, runDir });
      });
    },

    // A fake VM is in the fake machine or nowhere: nobody starts one by hand.
    strangers: async () => [],

    async ensureNotMoving(vmId, runDir) {
      if (await machine.isThere()) await machine.saying('cancel', () => machine.ask('ensureNotMoving', { vmId, runDir }));
    },

    async ensureDestroyed(vmId, runDir) {
      if (await machine.isThere()) await machine.saying('quit', () => machine.ask('ensureDestroyed', { vmId, runDir }));
      for (const name of ['console.log', 'console.log.1']) await access.remove(`${runDir}/${name}`);
    },

    openOutgoing: (vm, runDir, limits, options) => openOutgoing(host, vm.vmId, runDir, limits, options),

    openIncoming: (vm, place) =>
      machine.saying('wait for an image', async () => {
        await access.ensureDirectory(place.runDir);
        await machine.ensureThere();
        await machine.ask('start', { vm, place, isIncoming: true });
        return openIncoming(host, vm.vmId, place.runDir);
      }),
  };
}

/** Ends the fake machine of a host and all that runs in it; no error where there is none. */
export async function shutDownFakeMachine(options: FakeOptions): Promise<void> {
  const machine = createMachineClient(options);
  if (await machine.isThere()) await machine.ask('shutDown', {});
}
