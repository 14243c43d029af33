/**
 * Who may run a VM: one record per VM and host, and one pure function over it. Hosts apply it and
 * persist the result before they act; tests explore it; nobody else decides (promise P5).
 *
 *   source:       owner(e) ─► offering(e,m) ─► relinquished(e,m) ─► retired(e,m)
 *                    ▲             │ withdraw        │ proven rejection of m
 *                    └─────────────┴─────────────────┘ or an operator's fence (then owner(e+2))
 *   destination:  none | retired ─► incoming(e+1,m) ─► owner(e+1)       accept: the point of no return
 *                                        └───────────► what it was before, m settled as rejected
 *   any host:     a proven claim of a later epoch elsewhere ends what it holds (a fenced host that comes back)
 *
 * Settlements are tombstones: a migration that was withdrawn, rejected or accepted here is never
 * taken up again at its epoch. They are kept while that is not below the one owned here; below it the
 * epoch itself refuses, since every event that takes a migration up names the epoch it would make. These states are this project's own design.
 */
import { z } from 'zod';
import { type Failure, failure } from './failures.js';
import { HostId, MigrationId, Sha256Hex, VmId, assertNever } from './ids.js';
import type { Claim, Verdict } from './manifest.js';

/** A migration that is decided here. `epoch` is the one it would have made or made. */
const Settlement = z.strictObject({
  migrationId: MigrationId,
  epoch: z.int().min(1),
  outcome: z.enum(['accepted', 'rejected', 'withdrawn', 'fenced']),
  /** Of the accepted image; null otherwise. */
  manifestDigest: Sha256Hex.nullable(),
  /** Why it was rejected; null otherwise. */
  reason: z.string().nullable(),
});
export type Settlement = Readonly<z.infer<typeof Settlement>>;

const common = {
  version: z.literal(2),
  vmId: VmId,
  hostId: HostId,
  /** Which of this host's generations it is of (host/ledger.ts); 0 before the first. */
  generation: z.int().min(0),
  settled: z.array(Settlement),
};
const move = { migrationId: MigrationId, peer: HostId };

export const OwnershipRecord = z.discriminatedUnion('state', [
  /** Nothing of this VM was ever owned here, or the last record of it was of `epoch`. */
  z.strictObject({ ...common, state: z.literal('none'), epoch: z.literal(0) }),
  z.strictObject({ ...common, state: z.literal('owner'), epoch: z.int().min(1) }),
  z.strictObject({ ...common, state: z.literal('offering'), epoch: z.int().min(1), ...move }),
  z.strictObject({ ...common, state: z.literal('relinquished'), epoch: z.int().min(1), ...move }),
  z.strictObject({ ...common, state: z.literal('retired'), epoch: z.int().min(1), ...move }),
  /** `epoch` is the one to come; `before` the retirement that stood here earlier, to return to. */
  z.strictObject({
    ...common,
    state: z.literal('incoming'),
    epoch: z.int().min(1),
    ...move,
    before: z.strictObject({ epoch: z.int().min(1), ...move }).nullable(),
  }),
]);
export type OwnershipRecord = Readonly<z.infer<typeof OwnershipRecord>>;
export type OwnershipState = OwnershipRecord['state'];

/** A verdict that the attested channel carried, or that the destination's AK signed. */
export interface ProvenVerdict {
  readonly verdict: Verdict;
  readonly proof: 'channel' | 'quote';
}

/** A claim that the AK of the claiming host signed. */
export interface ProvenClaim {
  readonly claim: Claim;
  readonly proof: 'quote';
}

export type OwnershipEvent =
  | { readonly type: 'create' }
  | { readonly type: 'offer'; readonly migrationId: MigrationId; readonly destination: HostId; readonly epoch: number }
  | { readonly type: 'withdraw'; readonly migrationId: MigrationId }
  | { readonly type: 'relinquish'; readonly migrationId: MigrationId }
  | { readonly type: 'learn-verdict'; readonly proven: ProvenVerdict }
  | { readonly type: 'learn-claim'; readonly proven: ProvenClaim }
  | { readonly type: 'fence'; readonly migrationId: MigrationId; readonly destination: HostId; readonly reason: string }
  | { readonly type: 'expect'; readonly migrationId: MigrationId; readonly source: HostId; readonly epoch: number }
  | { readonly type: 'accept'; readonly migrationId: MigrationId; readonly epoch: number; readonly manifestDigest: Sha256Hex }
  | { readonly type: 'reject'; readonly migrationId: MigrationId; readonly epoch: number; readonly reason: string };

