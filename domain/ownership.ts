/**
 * Who may run a VM: one record per VM and host, and one pure function over it. Hosts apply it and
 * persist the result before they act; tests explore it; nobody else decides (promise P5).
 *
 *   source:       owner(e) ─► offering(e,m) ─► relinquished(e,m) ─► retired(e,m)
 *                    ▲             │ withdraw        │ proven rejection of m
 *                    └─────────────┴─────────────────┘ or an operator's fence (then owner(e+2))
 *   destination:  none | retired ─► incoming(e+1,m) ─► owner(e+1)       accept: the point of no return
 *                                        └───────────► what it was before, m settled as rejected
 *   any host:     owner | offering ─► retired     by a claim that shows an operator's fence of this very host and move; where the
 *                                                 host is in doubt about its records, by one that shows the order by which the VM went
 *
 * Settlements are tombstones: a migration that was withdrawn, rejected or accepted here is never
 * taken up again, and none takes the place of another. Of a migration that the record does not hold there is one only where a signed
 * order shows it. They are kept while their epoch is not below the one owned here; below it the
 * epoch itself refuses, since every event that takes a migration up names the epoch it would make.
 */
import type { TpmBoot } from './attestation.js';
import { digestOf } from './canonical.js';
import type { Envelope } from './envelope.js';
import { type Failure, failure } from './failures.js';
import { type HostId, type MigrationId, assertNever } from './ids.js';
import type { Claim, Manifest, Succession, Verdict } from './manifest.js';
import type { Fence, Order } from './order.js';
import { type OwnershipRecord, type RecordIn, type Settlement, type StateFields, isMove, ownedEpoch, settlementOf } from './ownership-record.js';

export * from './ownership-record.js';

/** A verdict that the attested channel carried, or that the destination's AK signed in the state and the boot that were attested. */
export interface ProvenVerdict {
  readonly verdict: Verdict;
  readonly proof: 'channel' | 'quote';
}

/** What an active host signed, in a state that meets the reference values. */
export interface ProvenSuccession {
  readonly succession: Succession;
  readonly proof: 'quote';
}

/** As ProvenSuccession, with what an operator signed that makes it true. */
export interface ProvenClaim {
  readonly claim: Claim;
  readonly authority: Fence | Order;
  readonly proof: 'quote';
}

/** A migration as a signed order shows it; `epoch` is the one it would make, `now` the time at this host. */
export interface ShownOrder {
  readonly epoch: number;
  readonly notAfter: string;
  readonly now: string;
}

export type OwnershipEvent =
  | { readonly type: 'create' }
  | { readonly type: 'offer'; readonly migrationId: MigrationId; readonly destination: HostId; readonly epoch: number; readonly order: Envelope; readonly peerBoot: TpmBoot }
  /** `shown`: null where only a migration that the record holds is to end. */
  | { readonly type: 'withdraw'; readonly migrationId: MigrationId; readonly shown: ShownOrder | null }
  | { readonly type: 'relinquish'; readonly migrationId: MigrationId }
  | { readonly type: 'learn-verdict'; readonly proven: ProvenVerdict }
  | { readonly type: 'learn-succession'; readonly proven: ProvenSuccession; readonly keptUntil: string }
  | { readonly type: 'learn-claim'; readonly proven: ProvenClaim; readonly keptUntil: string }
  | { readonly type: 'fence'; readonly migrationId: MigrationId; readonly destination: HostId; readonly reason: string; readonly fence: Envelope }
  | { readonly type: 'expect'; readonly migrationId: MigrationId; readonly source: HostId; readonly epoch: number; readonly order: Envelope }
  | { readonly type: 'accept'; readonly migrationId: MigrationId; readonly epoch: number; readonly manifest: Manifest }
  /** `shown` as of withdraw. */
  | { readonly type: 'reject'; readonly migrationId: MigrationId; readonly epoch: number; readonly reason: string; readonly shown: ShownOrder | null };

export type Transition = { readonly ok: true; readonly record: OwnershipRecord } | { readonly ok: false; readonly failure: Failure };

