/**
 * Which host owns a VM where two records do not agree: an operator fenced a host, and it came back. The owner of
 * the later epoch says so under its AK; the other gives up what it holds. Nobody else decides.
 */
import { parseDocument } from '../domain/documents.js';
import { problemOf, refuse } from '../domain/failures.js';
import { Fence } from '../domain/fence.js';
import type { MigrationId, VmId } from '../domain/ids.js';
import { type Claim, ClaimStatement } from '../domain/manifest.js';
import type { Order } from '../domain/order.js';
import { mayRun } from '../domain/ownership.js';
import { openOrder } from './admission.js';
import { createBoot } from './boot.js';
import type { HostServices } from './services.js';
import type { Settlement, SourceSettlement } from './settle.js';
import { createStatements } from './statements.js';

export function createClaims(services: HostServices, { bringBack, discard }: Settlement) {
  const { hostId, vtpms, hypervisor, ownership, vms } = services;
  const boot = createBoot(services);
  const statements = createStatements(services);

  /**
   * The source takes the VM back from a destination that an operator declared powered off. Only a record that
   * relinquished to that very host changes: OWNERSHIP_REFUSED else.
   */
  async function fenceDestination({ order: value, fence: declared }: { readonly order: Order; readonly fence: Fence }): Promise<SourceSettlement> {
    const { order } = openOrder(value);
    const { host, by, reason } = parseDocument(Fence, declared, 'ORDER_INVALID');
    if (order.source !== hostId || order.destination !== host) throw refuse('ORDER_INVALID', { problem: `it is no move from ${hostId} to ${host}` });
    const record = await ownership.apply(order.vmId, { type: 'fence', migrationId: order.migrationId, reason: `${by}: ${reason}` });
    return { ...(await runAgain(order.vmId, order.migrationId)), epoch: record.epoch + 1 };
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
      if (installed.bootedAfter !== migrationId) {
        if ((await hypervisor.status(vmId, runDir)) === 'running') return { state: 'runs' };
        await vms.write(vmId, { ...installed, bootedAfter: migrationId });
      }
      if ((await hypervisor.status(vmId, runDir)) === 'running') return { state: 'rebooted' };
      await hypervisor.ensureDestroyed(vmId, runDir);
      await vtpms.ensureStopped(runDir);
      return boot(installed).then(
        () => ({ state: 'rebooted' }),
        (error: unknown) => ({ state: 'absent', problem: problemOf(error) }),
      );
    });
  }

  /** What this host may claim of the VM; null where it owns nothing that a move brought it. */
  async function stateClaim({ vmId }: { readonly vmId: VmId }): Promise<ClaimStatement | null> {
    const record = await ownership.read(vmId);
    const origin = record.settled.find((s) => s.epoch === record.epoch && (s.outcome === 'accepted' || s.outcome === 'fenced'));
    if (!mayRun(record) || !origin) return null;
    const claim: Claim = { protocol: 'korora/1', purpose: 'claim', vmId, hostId, epoch: record.epoch as Claim['epoch'], migrationId: origin.migrationId };
    return { claim, quote: await statements.sign(claim) };
  }

  /** Gives up what this host holds of an earlier epoch, VM and keys included. CLAIM_UNPROVEN, OWNERSHIP_REFUSED change nothing. */
  async function yieldToClaim({ statement: received }: { readonly statement: ClaimStatement }): Promise<void> {
    const { claim, quote } = parseDocument(ClaimStatement, received, 'EVIDENCE_INVALID');
    const problem = await statements.problem(claim.hostId, claim, quote);
    if (problem) throw refuse('CLAIM_UNPROVEN', { host: claim.hostId, problem });
    await ownership.apply(claim.vmId, { type: 'learn-claim', proven: { claim, proof: 'quote' } });
    await discard(claim.vmId);
  }

  return { fenceDestination, stateClaim, yieldToClaim };
}
