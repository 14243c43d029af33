/** Boots a VM that is installed here: its vTPM with the keys that only this host's TPM opens, then its hypervisor. */
import type { InstalledVm } from '../host/vm-store.js';
import { openable } from './resources.js';
import type { HostServices } from './services.js';
import { unsealKeys } from './vtpm-keys.js';

export type Boot = (installed: InstalledVm) => Promise<void>;

/** Only while the ownership record is held, and says that the VM may run here. */
export function createBoot(services: HostServices): Boot {
  const { hostId, tpm, vtpms, hypervisor, vms } = services;
  return async ({ vm, vtpm }) => {
    const opened = await openable(services, vm);
    const runDir = vms.runDirOf(vm.vmId);
    const running = vtpm && (await vtpms.ensureRunning({ stateDir: vms.vtpmStateDirOf(vm.vmId), runDir, ...(await unsealKeys(tpm, hostId, vtpm.keys)) }));
    await hypervisor.start(opened, { runDir, vtpmControlSocketPath: running?.controlSocketPath ?? null });
  };
}