export type Transition = { readonly ok: true; readonly record: OwnershipRecord } | { readonly ok: false; readonly failure: Failure };

export function noRecord(vmId: VmId, hostId: HostId): OwnershipRecord {
  return { version: 2, vmId, hostId, generation: 0, state: 'none', epoch: 0, settled: [] };
}

/** Whether the host of this record may let the VM's vCPUs run. */
export function mayRun(record: OwnershipRecord): boolean {
  return record.state === 'owner' || record.state === 'offering';
}

/**
 * Whether a record is the first of a new generation, after which those of before are never believed again: every one that gives
 * something up for others to have, or takes a VM that another host had. Not those of within a pause, which has no time for the TPM.
 */
export function startsGeneration(before: OwnershipRecord, after: OwnershipRecord): boolean {
  if (after.state === before.state) return false;
  if (after.state === 'owner') return before.state !== 'incoming' && after.epoch > before.epoch;
  return after.state === 'offering' || after.state === 'incoming' || after.state === 'retired';
}

/**
 * What this record says of one migration towards its host that would make `epoch`.
 *
 * A record that owned `epoch` or a later one answers `accepted` even where it no longer knows the
 * migration: a later epoch exists only because the owner of the one before relinquished it, and
 * that owner can wait for one migration only.
 */
export function decisionOn(record: OwnershipRecord, migrationId: MigrationId, epoch: number): 'accepted' | 'rejected' | 'undecided' {
  const settled = settlementOf(record, migrationId);
  if (settled?.epoch === epoch) return settled.outcome === 'accepted' ? 'accepted' : 'rejected';
  return epoch <= ownedEpoch(record) ? 'accepted' : 'undecided';
}

/** The highest epoch that was ever owned here. */
export function ownedEpoch(record: OwnershipRecord): number {
  return record.state === 'incoming' ? (record.before?.epoch ?? 0) : record.epoch;
}

export function settlementOf(record: OwnershipRecord, migrationId: MigrationId): Settlement | undefined {
  return record.settled.find((s) => s.migrationId === migrationId);
}

/**
 * The one rule. Applying an event twice gives the same record; an event that does not fit the
 * record is refused with OWNERSHIP_REFUSED and changes nothing.
 */
export function applyOwnershipEvent(record: OwnershipRecord, event: OwnershipEvent): Transition {
  switch (event.type) {
    case 'create':
      return record.state === 'none' && record.settled.length === 0 ? become(record, { state: 'owner', epoch: 1 }) : no(record, event);
    case 'offer':
      return offer(record, event);
    case 'withdraw':
      return withdraw(record, event);
    case 'relinquish':
      if (isMove(record, 'relinquished', event.migrationId)) return same(record);
      if (!isMove(record, 'offering', event.migrationId)) return no(record, event);
      return become(record, { state: 'relinquished', epoch: record.epoch, migrationId: record.migrationId, peer: record.peer });
    case 'learn-verdict':
      return learnVerdict(record, event);
    case 'learn-claim':
      return learnClaim(record, event);
    case 'fence':
      return fence(record, event);
    case 'expect':
      return expect(record, event);
    case 'accept':
      return accept(record, event);
    case 'reject':
      return reject(record, event);
    default:
      return assertNever(event);
  }
}

type EventOf<T extends OwnershipEvent['type']> = Extract<OwnershipEvent, { type: T }>;
type RecordIn<S extends OwnershipState> = Extract<OwnershipRecord, { state: S }>;
type StateFields = OwnershipRecord extends infer R ? (R extends OwnershipRecord ? Omit<R, keyof typeof common> : never) : never;

