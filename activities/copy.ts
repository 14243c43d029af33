/** Phases copy and stop-copy, on the source. The work is in outgoing-move.ts; here it meets Temporal. */
import { parseDocument } from '../domain/documents.js';
import { KororaError, failure, refuse } from '../domain/failures.js';
import type { RoundRecord } from '../domain/evidence.js';
import { NetworkAddress } from '../domain/ids.js';
import type { Order } from '../domain/order.js';
import { CopyLimits, type CopyProgress } from '../domain/progress.js';
import type { Hold } from '../domain/status.js';
import { admit } from './admission.js';
import { cancellable, reporting } from './edge.js';
import { type Handover, type OutgoingMove, createOutgoingMove } from './outgoing-move.js';
import type { HostServices } from './services.js';
import { appraisedPeer, secretsOf, sessionOf } from './session.js';
import type { Settlement } from './settle.js';

export interface MoveAddress {
  readonly order: Order;
  readonly address: NetworkAddress;
}

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
  async function copyMemory(request: MoveAddress): Promise<{ readonly rounds: readonly RoundRecord[] }> {
    const move = await moveOf(request);
    const progress = async (): Promise<CopyHeartbeat> => ({ progress: await move.progress() });
    await untilDone(move, () =>
      reporting(progress, async () => {
        await move.paused;
        await move.handedOver;
      }),
    );
    return { rounds: move.rounds.filter(Boolean).map(roundRecord) };
  }

  /**
   * Ends with the destination's verdict. DESTINATION_REJECTED: the VM runs here again. A CHANNEL_*
   * failure leaves the VM stopped and relinquished: only a proven verdict decides.
   */
  async function stopAndCopy(request: MoveAddress): Promise<Handover> {
    const move = await moveOf(request);
    const handover = await untilDone(move, () => move.finish());
    if (handover.verdict.verdict === 'accepted') return handover;
    await settlement.bringBack(request.order.vmId);
    throw refuse('DESTINATION_REJECTED', { reason: handover.verdict.reason ?? 'no reason given' });
  }

  /** NOT_COPYING where no copy runs here. */
  async function tuneCopy({ order, limits }: { readonly order: Order; readonly limits: CopyLimits }): Promise<void> {
    const next = parseDocument(CopyLimits, limits, 'LIMITS_INVALID');
    const move = sessions.find(order.migrationId)?.outgoing;
    if (!move) throw refuse('NOT_COPYING', { vm: order.vmId, phase: 'unknown here' });
    await move.setLimits(next);
  }

  /** Holds the copy or lets it go on, also one that has yet to open. NOT_COPYING where there is no move here, or the source is paused. */
  async function holdCopy({ order, isHeld }: { readonly order: Order; readonly isHeld: boolean }): Promise<Hold> {
    const session = sessions.find(order.migrationId);
    if (!session) throw refuse('NOT_COPYING', { vm: order.vmId, phase: 'unknown here' });
    session.isHeld = isHeld;
    return session.outgoing ? session.outgoing.followHold() : { isHeld, isCertain: true };
  }

  /** Joins the copy of this session, or makes it. */
  async function moveOf({ order: value, address }: MoveAddress): Promise<OutgoingMove> {
    const { order, orderDigest } = await admit(services, value, 'source');
    const session = sessionOf(sessions, order, 'source', orderDigest, hostId);
    const peer = appraisedPeer(session, hostId, 'copying memory');
    const secrets = secretsOf(session, hostId, 'copying memory');
    if (session.outgoing) return session.outgoing;
    const [installed, record] = await Promise.all([vms.read(order.vmId), ownership.read(order.vmId)]);
    if (!installed) throw refuse('VM_UNKNOWN', { vm: order.vmId });
    if (record.epoch + 1 !== secrets.epoch) throw new KororaError([failure('SESSION_LOST', { host: hostId })]);
    session.outgoing ??= createOutgoingMove(services, settlement, { session, vm: installed.vm, address: NetworkAddress.parse(address), peer, secrets });
    return session.outgoing;
  }

  function untilDone<T>(move: OutgoingMove, work: () => Promise<T>): Promise<T> {
    return cancellable(hostId, move.abort, work);
  }

  return { copyMemory, stopAndCopy, tuneCopy, holdCopy };
}

function roundRecord(p: CopyProgress): RoundRecord {
  const { round, sentBytes, remainingBytes, dirtyBytesPerSecond, throttlePercent } = p;
  return { round, sentBytes, remainingBytes, dirtyBytesPerSecond, throttlePercent, elapsedMs: Math.round(p.elapsedMs) };
}
