/**
 * Settling a move: what takes it back, and what ends it. Every activity here means "ensure": it
 * may run at any time, any number of times, and decides by the ownership record alone.
 */
import { digestOf } from '../domain/canonical.js';
import { KororaError, refuse } from '../domain/failures.js';
import { Epoch, type HostId, type MigrationId, type VmId } from '../domain/ids.js';
import { type Manifest, type Succession, type SuccessionStatement, type Verdict, type VerdictStatement, verdictOf } from '../domain/manifest.js';
import type { Order } from '../domain/order.js';
import { type OwnershipEvent, type OwnershipRecord, type RecordIn, type ShownOrder, decisionOn, isMove, isSurplus, mayRun, ownedEpoch, settlementOf } from '../domain/ownership.js';
import { type OrderToSettle, admitToSettle } from './admission.js';
import type { HostInput, MoveKey } from './inputs.js';
import type { HostServices } from './services.js';
import { createStatements } from './statements.js';

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
}

export interface SettledDestination extends VerdictStatement {
  /** It is owned here, but its hypervisor process is gone; it may be started. */
  readonly isAbsent: boolean;
  /** That the verdict names; null where it is a rejection. */
  readonly manifest: Manifest | null;
}

/** What a destination says of a move: its verdict, or that it owned a later epoch since and no longer knows the move. */
export type DestinationAnswer = SettledDestination | SuccessionStatement;

type Decision = Pick<SettledDestination, 'verdict' | 'manifest'> | { readonly succession: Succession };
type Apply = (event: OwnershipEvent) => Promise<OwnershipRecord>;
export type Settlement = ReturnType<typeof createSettlement>;