function offer(record: OwnershipRecord, event: EventOf<'offer'>): Transition {
  if (isMove(record, 'offering', event.migrationId) && record.peer === event.destination) return same(record);
  if (record.state !== 'owner' || event.epoch !== record.epoch + 1 || settlementOf(record, event.migrationId)) return no(record, event);
  return become(record, { state: 'offering', epoch: record.epoch, migrationId: event.migrationId, peer: event.destination });
}

/** Ensures that an offer is off. Settles a migration that was never offered, too, so that a late offer fails. */
function withdraw(record: OwnershipRecord, event: EventOf<'withdraw'>): Transition {
  const settled = settlementOf(record, event.migrationId);
  if (record.state === 'owner') {
    if (settled) return settled.outcome === 'accepted' ? no(record, event) : same(record);
    return become(record, { state: 'owner', epoch: record.epoch }, settlement(event.migrationId, record.epoch + 1, 'withdrawn'));
  }
  if (!isMove(record, 'offering', event.migrationId)) return no(record, event);
  return become(record, { state: 'owner', epoch: record.epoch }, settlement(event.migrationId, record.epoch + 1, 'withdrawn'));
}

function learnVerdict(record: OwnershipRecord, event: EventOf<'learn-verdict'>): Transition {
  const { verdict } = event.proven;
  if (verdict.vmId !== record.vmId) return no(record, event);
  if (verdict.verdict === 'accepted') {
    if (isMove(record, 'retired', verdict.migrationId)) return same(record);
    if (!isMove(record, 'relinquished', verdict.migrationId) || !fits(record, verdict)) return no(record, event);
    return become(record, { state: 'retired', epoch: record.epoch, migrationId: record.migrationId, peer: record.peer });
  }
  if (record.state === 'owner' && settlementOf(record, verdict.migrationId)?.outcome === 'rejected') return same(record);
  if (!isMove(record, 'relinquished', verdict.migrationId) || !fits(record, verdict)) return no(record, event);
  return become(record, { state: 'owner', epoch: record.epoch }, settlement(verdict.migrationId, verdict.epoch, 'rejected', { reason: verdict.reason }));
}

/**
 * Another host owns a later epoch: what this one holds of an earlier is over. To a host that relinquished, an owner of
 * the epoch to come that is its peer, or of any later one, proves that the peer accepted.
 */
function learnClaim(record: OwnershipRecord, event: EventOf<'learn-claim'>): Transition {
  const { claim } = event.proven;
  if (claim.vmId !== record.vmId || claim.hostId === record.hostId || claim.epoch <= record.epoch) return no(record, event);
  switch (record.state) {
    case 'none':
    case 'retired':
      return same(record);
    case 'owner':
    case 'offering':
      return become(record, { state: 'retired', epoch: record.epoch, migrationId: claim.migrationId, peer: claim.hostId });
    case 'relinquished':
      if (claim.epoch === record.epoch + 1 && claim.hostId !== record.peer) return no(record, event);
      return become(record, { state: 'retired', epoch: record.epoch, migrationId: record.migrationId, peer: record.peer });
    case 'incoming':
      return reject(record, { type: 'reject', migrationId: record.migrationId, epoch: record.epoch, reason: `${claim.hostId} owns epoch ${claim.epoch}` });
    default:
      return assertNever(record);
  }
}

/** The destination is known to be off for good: the source takes the VM back above any epoch the destination can hold. */
function fence(record: OwnershipRecord, event: EventOf<'fence'>): Transition {
  if (record.state === 'owner' && settlementOf(record, event.migrationId)?.outcome === 'fenced') return same(record);
  if (!isMove(record, 'relinquished', event.migrationId) || record.peer !== event.destination) return no(record, event);
  const epoch = record.epoch + 2;
  return become(record, { state: 'owner', epoch }, settlement(event.migrationId, epoch, 'fenced', { reason: event.reason }));
}

function expect(record: OwnershipRecord, event: EventOf<'expect'>): Transition {
  if (isMove(record, 'incoming', event.migrationId) && record.epoch === event.epoch && record.peer === event.source) return same(record);
  if (record.state !== 'none' && record.state !== 'retired') return no(record, event);
  if (settlementOf(record, event.migrationId) || event.epoch <= record.epoch) return no(record, event);
  const before = record.state === 'retired' ? { epoch: record.epoch, migrationId: record.migrationId, peer: record.peer } : null;
  if (before?.migrationId === event.migrationId) return no(record, event);
  return become(record, { state: 'incoming', epoch: event.epoch, migrationId: event.migrationId, peer: event.source, before });
}

