/** The source takes a VM back from a destination that an operator declared powered off. */
import { problemOf, refuse } from '../domain/failures.js';
import type { MigrationId, VmId } from '../domain/ids.js';
import { admitWord } from './admission.js';
import { createBoot } from './boot.js';
import type { HostInput } from './inputs.js';
import type { HostServices } from './services.js';
import type { Settlement, SourceSettlement } from './settle.js';

export function createFencing(services: HostServices, { bringBack }: Settlement) {
  const { hostId, vtpms, hypervisor, ownership, vms } = services;
  const boot = createBoot(services);

  /** Whether a fence is an operator's who may say it. As admitWord. */
  async function admitFence({ fence }: HostInput<'admitFence'>): Promise<void> {
    await admitWord(services, 'korora/fence', fence, null);
  }

  /** Only a record that relinquished to that very host changes: OWNERSHIP_REFUSED else. As admitWord. */
  async function fenceDestination({ fence }: HostInput<'fenceDestination'>): Promise<SourceSettlement> {
    const { vmId, migrationId, host, by, reason } = await admitWord(services, 'korora/fence', fence, null);
    const record = await ownership.apply(vmId, { type: 'fence', migrationId, destination: host, reason: `${by}: ${reason}`, fence });
    return { ...(await runAgain(vmId, migrationId)), epoch: record.epoch + 1 };
  }

  /**
   * The fenced host may have run the VM and written to its disks. Memory of before knows nothing of that and must not go on
   * over them (docs/decisions/0009-after-a-fence.md): a VM that has disks starts again from them. Not where it runs:
   * its hypervisor resumed it itself when the copy broke, so the fenced host never had the image.
   */
  async function runAgain(vmId: VmId, migrationId: MigrationId): Promise<Pick<SourceSettlement, 'state' | 'problem'>> {
    const installed = await vms.read(vmId);
    if (!installed || installed.vm.disks.length === 0) return { state: await bringBack(vmId) };
    const runDir = vms.runDirOf(vmId);
    return ownership.hold(vmId, async ({ state }) => {
      if (state !== 'owner') throw refuse('VM_NOT_OWNED', { host: hostId, vm: vmId, state });
      if ((await hypervisor.status(vmId, runDir)) === 'running') return { state: installed.bootedAfter === migrationId ? 'rebooted' : 'runs' };
      await vms.write(vmId, { ...installed, bootedAfter: migrationId });
      await hypervisor.ensureDestroyed(vmId, runDir);
      await vtpms.ensureStopped(runDir);
      return boot(installed).then(
        () => ({ state: 'rebooted' }),
        (error: unknown) => ({ state: 'absent', problem: problemOf(error) }),
      );
    });
  }

  return { admitFence, fenceDestination };
}
