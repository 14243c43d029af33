/**
 * Receipts: once a move succeeded each host's AK signs what was done and what this host saw of it, so that others can check
 * it offline. After the VM runs; nothing waits for it.
 */
import { digestOf } from '../domain/canonical.js';
import { refuse } from '../domain/failures.js';
import type { DestinationTimings, RoundRecord, SourceTimings } from '../domain/evidence.js';
import type { Sha256Hex } from '../domain/ids.js';
import type { Receipt, ReceiptStatement, VerdictStatement } from '../domain/manifest.js';
import { type OwnershipRecord, settlementOf } from '../domain/ownership.js';
import { roundRecords } from './copy.js';
import type { HostServices } from './services.js';
import type { Session } from './session.js';
import type { HostInput, MoveKey } from './inputs.js';
import { createStatements } from './statements.js';

/** What a receipt's `observedDigest` is of. */
export type Observed =
  | {
      readonly role: 'source';
      readonly rounds: readonly RoundRecord[];
      readonly timings: SourceTimings | null;
      /** Digests of what operators said and it went by. */
      readonly approval: Sha256Hex | null;
      readonly limitsChanges: readonly Sha256Hex[];
    }
  | { readonly role: 'destination'; readonly timings: DestinationTimings | null };

export interface GivenReceipt {
  readonly statement: ReceiptStatement;
  readonly observed: Observed;
}

export function createReceipts(services: HostServices) {
  const { hostId, ownership, sessions } = services;
  const statements = createStatements(services);

  /** While its session is open: a host whose worker was restarted since gives none. SESSION_LOST; VERDICT_UNPROVEN, OWNERSHIP_REFUSED where the verdict did not end this move here. */
  async function giveReceipt({ move, statement }: HostInput<'giveReceipt'>): Promise<GivenReceipt> {
    const given = await sessions.inTurnOf(move.migrationId, (session) => receiptOf(session, move, statement));
    if (!given) throw refuse('SESSION_LOST', { host: hostId });
    return given;
  }

  async function receiptOf(session: Session, { migrationId, vmId }: MoveKey, { verdict, quote }: VerdictStatement): Promise<GivenReceipt> {
    const problem = await statements.problem(verdict.destination, verdict, quote, null);
    if (problem) throw refuse('VERDICT_UNPROVEN', { host: verdict.destination, problem });
    const record = await ownership.read(vmId);
    const isOfThisMove = verdict.verdict === 'accepted' && verdict.migrationId === migrationId && verdict.vmId === vmId;
    if (!isOfThisMove || !isEnded(record, session)) throw refuse('OWNERSHIP_REFUSED', { host: hostId, event: 'receipt', vm: vmId, state: record.state });
    const observed = await observedIn(session);
    const { role, orderDigest } = session;
    const receipt: Receipt = {
      protocol: 'korora/1', purpose: 'receipt', role, hostId, migrationId, vmId, epoch: verdict.epoch, orderDigest, verdictDigest: digestOf(verdict), observedDigest: digestOf(observed),
    };
    return { statement: { receipt, quote: await statements.sign(receipt) }, observed };
  }

  return { giveReceipt };
}

function isEnded(record: OwnershipRecord, { role, order: { migrationId } }: Session): boolean {
  if (role === 'destination') return settlementOf(record, migrationId)?.outcome === 'accepted';
  return record.state === 'retired' && record.migrationId === migrationId;
}

async function observedIn({ role, outgoing, acceptedAt, approval, limitsChanges }: Session): Promise<Observed> {
  if (role === 'destination') return { role, timings: acceptedAt };
  const handover = await outgoing?.finish().catch(() => null);
  return { role, rounds: outgoing ? roundRecords(outgoing) : [], timings: handover?.timings ?? null, approval: approval && digestOf(approval), limitsChanges: limitsChanges.map(digestOf) };
}