function accept(record: OwnershipRecord, event: EventOf<'accept'>): Transition {
  const settled = settlementOf(record, event.migrationId);
  if (settled) return settled.outcome === 'accepted' && settled.manifestDigest === event.manifestDigest ? same(record) : no(record, event);
  if (!isMove(record, 'incoming', event.migrationId) || record.epoch !== event.epoch) return no(record, event);
  return become(record, { state: 'owner', epoch: record.epoch }, settlement(event.migrationId, record.epoch, 'accepted', { manifestDigest: event.manifestDigest }));
}

/**
 * Ensures that a migration is never accepted here; one that never arrived is settled, too. Refused
 * where its epoch was owned here: then `decisionOn` is the answer.
 */
function reject(record: OwnershipRecord, event: EventOf<'reject'>): Transition {
  const settled = settlementOf(record, event.migrationId);
  if (settled?.outcome === 'accepted') return no(record, event);
  if (settled?.epoch === event.epoch) return same(record);
  if (event.epoch <= ownedEpoch(record) || isGivenAway(record, event.migrationId)) return no(record, event);
  const tombstone = settlement(event.migrationId, event.epoch, 'rejected', { reason: event.reason });
  if (!isMove(record, 'incoming', event.migrationId)) return { ok: true, record: withSettlement(record, tombstone) };
  if (record.epoch !== event.epoch) return no(record, event);
  if (record.before) return become(record, { state: 'retired', ...record.before }, tombstone);
  return become(record, { state: 'none', epoch: 0 }, tombstone);
}

function isMove<S extends 'offering' | 'relinquished' | 'retired' | 'incoming'>(
  record: OwnershipRecord,
  state: S,
  migrationId: MigrationId,
): record is RecordIn<S> {
  return record.state === state && record.migrationId === migrationId;
}

/** A host's own outgoing move is not for it to reject. */
function isGivenAway(record: OwnershipRecord, migrationId: MigrationId): boolean {
  return record.state !== 'incoming' && 'migrationId' in record && record.migrationId === migrationId;
}

function fits(record: RecordIn<'relinquished'>, verdict: Verdict): boolean {
  return verdict.epoch === record.epoch + 1 && verdict.destination === record.peer;
}

function settlement(
  migrationId: MigrationId,
  epoch: number,
  outcome: Settlement['outcome'],
  detail: { readonly manifestDigest?: Sha256Hex; readonly reason?: string | null } = {},
): Settlement {
  return { migrationId, epoch, outcome, manifestDigest: detail.manifestDigest ?? null, reason: detail.reason ?? null };
}

function become(record: OwnershipRecord, next: StateFields, settled?: Settlement): Transition {
  const { version, vmId, hostId, generation } = record;
  const all = settled ? [...record.settled, settled] : record.settled;
  const reached = { version, vmId, hostId, generation, settled: all, ...next } as OwnershipRecord;
  // An epoch that is only awaited may never come: what was settled below it must still refuse then.
  return { ok: true, record: { ...reached, settled: all.filter((s) => s.epoch >= ownedEpoch(reached)) } };
}

function withSettlement(record: OwnershipRecord, settled: Settlement): OwnershipRecord {
  return { ...record, settled: [...record.settled.filter((s) => s.migrationId !== settled.migrationId), settled] };
}

function same(record: OwnershipRecord): Transition {
  return { ok: true, record };
}

function no(record: OwnershipRecord, event: OwnershipEvent): Transition {
  const state = 'migrationId' in record ? `${record.state} (epoch ${record.epoch}, move ${record.migrationId}, peer ${record.peer})` : `${record.state} (epoch ${record.epoch})`;
  return { ok: false, failure: failure('OWNERSHIP_REFUSED', { host: record.hostId, event: event.type, vm: record.vmId, state }) };
}
