/**
 * Settling a move: what takes it back, and what ends it. Every activity here means "ensure": it
 * may run at any time, any number of times, and decides by the ownership record alone.
 */
import type { z } from 'zod';
import { parseDocument } from '../domain/documents.js';
import { refuse } from '../domain/failures.js';
import { Epoch, type MigrationId, type VmId } from '../domain/ids.js';
import { type Manifest, type Verdict, VerdictStatement, verdictOf } from '../domain/manifest.js';
import { Order } from '../domain/order.js';
import { decisionOn, mayRun, settlementOf } from '../domain/ownership.js';
import type { HostServices } from './services.js';
import { createStatements } from './statements.js';

/** Which move of which VM. */
const MoveKey = Order.pick({ vmId: true, migrationId: true });
export type MoveKey = Readonly<z.infer<typeof MoveKey>>;

export interface SourceSettlement {
  /**
   * `runs`: the VM runs here. `rebooted`: it does, started again from its disks. `absent`: owned here, but its hypervisor process is gone; it may be started.
   * `needs-verdict`: stopped here; only a proven verdict decides. `retired`: it is gone from here.
   */
  readonly state: 'runs' | 'rebooted' | 'absent' | 'needs-verdict' | 'retired';
  /** Why it is absent, where that is known. */
  readonly problem?: string;
  /** The epoch that the destination would own or owns. */
  readonly epoch: number;
  /** That was sent with what needs a verdict, where this worker still has it: a destination that accepted and was restarted knows its digest alone. */
  readonly manifest?: Manifest | null;
}

export interface DestinationSettlement extends VerdictStatement {
  /** It is owned here, but its hypervisor process is gone; it may be started. */
  readonly isAbsent: boolean;
}

export type Settlement = ReturnType<typeof createSettlement>;