export function createSettlement(services: HostServices) {
  const { hostId, vtpms, hypervisor, sessions, ownership, vms, installedBundle, clock } = services;
  const statements = createStatements(services);

  /** The durable decision: rejects unless this migration was accepted here, or its epoch was owned. `shown` as of the event that rejects. */
  function decide({ migrationId, vmId, epoch }: Pick<Order, 'migrationId' | 'vmId' | 'epoch'>, reason: string, shown: ShownOrder | null): Promise<Decision> {
    return ownership.hold(vmId, async (before, apply) => {
      const isUndecided = decisionOn(before, migrationId, epoch + 1) === 'undecided';
      const record = isUndecided ? await apply({ type: 'reject', migrationId, epoch: epoch + 1, reason: reason.slice(0, 1000) || 'no reason given', shown }) : before;
      const settled = settlementOf(record, migrationId);
      if (!settled) return { succession: { protocol: 'korora/1', purpose: 'succession', vmId, hostId, migrationId, ownedEpoch: Epoch.parse(ownedEpoch(record)) } };
      const { outcome, manifest } = settled;
      const verdict = verdictOf({ vmId, migrationId, destination: hostId, epoch: Epoch.parse(settled.epoch) }, {
        verdict: manifest ? 'accepted' : 'rejected',
        manifestDigest: manifest && digestOf(manifest),
        reason: manifest ? null : (settled.reason ?? outcome),
      });
      return { verdict, manifest };
    });
  }

  /** The AK signs the verdict, so that it may travel through Temporal. */
  async function sign(verdict: Verdict): Promise<VerdictStatement> {
    return { verdict, quote: await statements.sign(verdict) };
  }

  /**
   * Ends what the record says may not run here, as long as it does. What was given up to another host's word stays on the disk until its
   * time is over.
   */
  function discard(vmId: VmId): Promise<void> {
    return ownership.hold(vmId, async (record) => {
      if (!isSurplus(record)) return;
      await hypervisor.ensureDestroyed(vmId, vms.runDirOf(vmId));
      await vtpms.ensureStopped(vms.runDirOf(vmId));
      if (!isKept(record, clock.now())) await vms.erase(vmId);
    });
  }

  async function settle({ order, shown, reason }: { readonly order: Order; readonly shown: ShownOrder | null; readonly reason: string }): Promise<DestinationAnswer> {
    await sessions.find(order.migrationId)?.incoming?.listener.close();
    const answer = await decide(order, reason, shown);
    return 'verdict' in answer ? carryOut(answer) : { ...answer, quote: await statements.sign(answer.succession) };
  }

  /** Does what was decided, then signs it. */
  async function carryOut({ verdict, manifest }: Pick<SettledDestination, 'verdict' | 'manifest'>): Promise<SettledDestination> {
    const isAbsent = verdict.verdict === 'accepted' && !(await runAccepted(verdict.vmId));
    if (verdict.verdict === 'rejected') await discard(verdict.vmId);
    return { ...(await sign(verdict)), isAbsent, manifest };
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

  /** Lets the VM that is owned here run on, where its process still is. VM_NOT_OWNED. */
  function bringBack(vmId: VmId): Promise<'runs' | 'absent'> {
    return ownership.hold(vmId, (record) => runOn(record));
  }

  /**
   * Before the handover: the VM runs on, and the offer is off. VM_NOT_OWNED where the record does not allow it; a VM that is
   * on offer is resumed for the move that offers it, and for nobody else: the tail of its image may be gone already.
   */
  function withdrawOffer({ vmId, migrationId }: MoveKey): Promise<'runs' | 'absent'> {
    return ownership.hold(vmId, async (record, apply) => {
      const state = await runOn(record, migrationId);
      await apply({ type: 'withdraw', migrationId, shown: null }).catch((error: unknown) => {
        // It was never offered, or it is off already.
        if (!(error instanceof KororaError && error.code === 'OWNERSHIP_REFUSED' && record.state === 'owner')) throw error;
      });
      return state;
    });
  }

  async function runOn(record: OwnershipRecord, offeredBy: MigrationId | null = null): Promise<'runs' | 'absent'> {
    const { vmId, state } = record;
    const runDir = vms.runDirOf(vmId);
    const isAllowed = state === 'owner' || (state === 'offering' && record.migrationId === offeredBy);
    if (!isAllowed) throw refuse('VM_NOT_OWNED', { host: hostId, vm: vmId, state });
    if ((await hypervisor.status(vmId, runDir)) === 'absent') return 'absent';
    await hypervisor.ensureNotMoving(vmId, runDir);
    await hypervisor.ensureRunning(vmId, runDir);
    return 'runs';
  }

  /**
   * Ends an offer of which this worker knows no more than its record: the VM runs on, and the offer is withdrawn; or, false, it does not run. Then it may have
   * been handed over, by a record that an older one of the same generation has replaced since (docs/decisions/0013-generations-and-the-tpm.md): it counts as relinquished.
   */
  async function withdrawOrRelinquish({ vmId, migrationId }: RecordIn<'offering'>, apply: Apply): Promise<boolean> {
    const runDir = vms.runDirOf(vmId);
    await hypervisor.ensureNotMoving(vmId, runDir);
    const isRunning = (await hypervisor.status(vmId, runDir)) === 'running';
    await apply(isRunning ? { type: 'withdraw', migrationId, shown: null } : { type: 'relinquish', migrationId });
    return isRunning;
  }

  /**
   * Has a move end here that this host did not take up, or as its destination; what its source holds of it is ended by settleSource. Its order is then
   * good no more. No effect where the move is settled, or its epoch was owned.
   */
  async function settleHere({ order, role, shown }: OrderToSettle, reason: string): Promise<void> {
    const { vmId, migrationId } = order;
    if (role === 'source') {
      return ownership.hold(vmId, async (record, apply) => {
        const isHeld = 'migrationId' in record && record.migrationId === migrationId;
        if (!isHeld && !settlementOf(record, migrationId)) await apply({ type: 'withdraw', migrationId, shown });
      });
    }
    const answer = await decide(order, reason, shown);
    if ('verdict' in answer && answer.verdict.verdict === 'rejected') await discard(vmId);
  }

  /** Undo of prepare, and the question of a source that waits: rejects unless it accepted; the answer is signed. As admitToSettle; OWNERSHIP_REFUSED. */
  async function settleDestination({ order: envelope, reason }: HostInput<'settleDestination'>): Promise<DestinationAnswer> {
    const { order, role, shown } = await admitToSettle(services, envelope);
    if (role !== 'destination') throw refuse('ORDER_INVALID', { problem: `${hostId} is not its destination` });
    const answer = await settle({ order, shown, reason });
    const isOver = 'succession' in answer || answer.verdict.verdict === 'rejected';
    if (isOver) await sessions.close(order.migrationId, refuse('ABORTED', { reason }));
    return answer;
  }

  /** Undo of the copy as far as the source may decide alone. As admitToSettle; VM_NOT_OWNED. */
  async function settleSource({ order: envelope, reason }: HostInput<'settleSource'>): Promise<SourceSettlement> {
    const { order, role, shown } = await admitToSettle(services, envelope);
    if (role !== 'source') throw refuse('ORDER_INVALID', { problem: `${hostId} is not its source` });
    const why = refuse('ABORTED', { reason });
    for (;;) {
      const running = sessions.find(order.migrationId)?.outgoing ?? null;
      running?.abort(why);
      await running?.ended;
      const settled = await ownership.hold(order.vmId, async (record, apply) => {
        // A copy that began meanwhile is ended first: its VM may be paused, or given away, at any moment.
        const isStill = (sessions.find(order.migrationId)?.outgoing ?? null) === running;
        return isStill ? settleHeld(order, shown, record, apply) : null;
      });
      if (!settled) continue;
      if (settled.state === 'runs' || settled.state === 'absent') await sessions.close(order.migrationId, why);
      return settled;
    }
  }

  async function settleHeld({ vmId, migrationId }: Order, shown: ShownOrder | null, record: OwnershipRecord, apply: Apply): Promise<SourceSettlement> {
    const epoch = record.epoch + 1;
    if (isMove(record, 'relinquished', migrationId)) return { state: 'needs-verdict', epoch };
    if (isMove(record, 'retired', migrationId)) return { state: 'retired', epoch };
    if (isMove(record, 'offering', migrationId)) return { state: (await withdrawOrRelinquish(record, apply)) ? 'runs' : 'needs-verdict', epoch };
    const isThere = (await hypervisor.status(vmId, vms.runDirOf(vmId))) !== 'absent';
    await apply({ type: 'withdraw', migrationId, shown });
    if (!mayRun(record)) throw refuse('VM_NOT_OWNED', { host: hostId, vm: vmId, state: record.state });
    return { state: isThere ? 'runs' : 'absent', epoch };
  }

  /**
   * Ends the move on the source by what the destination signed: accepted, it destroys its copy, vTPM state and keys, as the order of the move wants; rejected, it
   * runs the VM again. VERDICT_UNPROVEN changes nothing; nor does the verdict of a move that the record does not wait for (OWNERSHIP_REFUSED).
   */
  async function resolveSource({ statement }: HostInput<'resolveSource'>): Promise<SourceSettlement> {
    const { vmId, migrationId, signer } = subjectOf(statement);
    const before = await ownership.read(vmId);
    // What has ended needs no proof again.
    if (!isMove(before, 'retired', migrationId)) {
      const isVerdict = 'verdict' in statement;
      const boot = isVerdict && isMove(before, 'relinquished', migrationId) ? before.peerBoot : null;
      const unproven = await statements.problem(signer, isVerdict ? statement.verdict : statement.succession, statement.quote, boot);
      if (unproven) throw refuse('VERDICT_UNPROVEN', { host: signer, problem: unproven });
      const event: OwnershipEvent = isVerdict
        ? { type: 'learn-verdict', proven: { verdict: statement.verdict, proof: 'quote' } }
        : { type: 'learn-succession', proven: { succession: statement.succession, proof: 'quote' }, keptUntil: await keptUntil() };
      await ownership.apply(vmId, event);
    }
    const record = await ownership.read(vmId);
    if (mayRun(record)) return { state: await bringBack(vmId), epoch: record.epoch + 1 };
    await discard(vmId);
    return { state: 'retired', epoch: record.epoch + 1 };
  }

  /** Until when this host keeps what it gives up now to another host's word. */
  async function keptUntil(): Promise<string> {
    const { bundle } = await installedBundle();
    return new Date(clock.now() + bundle.parameters.yieldedKeptMs).toISOString();
  }

  return { decide, sign, settle, carryOut, discard, bringBack, withdrawOffer, withdrawOrRelinquish, keptUntil, settleHere, settleDestination, settleSource, resolveSource };
}

function isKept(record: OwnershipRecord, nowMs: number): boolean {
  return record.state === 'retired' && record.keptUntil !== null && nowMs < Date.parse(record.keptUntil);
}

function subjectOf(statement: VerdictStatement | SuccessionStatement): { readonly vmId: VmId; readonly migrationId: MigrationId; readonly signer: HostId } {
  if ('verdict' in statement) return { ...statement.verdict, signer: statement.verdict.destination };
  return { ...statement.succession, signer: statement.succession.hostId };
}
