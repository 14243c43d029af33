/** Phases copy and stop-copy, on the source. The work is in outgoing-move.ts; here it meets Temporal. */
import { refuse } from '../domain/failures.js';
import type { RoundRecord } from '../domain/evidence.js';
import { NetworkAddress } from '../domain/ids.js';
import { digestOf } from '../domain/canonical.js';
import { parseDocument } from '../domain/documents.js';
import type { Envelope } from '../domain/envelope.js';
import type { Approval } from '../domain/order.js';
import type { CopyProgress } from '../domain/progress.js';
import { hostIn } from '../domain/trust-bundle.js';
import type { Hold } from '../domain/status.js';
import { admit, admitWord } from './admission.js';
import { cancellable, reporting } from './edge.js';
import { type Handover, type OutgoingMove, createOutgoingMove } from './outgoing-move.js';
import type { HostServices } from './services.js';
import type { HostInput, MoveKey } from './inputs.js';
import { type Session, appraisedPeer, awaitsApproval, secretsOf } from './session.js';
import type { Settlement } from './settle.js';

/** What a heartbeat of copyMemory carries; clients read it from the pending activity. */
export interface CopyHeartbeat {
  readonly progress: CopyProgress | null;
}

export function createCopying(services: HostServices, settlement: Settlement) {
  const { hostId, sessions, ownership, vms } = services;

  /**
   * Ends when the source is paused and has sent everything: what Temporal does with the result would
   * take processor time from the pause. A failure or an abort before leaves the VM running here.
   */
  async function copyMemory(request: HostInput<'copyMemory'>): Promise<{ readonly rounds: readonly RoundRecord[] }> {
    const move = await moveOf(request);
    const progress = async (): Promise<CopyHeartbeat> => ({ progress: await move.progress() });
    await untilDone(move, () =>
      reporting(progress, async () => {
        await move.paused;
        await move.handedOver;
      }),
    );
    return { rounds: roundRecords(move) };
  }

  /**
   * Ends with the destination's verdict. DESTINATION_REJECTED: the VM runs here again. A CHANNEL_*
   * failure leaves the VM stopped and relinquished: only a proven verdict decides.
   */
  async function stopAndCopy(request: HostInput<'stopAndCopy'>): Promise<Handover> {
    const move = await moveOf(request);
    const handover = await untilDone(move, () => move.finish());
    if (handover.verdict.verdict === 'accepted') return handover;
    await settlement.bringBack(handover.verdict.vmId);
    throw refuse('DESTINATION_REJECTED', { reason: handover.verdict.reason ?? 'no reason given' });
  }

  /** The limits that an operator signed, who may order such a move. NOT_COPYING where no copy runs here. */
  async function tuneCopy({ move, change }: HostInput<'tuneCopy'>): Promise<void> {
    await ofCopy(move, async (session) => {
      if (!session.outgoing) throw refuse('NOT_COPYING', { vm: move.vmId, phase: 'unknown here' });
      const said = sameMove(await admitWord(services, 'korora/limits', change, session.order), session);
      await session.outgoing.setLimits(said.limits);
      const last = session.limitsChanges.at(-1);
      if (!last || digestOf(last) !== digestOf(said)) session.limitsChanges = [...session.limitsChanges, said];
      return true;
    });
  }

  async function ofCopy<T>({ migrationId, vmId }: MoveKey, work: (session: Session) => Promise<T>): Promise<T> {
    const done = await sessions.inTurnOf(migrationId, work);
    if (done === null) throw refuse('NOT_COPYING', { vm: vmId, phase: 'unknown here' });
    return done;
  }

  /**
   * Holds the copy or lets it go on, also one that has yet to open. It goes on in no case before the approval that its order asks
   * for; a hold beyond that is a courtesy to people, and asks for no signature. NOT_COPYING where there is no move here, or the source is paused.
   */
  async function holdCopy({ move, isHeld, approval }: HostInput<'holdCopy'>): Promise<Hold> {
    return ofCopy(move, async (session) => {
      if (approval) session.approval ??= await approvalFor(session, approval);
      session.isHeld = isHeld || awaitsApproval(session);
      return session.outgoing ? session.outgoing.followHold() : { isHeld: session.isHeld, isCertain: true };
    });
  }

  async function approvalFor(session: Session, value: Envelope): Promise<Approval> {
    const approval = sameMove(await admitWord(services, 'korora/approval', value, session.order), session);
    if (approval.orderDigest !== session.orderDigest) throw refuse('ORDER_INVALID', { problem: 'orderDigest: it approves another order' });
    const { bundle } = await services.installedBundle();
    if (bundle.parameters.approverMustDiffer && approval.by === session.order.by) throw refuse('APPROVER_IS_REQUESTER', { operator: approval.by, vm: approval.vmId });
    return approval;
  }

  /** Joins the copy of this session, or makes it. */
  async function moveOf({ order: envelope, port }: HostInput<'copyMemory'>): Promise<OutgoingMove> {
    const admitted = await admit(services, envelope, 'source');
    const { order, installed: { bundle } } = admitted;
    return sessions.inTurn(admitted, async (session) => {
      const peer = appraisedPeer(session, hostId, 'copying memory');
      const secrets = secretsOf(session, hostId, 'copying memory');
      if (session.outgoing) return session.outgoing;
      const [installed, record] = await Promise.all([vms.read(order.vmId), ownership.read(order.vmId)]);
      if (!installed) throw refuse('VM_UNKNOWN', { vm: order.vmId });
      if (record.epoch + 1 !== secrets.epoch) throw refuse('SESSION_LOST', { host: hostId });
      const { resetCount, restartCount, clock } = services.verifier.parseQuote(peer.evidence.quote, order.destination);
      // Nobody else says whom a host connects to.
      const address = addressOf(hostIn(bundle, order.destination).address, port);
      return (session.outgoing = createOutgoingMove(services, settlement, { session, vm: installed.vm, address, peer, peerBoot: { resetCount, restartCount, clock }, secrets }));
    });
  }

  function untilDone<T>(move: OutgoingMove, work: () => Promise<T>): Promise<T> {
    return cancellable(hostId, move.abort, work);
  }

  return { copyMemory, stopAndCopy, tuneCopy, holdCopy };
}

function addressOf({ host, port }: NetworkAddress, announced: number): NetworkAddress {
  return parseDocument(NetworkAddress, { host, port: port === 0 ? announced : port }, 'ORDER_INVALID');
}

function sameMove<T extends MoveKey>(document: T, { order }: Session): T {
  if (document.migrationId !== order.migrationId || document.vmId !== order.vmId) throw refuse('ORDER_INVALID', { problem: 'migrationId: it is of another move' });
  return document;
}

/** One that was too short to be seen is left out. */
export function roundRecords({ rounds }: Pick<OutgoingMove, 'rounds'>): RoundRecord[] {
  return rounds.filter(Boolean).map(roundRecord);
}

function roundRecord(p: CopyProgress): RoundRecord {
  const { round, sentBytes, remainingBytes, dirtyBytesPerSecond, throttlePercent } = p;
  return { round, sentBytes, remainingBytes, dirtyBytesPerSecond, throttlePercent, elapsedMs: Math.round(p.elapsedMs) };
}
