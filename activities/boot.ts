/** Boots a VM that is installed here: its vTPM with the keys that only this host's TPM opens, then its hypervisor. */
import type { InstalledVm } from '../host/vm-store.js';
import { openable } from './resources.js';
import type { HostServices } from './services.js';
import { destroyKeys, unsealKeys, withKeyBytes } from './vtpm-keys.js';

export type Boot = (installed: InstalledVm) => Promise<void>;

/** Only while the ownership record is held, and says that the VM may run here. */
export function createBoot(services: HostServices): Boot {
  const { hostId, tpm, vtpms, hypervisor, vms } = services;

  async function startVtpm({ vm: { vmId }, vtpm }: InstalledVm): Promise<string | null> {
    if (!vtpm) return null;
    const keys = await unsealKeys(tpm, hostId, vtpm.keys);
    try {
      const running = await withKeyBytes(keys, (bytes) => vtpms.ensureRunning({ stateDir: vms.vtpmStateDirOf(vmId), runDir: vms.runDirOf(vmId), ...bytes }));
      return running.controlSocketPath;
    } finally {
      destroyKeys(keys);
    }
  }

  return async (installed) => {
    const opened = await openable(services, installed.vm);
    const vtpmControlSocketPath = await startVtpm(installed);
    await hypervisor.start(opened, { runDir: vms.runDirOf(installed.vm.vmId), vtpmControlSocketPath });
  };
}
