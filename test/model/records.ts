/**
 * Ownership records and events as small numbers, so that a world of the exploration is a short string. What becomes of a
 * record is asked of the real domain/ownership.ts, once for each pair of record and event; nothing of it is modelled here.
 */
import { digestOf } from '../../domain/canonical.js';
import { HostId, type MigrationId } from '../../domain/ids.js';
import { Claim, Succession, Verdict } from '../../domain/manifest.js';
import {
  type OwnershipEvent, type OwnershipRecord, type Transition, decisionOn, mayRun, noRecord, ownedEpoch, settlementOf,
} from '../../domain/ownership.js';
import { PEER_BOOT, SIGNED_FENCE, SIGNED_ORDER, VM, fenceOf, manifestOf, migrationId, orderOf } from '../support/documents.js';

/** Hosts are 0, 1, 2 in a world. */
export const HOSTS = ['host-a', 'host-b', 'host-c'].map((name) => HostId.parse(name));
/** Epochs go from 1 to this; an owner whose next move and its fence could lead past it begins none. */
export const LAST_EPOCH = 6;

export interface Move {
  readonly from: number;
  readonly to: number;
}

export type Apply = (record: OwnershipRecord, event: OwnershipEvent) => Transition;

/** What the exploration needs to know of one record. */
export interface Fact {
  readonly record: OwnershipRecord;
  readonly state: OwnershipRecord['state'];
  readonly epoch: number;
  /** Index of the move that the state names; -1 where it names none. */
  readonly move: number;
  readonly mayRun: boolean;
  readonly ownedEpoch: number;
  /** By move. */
  readonly isSettled: readonly boolean[];
}

const REFUSED = -1;
const UNKNOWN = -2;
const stranger = HostId.parse('host-x');

const IDS = [1, 2, 3].map(migrationId);
const KEPT = '2030-01-08T00:00:00Z';
const shown = (epoch: number) => ({ epoch, notAfter: '2030-01-01T00:00:00Z', now: '2029-01-01T00:00:00Z' });
export const idOf = (move: number): MigrationId => IDS[move] as MigrationId;
const imageOf = (move: number, epoch: number) => manifestOf({ migrationId: idOf(move), epoch });

export class Records {
  readonly lastEpoch = LAST_EPOCH;
  readonly facts: Fact[] = [];
  readonly events: OwnershipEvent[] = [];
  private readonly numbers = new Map<string, number>();
  private readonly decisions: ReturnType<typeof decisionOn>[][] = [];
  private readonly transitions: number[][] = [];

  constructor(
    private readonly moves: readonly Move[],
    private readonly apply: Apply,
  ) {}

  none(host: number): number {
    return this.numberOf(noRecord(VM, hostAt(host)));
  }

  /** Null where the event is refused. */
  after(record: number, event: number): number | null {
    const row = (this.transitions[record] ??= []);
    let next = row[event] ?? UNKNOWN;
    if (next === UNKNOWN) {
      const transition = this.apply(this.factOf(record).record, this.events[event] as OwnershipEvent);
      next = transition.ok ? this.numberOf(transition.record) : REFUSED;
      row[event] = next;
    }
    return next === REFUSED ? null : next;
  }

  /** The record that a relinquished one took the place of, which is of the same generation. */
  offered({ record }: Fact): number {
    return this.numberOf({ ...record, state: 'offering' } as OwnershipRecord);
  }

  factOf(record: number): Fact {
    return this.facts[record] as Fact;
  }

  decision(record: number, move: number, epoch: number): ReturnType<typeof decisionOn> {
    const row = (this.decisions[record] ??= []);
    return (row[move * (LAST_EPOCH + 2) + epoch] ??= decisionOn(this.factOf(record).record, idOf(move), epoch));
  }

  /** The epoch that the record came to own by this move, as its destination or by a fence of that; null for none. */
  wonBy(fact: Fact, move: number, outcome: 'accepted' | 'fenced'): number | null {
    const settled = settlementOf(fact.record, idOf(move));
    return settled?.outcome === outcome ? settled.epoch : null;
  }

  settlement(fact: Fact, move: number): { readonly epoch: number; readonly isAccepted: boolean } | null {
    const settled = settlementOf(fact.record, idOf(move));
    return settled ? { epoch: settled.epoch, isAccepted: settled.outcome === 'accepted' } : null;
  }

  /** Null where the event rejects nothing. */
  rejectedBy(event: number): { readonly move: number; readonly epoch: number } | null {
    const what = this.events[event];
    return what?.type === 'reject' ? { move: this.moves.findIndex((_, m) => idOf(m) === what.migrationId), epoch: what.epoch } : null;
  }

  /** The move that the event accepts; null for none. */
  acceptedBy(event: number): number | null {
    const what = this.events[event];
    return what?.type === 'accept' ? this.moves.findIndex((_, m) => idOf(m) === what.migrationId) : null;
  }

