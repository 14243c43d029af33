/** The source takes a VM back from a destination that an operator declared powered off. */
import { parseDocument } from '../domain/documents.js';
import { problemOf, refuse } from '../domain/failures.js';
import { Fence } from '../domain/fence.js';
import type { MigrationId, VmId } from '../domain/ids.js';
import type { Order } from '../domain/order.js';
import { openOrder } from './admission.js';
import { createBoot } from './boot.js';
import type { HostServices } from './services.js';
import type { Settlement, SourceSettlement, MoveKey } from './settle.js';

export function createFencing(services: HostServices, { bringBack }: Settlement) {
  const { hostId, vtpms, hypervisor, ownership, vms } = services;
  const boot = createBoot(services);

  /** Only a record that relinquished to that very host changes: OWNERSHIP_REFUSED else. */
  async function fenceDestination({ order: value, fence }: { readonly order: Order; readonly fence: Fence }): Promise<SourceSettlement> {
    const { order } = openOrder(value);
    if (order.source !== hostId || order.destination !== fence.host) throw refuse('ORDER_INVALID', { problem: `it is no move from ${hostId} to ${fence.host}` });
    return takeBack(order, fence);
  }

  /** The same for a move that no workflow tends any more. */
  async function fenceUntended({ move, fence }: { readonly move: MoveKey; readonly fence: Fence }): Promise<SourceSettlement> {
    return takeBack(move, fence);
  }

  async function takeBack({ vmId, migrationId }: MoveKey, declared: Fence): Promise<SourceSettlement> {
    const { host, by, reason } = parseDocument(Fence, declared, 'ORDER_INVALID');
    const record = await ownership.apply(vmId, { type: 'fence', migrationId, destination: host, reason: `${by}: ${reason}` });
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

  return { fenceDestination, fenceUntended };
}