/** How many migrations that were never taken up a record remembers; more have to wait until the orders of some have ended. */
export const TOMBSTONES_MAX = 256;
/** How many settlements of earlier epochs it keeps, by which it can show how it came to own them. */
const AUTHORITIES_KEPT = 16;

/**
 * The one rule. Applying an event twice gives the same record; an event that does not fit the
 * record is refused with OWNERSHIP_REFUSED and changes nothing. `isInDoubt`: this may not be the last record that the host wrote.
 */
export function applyOwnershipEvent(record: OwnershipRecord, event: OwnershipEvent, isInDoubt = false): Transition {
  switch (event.type) {
    case 'create':
      return record.state === 'none' ? become(record, { state: 'owner', epoch: 1 }) : no(record, event);
    case 'offer':
      return offer(record, event);
    case 'withdraw':
      return withdraw(record, event);
    case 'relinquish':
      if (isMove(record, 'relinquished', event.migrationId)) return same(record);
      return isMove(record, 'offering', event.migrationId) ? become(record, { ...outgoingOf(record), state: 'relinquished' }) : no(record, event);
    case 'learn-verdict':
      return learnVerdict(record, event);
    case 'learn-succession':
      return learnSuccession(record, event);
    case 'learn-claim':
      return learnClaim(record, event, isInDoubt);
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

function offer(record: OwnershipRecord, event: EventOf<'offer'>): Transition {
  const { migrationId, destination: peer, order, peerBoot } = event;
  if (isMove(record, 'offering', migrationId) && record.peer === peer) return same(record);
  if (record.state !== 'owner' || event.epoch !== record.epoch + 1 || settlementOf(record, migrationId)) return no(record, event);
  return become(record, { state: 'offering', epoch: record.epoch, migrationId, peer, order, peerBoot });
}

/** Ensures that an offer is off. Settles a migration that was never offered, too, so that a late offer fails. */
function withdraw(record: OwnershipRecord, event: EventOf<'withdraw'>): Transition {
  const { migrationId, shown } = event;
  const settled = settlementOf(record, migrationId);
  if (settled) return settled.outcome === 'accepted' ? no(record, event) : same(record);
  if (isMove(record, 'offering', migrationId)) return become(record, { state: 'owner', epoch: record.epoch }, settlement(migrationId, record.epoch + 1, 'withdrawn'));
  if (holds(record, migrationId)) return no(record, event);
  if (shown && shown.epoch <= ownedEpoch(record)) return same(record);
  return entomb(record, event, shown, 'withdrawn');
}

function learnVerdict(record: OwnershipRecord, event: EventOf<'learn-verdict'>): Transition {
  const { verdict } = event.proven;
  if (verdict.vmId !== record.vmId) return no(record, event);
  if (verdict.verdict === 'accepted') {
    if (isMove(record, 'retired', verdict.migrationId)) return same(record);
    if (!isMove(record, 'relinquished', verdict.migrationId) || !fits(record, verdict)) return no(record, event);
    return retire(record, null, record);
  }
  if (record.state === 'owner' && settlementOf(record, verdict.migrationId)?.outcome === 'rejected') return same(record);
  if (!isMove(record, 'relinquished', verdict.migrationId) || !fits(record, verdict)) return no(record, event);
  return become(record, { state: 'owner', epoch: record.epoch }, settlement(verdict.migrationId, verdict.epoch, 'rejected', { reason: verdict.reason }));
}

/** Its peer owned the epoch to come, or a later one: so it accepted, which no longer stands in its record. */
function learnSuccession(record: OwnershipRecord, event: EventOf<'learn-succession'>): Transition {
  const { succession } = event.proven;
  if (succession.vmId !== record.vmId) return no(record, event);
  if (isMove(record, 'retired', succession.migrationId)) return same(record);
  const isOfPeer = isMove(record, 'relinquished', succession.migrationId) && record.peer === succession.hostId && succession.ownedEpoch > record.epoch;
  return isOfPeer ? retire(record, event.keptUntil, record) : no(record, event);
}

/**
 * Another host owned a later epoch. What a record that is the last one holds ends by a fence alone, which names this host and the move by which it came
 * to own; that host then was the source of that move. A record that may not be the last one gives way to the order by which the VM went.
 */
function learnClaim(record: OwnershipRecord, event: EventOf<'learn-claim'>, isInDoubt: boolean): Transition {
  const { claim, authority } = event.proven;
  const { migrationId, hostId, epoch } = claim;
  const isAboutIt = claim.vmId === record.vmId && authority.vmId === record.vmId && authority.migrationId === migrationId && hostId !== record.hostId && epoch > record.epoch;
  if (!isAboutIt) return no(record, event);
  if (record.state === 'none' || record.state === 'retired') return same(record);
  if (authority.kind === 'korora/fence') {
    if (authority.host !== record.hostId) return no(record, event);
    if (isMove(record, 'incoming', migrationId)) {
      const shown = { migrationId, epoch: record.epoch, reason: `${hostId} took the VM back: ${authority.reason}`, shown: null };
      return record.peer === hostId ? reject(record, { type: 'reject', ...shown }) : no(record, event);
    }
    const cameBy = settlementOf(record, migrationId);
    const isFenced = (record.state === 'owner' || record.state === 'offering') && cameBy?.outcome === 'accepted' && cameBy.epoch === record.epoch && cameBy.peer === hostId && epoch === record.epoch + 1;
    return isFenced ? retire(record, event.keptUntil, { migrationId, peer: hostId }) : no(record, event);
  }
  const isGiven = authority.source === record.hostId && authority.destination === hostId && authority.epoch + 1 === epoch;
  if (!isGiven) return no(record, event);
  if (isMove(record, 'relinquished', migrationId)) return record.peer === hostId && epoch === record.epoch + 1 ? retire(record, event.keptUntil, record) : no(record, event);
  const mayBeOld = isInDoubt && record.state !== 'incoming' && !settlementOf(record, migrationId);
  return mayBeOld ? retire(record, event.keptUntil, { migrationId, peer: hostId }) : no(record, event);
}

/** The destination is known to be off for good: the source takes the VM back above any epoch the destination can hold. */
function fence(record: OwnershipRecord, event: EventOf<'fence'>): Transition {
  if (record.state === 'owner' && settlementOf(record, event.migrationId)?.outcome === 'fenced') return same(record);
  if (!isMove(record, 'relinquished', event.migrationId) || record.peer !== event.destination) return no(record, event);
  const epoch = record.epoch + 2;
  return become(record, { state: 'owner', epoch }, settlement(event.migrationId, epoch, 'fenced', { reason: event.reason, peer: record.peer, authority: event.fence }));
}

function expect(record: OwnershipRecord, event: EventOf<'expect'>): Transition {
  const { migrationId, source: peer, epoch, order } = event;
  if (isMove(record, 'incoming', migrationId) && record.epoch === epoch && record.peer === peer) return same(record);
  if (record.state !== 'none' && record.state !== 'retired') return no(record, event);
  if (settlementOf(record, migrationId) || epoch <= record.epoch) return no(record, event);
  const before = record.state === 'retired' ? { epoch: record.epoch, migrationId: record.migrationId, peer: record.peer } : null;
  if (before?.migrationId === migrationId) return no(record, event);
  return become(record, { state: 'incoming', epoch, migrationId, peer, order, before });
}

function accept(record: OwnershipRecord, event: EventOf<'accept'>): Transition {
  const { migrationId, manifest } = event;
  const settled = settlementOf(record, migrationId);
  if (settled) return settled.manifest && digestOf(settled.manifest) === digestOf(manifest) ? same(record) : no(record, event);
  if (!isMove(record, 'incoming', migrationId) || record.epoch !== event.epoch) return no(record, event);
  return become(record, { state: 'owner', epoch: record.epoch }, settlement(migrationId, record.epoch, 'accepted', { manifest, peer: record.peer, authority: record.order }));
}

/**
 * Ensures that a migration is never accepted here; one that never arrived is settled, too. Refused
 * where its epoch was owned here: then `decisionOn` is the answer.
 */
function reject(record: OwnershipRecord, event: EventOf<'reject'>): Transition {
  const { migrationId, epoch, reason, shown } = event;
  const settled = settlementOf(record, migrationId);
  if (settled) return settled.outcome === 'accepted' ? no(record, event) : same(record);
  if (isMove(record, 'incoming', migrationId)) {
    if (record.epoch !== epoch) return no(record, event);
    const before: StateFields = record.before ? { state: 'retired', ...record.before, keptUntil: null } : { state: 'none', epoch: 0 };
    return become(record, before, settlement(migrationId, epoch, 'rejected', { reason }));
  }
  // A host's own outgoing move is not for it to reject.
  if (epoch <= ownedEpoch(record) || holds(record, migrationId) || shown?.epoch !== epoch) return no(record, event);
  return entomb(record, event, shown, 'rejected', reason);
}

/** A settlement of a migration that the record does not hold. */
function entomb(record: OwnershipRecord, event: EventOf<'withdraw' | 'reject'>, shown: ShownOrder | null, outcome: 'withdrawn' | 'rejected', reason: string | null = null): Transition {
  if (!shown) return no(record, event);
  const { epoch, notAfter, now } = shown;
  const kept = record.settled.filter((s) => s.notAfter === null || Date.parse(s.notAfter) >= Date.parse(now));
  if (kept.filter((s) => s.notAfter !== null).length >= TOMBSTONES_MAX) return no(record, event);
  return { ok: true, record: { ...record, settled: [...kept, settlement(event.migrationId, epoch, outcome, { reason, notAfter })] } };
}

function holds(record: OwnershipRecord, migrationId: MigrationId): boolean {
  return 'migrationId' in record && record.migrationId === migrationId;
}

function fits(record: RecordIn<'relinquished'>, verdict: Verdict): boolean {
  return verdict.epoch === record.epoch + 1 && verdict.destination === record.peer;
}

function outgoingOf({ epoch, migrationId, peer, order, peerBoot }: RecordIn<'offering' | 'relinquished'>) {
  return { epoch, migrationId, peer, order, peerBoot };
}

function retire(record: OwnershipRecord, keptUntil: string | null, by: { readonly migrationId: MigrationId; readonly peer: HostId }): Transition {
  return become(record, { state: 'retired', epoch: record.epoch, migrationId: by.migrationId, peer: by.peer, keptUntil });
}

function settlement(migrationId: MigrationId, epoch: number, outcome: Settlement['outcome'], detail: Partial<Settlement> = {}): Settlement {
  return { manifest: null, reason: null, peer: null, authority: null, notAfter: null, ...detail, migrationId, epoch, outcome };
}

function become(record: OwnershipRecord, next: StateFields, settled?: Settlement): Transition {
  const { version, vmId, hostId, generation } = record;
  const all = settled ? [...record.settled, settled] : record.settled;
  const reached = { version, vmId, hostId, generation, settled: all, ...next } as OwnershipRecord;
  // An epoch that is only awaited may never come: what was settled below it must still refuse then.
  const isCurrent = (s: Settlement) => s.epoch >= ownedEpoch(reached);
  const earlier = all.filter((s) => !isCurrent(s) && s.authority !== null).slice(-AUTHORITIES_KEPT);
  return { ok: true, record: { ...reached, settled: all.filter((s) => isCurrent(s) || earlier.includes(s)) } };
}

function same(record: OwnershipRecord): Transition {
  return { ok: true, record };
}

function no(record: OwnershipRecord, event: OwnershipEvent): Transition {
  const state = 'migrationId' in record ? `${record.state} (epoch ${record.epoch}, move ${record.migrationId}, peer ${record.peer})` : `${record.state} (epoch ${record.epoch})`;
  return { ok: false, failure: failure('OWNERSHIP_REFUSED', { host: record.hostId, event: event.type, vm: record.vmId, state }) };
}