  readonly create = (): number => this.event(0, () => ({ type: 'create' }));
  readonly offer = (m: number, epoch: number): number => this.event(place(1, m, epoch), () => ({ type: 'offer', migrationId: idOf(m), destination: hostAt(this.move(m).to), epoch, order: SIGNED_ORDER, peerBoot: PEER_BOOT }));
  /** `epoch`: that the order of the move names, were it good. */
  readonly withdraw = (m: number, epoch: number): number => this.event(place(2, m, epoch), () => ({ type: 'withdraw', migrationId: idOf(m), shown: shown(epoch) }));
  readonly relinquish = (m: number): number => this.event(place(3, m, 0), () => ({ type: 'relinquish', migrationId: idOf(m) }));
  readonly fence = (m: number): number => this.event(place(4, m, 0), () => ({ type: 'fence', migrationId: idOf(m), destination: hostAt(this.move(m).to), reason: 'it is off', fence: SIGNED_FENCE }));
  /** A host that the move does not name is off, truly. */
  readonly strangersFence = (m: number): number => this.event(place(4, m, 1), () => ({ type: 'fence', migrationId: idOf(m), destination: stranger, reason: 'it is off', fence: SIGNED_FENCE }));
  readonly expect = (m: number, epoch: number): number => this.event(place(5, m, epoch), () => ({ type: 'expect', migrationId: idOf(m), source: hostAt(this.move(m).from), epoch, order: SIGNED_ORDER }));
  readonly accept = (m: number, epoch: number): number => this.event(place(6, m, epoch), () => ({ type: 'accept', migrationId: idOf(m), epoch, manifest: imageOf(m, epoch) }));
  readonly reject = (m: number, epoch: number): number => this.event(place(7, m, epoch), () => ({ type: 'reject', migrationId: idOf(m), epoch, reason: 'a reason', shown: shown(epoch) }));
  readonly verdict = (m: number, epoch: number, verdict: 'accepted' | 'rejected'): number =>
    this.event(place(verdict === 'accepted' ? 8 : 9, m, epoch), () => verdictEvent(m, epoch, verdict, hostAt(this.move(m).to)));
  /** A host that the move does not name was asked, and says truly that it never accepted. */
  readonly strangersVerdict = (m: number, epoch: number): number => this.event(place(10, m, epoch), () => verdictEvent(m, epoch, 'rejected', stranger));
  /** The destination owned a later epoch, and no longer knows the move. */
  readonly succession = (m: number, owned: number): number =>
    this.event(place(11, m, owned), () => ({
      type: 'learn-succession', keptUntil: KEPT, proven: { proof: 'quote', succession: Succession.parse({ protocol: 'korora/1', purpose: 'succession', vmId: VM, hostId: hostAt(this.move(m).to), migrationId: idOf(m), ownedEpoch: owned }) },
    }));
  /** The source of the move took the VM back by a fence of its destination. */
  readonly fenceClaim = (m: number, epoch: number): number => this.event(place(12, m, epoch), () => this.claimEvent(m, epoch, hostAt(this.move(m).from), 'fence'));
  /** The destination of the move accepted it. */
  readonly orderClaim = (m: number, epoch: number): number => this.event(place(13, m, epoch), () => this.claimEvent(m, epoch, hostAt(this.move(m).to), 'order'));
  /** A host that the move does not name claims what it brought, and shows a fence and an order that are genuine. */
  readonly strangersFenceClaim = (m: number, epoch: number): number => this.event(place(14, m, epoch), () => this.claimEvent(m, epoch, stranger, 'fence'));
  readonly strangersOrderClaim = (m: number, epoch: number): number => this.event(place(15, m, epoch), () => this.claimEvent(m, epoch, stranger, 'order'));

  private claimEvent(m: number, epoch: number, hostId: HostId, by: 'fence' | 'order'): OwnershipEvent {
    const { from, to } = this.move(m);
    const claim = Claim.parse({ protocol: 'korora/1', purpose: 'claim', vmId: VM, hostId, epoch, migrationId: idOf(m) });
    const authority = by === 'fence' ? fenceOf({ migrationId: idOf(m), host: hostAt(to) }) : orderOf({ migrationId: idOf(m), epoch: epoch - 1, source: hostAt(from), destination: hostAt(to) });
    return { type: 'learn-claim', keptUntil: KEPT, proven: { proof: 'quote', claim, authority } };
  }

  private move(m: number): Move {
    return this.moves[m] as Move;
  }

  private event(at: number, make: () => OwnershipEvent): number {
    this.events[at] ??= make();
    return at;
  }

  /** Tombstones are found by their move, and there is one of each: their order means nothing. */
  private numberOf(unsorted: OwnershipRecord): number {
    const record = { ...unsorted, settled: [...unsorted.settled].sort((a, b) => (a.migrationId < b.migrationId ? -1 : 1)) };
    const key = JSON.stringify(record);
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    this.numbers.set(key, this.facts.length);
    return this.facts.push(this.factsOf(record)) - 1;
  }

  private factsOf(record: OwnershipRecord): Fact {
    return {
      record,
      state: record.state,
      epoch: record.epoch,
      move: 'migrationId' in record ? this.moves.findIndex((_, m) => idOf(m) === record.migrationId) : -1,
      mayRun: mayRun(record),
      ownedEpoch: ownedEpoch(record),
      isSettled: this.moves.map((_, m) => settlementOf(record, idOf(m)) !== undefined),
    };
  }
}

/** The number of an event: its kind, the move or host, the epoch. */
function place(kind: number, which: number, epoch: number): number {
  return (kind * 3 + which) * (LAST_EPOCH + 2) + epoch;
}

function verdictEvent(m: number, epoch: number, verdict: 'accepted' | 'rejected', destination: HostId): OwnershipEvent {
  const isAccepted = verdict === 'accepted';
  const said = {
    protocol: 'korora/1', purpose: 'verdict', verdict, migrationId: idOf(m), vmId: VM, destination, epoch,
    manifestDigest: isAccepted ? digestOf(imageOf(m, epoch)) : null, reason: isAccepted ? null : 'a reason',
  };
  return { type: 'learn-verdict', proven: { verdict: Verdict.parse(said), proof: 'quote' } };
}

function hostAt(host: number): HostId {
  return HOSTS[host] as HostId;
}