export function createSettlement(services: HostServices) {
  const { hostId, vtpms, hypervisor, sessions, ownership, vms } = services;
  const statements = createStatements(services);

  /** The durable decision: rejects unless this migration was accepted here. */
  async function decide(move: MoveKey, epoch: number, reason: string): Promise<Verdict> {
    const { migrationId, vmId } = move;
    if (decisionOn(await ownership.read(vmId), migrationId, epoch) === 'undecided') {
      await ownership.apply(vmId, { type: 'reject', migrationId, epoch, reason: reason.slice(0, 1000) }).catch(async (error: unknown) => {
        if (decisionOn(await ownership.read(vmId), migrationId, epoch) === 'undecided') throw error;
      });
    }
    const record = await ownership.read(vmId);
    const settled = settlementOf(record, migrationId);
    const isAccepted = decisionOn(record, migrationId, epoch) === 'accepted';
    return verdictOf({ ...move, destination: hostId, epoch: Epoch.parse(epoch) }, {
      verdict: isAccepted ? 'accepted' : 'rejected',
      manifestDigest: isAccepted ? (settled?.manifestDigest ?? null) : null,
      reason: isAccepted ? null : (settled?.reason ?? reason),
    });
  }

  /** The AK signs the verdict, so that it may travel through Temporal. */
  async function sign(verdict: Verdict): Promise<VerdictStatement> {
    return { verdict, quote: await statements.sign(verdict) };
  }

  /** Destroys a waiting copy. Only where the record says that nothing may run here, and as long as it does. */
  function discard(vmId: VmId): Promise<void> {
    return ownership.hold(vmId, async ({ state }) => {
      if (state !== 'none' && state !== 'retired') return;
      await hypervisor.ensureDestroyed(vmId, vms.runDirOf(vmId));
      await vtpms.ensureStopped(vms.runDirOf(vmId));
      await vms.erase(vmId);
    });
  }

  async function settle(move: MoveKey, epoch: number, reason: string): Promise<DestinationSettlement> {
    await sessions.find(move.migrationId)?.incoming?.listener.close();
    return carryOut(await decide(move, epoch, reason));
  }

  /** Does what was decided, then signs it. */
  async function carryOut(verdict: Verdict): Promise<DestinationSettlement> {
    const isAbsent = verdict.verdict === 'accepted' && !(await runAccepted(verdict.vmId));
    if (verdict.verdict === 'rejected') await discard(verdict.vmId);
    return { ...(await sign(verdict)), isAbsent };
  }

  /** A VM that was accepted runs, as long as it is still owned here; false where its process is gone, and it stays so: it may be started. */
  function runAccepted(vmId: VmId): Promise<boolean> {
    const runDir = vms.runDirOf(vmId);
    return ownership.hold(vmId, async ({ state }) => {
      if (state !== 'owner') return true;
      if ((await hypervisor.status(vmId, runDir)) === 'absent') return false;
      await hypervisor.ensureRunning(vmId, runDir);
      return true;
    });
  }

  /**
   * Lets the VM run on here, where its process still is. VM_NOT_OWNED where the record does not allow it; a VM that is
   * on offer is resumed for the move that offers it, `offeredBy`, and for nobody else: the tail of its image may be gone already.
   */
  function bringBack(vmId: VmId, offeredBy: MigrationId | null = null): Promise<'runs' | 'absent'> {
    const runDir = vms.runDirOf(vmId);
    return ownership.hold(vmId, async (record) => {
      const isAllowed = record.state === 'owner' || (record.state === 'offering' && record.migrationId === offeredBy);
      if (!isAllowed) throw refuse('VM_NOT_OWNED', { host: hostId, vm: vmId, state: record.state });
      if ((await hypervisor.status(vmId, runDir)) === 'absent') return 'absent';
      await hypervisor.ensureNotMoving(vmId, runDir);
      await hypervisor.ensureRunning(vmId, runDir);
      return 'runs';
    });
  }

  /**
   * Ends an offer of which this worker knows no more than its record: the VM runs on, and the offer is withdrawn; or, false, it does not run. Then it may have
   * been handed over, by a record that an older one of the same generation has replaced since (docs/decisions/0013-generations-and-the-tpm.md): it counts as relinquished.
   */
  async function withdrawOrRelinquish({ vmId, migrationId }: MoveKey): Promise<boolean> {
    const runDir = vms.runDirOf(vmId);
    await hypervisor.ensureNotMoving(vmId, runDir);
    const isRunning = (await hypervisor.status(vmId, runDir)) === 'running';
    await ownership.apply(vmId, { type: isRunning ? 'withdraw' : 'relinquish', migrationId });
    return isRunning;
  }

  /** Undo of prepare, and the question of a source that waits: rejects unless it accepted; the answer is signed. */
  async function settleDestination({ move, epoch, reason }: { readonly move: MoveKey; readonly epoch: number; readonly reason: string }): Promise<DestinationSettlement> {
    return settle(parseDocument(MoveKey, move, 'ORDER_INVALID'), epoch, reason);
  }

  /** Undo of the copy as far as the source may decide alone. */
  async function settleSource({ move, reason }: { readonly move: MoveKey; readonly reason: string }): Promise<SourceSettlement> {
    const { migrationId, vmId } = parseDocument(MoveKey, move, 'ORDER_INVALID');
    const running = sessions.find(migrationId)?.outgoing;
    running?.abort(refuse('ABORTED', { reason }));
    await running?.ended;
    const record = await ownership.read(vmId);
    const epoch = record.epoch + 1;
    if (record.state === 'relinquished' && record.migrationId === migrationId) return { state: 'needs-verdict', epoch, manifest: running?.manifest ?? null };
    if (record.state === 'retired' && record.migrationId === migrationId) return { state: 'retired', epoch };
    if (record.state === 'offering' && record.migrationId === migrationId) return { state: (await withdrawOrRelinquish(record)) ? 'runs' : 'needs-verdict', epoch };
    const isThere = (await hypervisor.status(vmId, vms.runDirOf(vmId))) !== 'absent';
    await ownership.apply(vmId, { type: 'withdraw', migrationId });
    return { state: isThere ? 'runs' : 'absent', epoch };
  }

  /**
   * Ends the move on the source by the destination's signed verdict: accepted, it destroys its copy, vTPM state and keys; rejected, it
   * runs the VM again. VERDICT_UNPROVEN changes nothing; nor does the verdict of a move that the record does not wait for (OWNERSHIP_REFUSED).
   */
  async function resolveSource({ statement: received }: { readonly statement: VerdictStatement }): Promise<SourceSettlement> {
    const { verdict, quote } = parseDocument(VerdictStatement, received, 'EVIDENCE_INVALID');
    const unproven = await statements.problem(verdict.destination, verdict, quote);
    if (unproven) throw refuse('VERDICT_UNPROVEN', { host: verdict.destination, problem: unproven });
    const record = await ownership.apply(verdict.vmId, { type: 'learn-verdict', proven: { verdict, proof: 'quote' } });
    if (mayRun(record)) return { state: await bringBack(verdict.vmId), epoch: record.epoch + 1 };
    await discard(verdict.vmId);
    return { state: 'retired', epoch: record.epoch + 1 };
  }

  return { decide, sign, settle, carryOut, discard, bringBack, withdrawOrRelinquish, settleDestination, settleSource, resolveSource };
}
