/**
 * domain/ownership.ts, the one rule that keeps two copies from running (promise P5): what every
 * state makes of every event, that events may come twice, that what is settled stays settled.
 * What it does between hosts, under loss, crashes and delay: exploration.test.ts.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import type { HostId, MigrationId } from '../../domain/ids.js';
import { Claim, Succession, type Verdict } from '../../domain/manifest.js';
import type { Fence, Order } from '../../domain/order.js';
import {
  type OwnershipEvent, OwnershipRecord, type OwnershipState, TOMBSTONES_MAX, applyOwnershipEvent, decisionOn, isSurplus, mayRun, noRecord, ownedEpoch, settlementOf,
} from '../../domain/ownership.js';
import { DESTINATION, PEER_BOOT, SIGNED_FENCE, SIGNED_ORDER, SOURCE, VM, digest, fenceOf, manifestOf, migrationId, orderOf, rejectionOf, verdictOf } from '../support/documents.js';

const [m0, m1, m2] = [migrationId(0), migrationId(1), migrationId(2)];
const imageOf = (n: number) => manifestOf({ streamSha256: digest(n) });

type Settled = OwnershipRecord['settled'][number];
const isByOperator = (outcome: Settled['outcome']) => outcome === 'accepted' || outcome === 'fenced';
const settledAs = (id: MigrationId, epoch: number, outcome: Settled['outcome']): Settled => ({
  migrationId: id,
  epoch,
  outcome,
  manifest: outcome === 'accepted' ? imageOf(1) : null,
  reason: outcome === 'rejected' ? 'a reason' : null,
  peer: isByOperator(outcome) ? DESTINATION : null,
  authority: outcome === 'accepted' ? SIGNED_ORDER : outcome === 'fenced' ? SIGNED_FENCE : null,
  notAfter: isByOperator(outcome) ? null : IN_TIME,
});
const NOW = '2029-06-01T00:00:00Z';
const IN_TIME = '2030-01-01T00:00:00Z';
const shown = (epoch: number, notAfter = IN_TIME) => ({ epoch, notAfter, now: NOW });

function record(state: object, settled: readonly Settled[] = []): OwnershipRecord {
  return OwnershipRecord.parse({ version: 3, vmId: VM, hostId: SOURCE, generation: 0, settled, ...state });
}

const learn = (verdict: Verdict): OwnershipEvent => ({ type: 'learn-verdict', proven: { verdict, proof: 'quote' } });

const OUTGOING = { migrationId: m1, peer: DESTINATION, order: SIGNED_ORDER, peerBoot: PEER_BOOT };
const RECORDS = {
  'none': noRecord(VM, SOURCE),
  'none, m1 rejected 2': record({ state: 'none', epoch: 0 }, [settledAs(m1, 2, 'rejected')]),
  'owner 1': record({ state: 'owner', epoch: 1 }),
  'owner 1, m1 withdrawn 2': record({ state: 'owner', epoch: 1 }, [settledAs(m1, 2, 'withdrawn')]),
  'owner 1, m1 rejected 2': record({ state: 'owner', epoch: 1 }, [settledAs(m1, 2, 'rejected')]),
  'owner 2, m1 accepted 2': record({ state: 'owner', epoch: 2 }, [settledAs(m1, 2, 'accepted')]),
  'owner 3, m1 fenced 3': record({ state: 'owner', epoch: 3 }, [settledAs(m1, 3, 'fenced')]),
  'offering 1 m1': record({ state: 'offering', epoch: 1, ...OUTGOING }),
  'relinquished 1 m1': record({ state: 'relinquished', epoch: 1, ...OUTGOING }),
  'retired 1 m0': record({ state: 'retired', epoch: 1, migrationId: m0, peer: DESTINATION, keptUntil: null }),
  'incoming 2 m1': record({ state: 'incoming', epoch: 2, migrationId: m1, peer: DESTINATION, order: SIGNED_ORDER, before: null }),
  'incoming 3 m1 after retired 1 m0': record({ state: 'incoming', epoch: 3, migrationId: m1, peer: DESTINATION, order: SIGNED_ORDER, before: { epoch: 1, migrationId: m0, peer: DESTINATION } }),
} as const;
type RecordName = keyof typeof RECORDS;

const third = 'host-c' as HostId;
const KEPT = '2029-06-08T00:00:00Z';
/** By whoever took the VM back by a fence of this host, on the move that brought it here. */
const claimedByFence = (id: MigrationId, epoch: number, { by = DESTINATION, ...other }: { by?: HostId } & Partial<Record<keyof Fence, unknown>> = {}): OwnershipEvent => ({
  type: 'learn-claim', keptUntil: KEPT, proven: { proof: 'quote', claim: claimOf(by, id, epoch), authority: fenceOf({ migrationId: id, host: SOURCE, ...other }) },
});
/** By whoever this host gave the VM to, by an order. */
const claimedByOrder = (id: MigrationId, epoch: number, { by = DESTINATION, ...other }: { by?: HostId } & Partial<Record<keyof Order, unknown>> = {}): OwnershipEvent => ({
  type: 'learn-claim', keptUntil: KEPT, proven: { proof: 'quote', claim: claimOf(by, id, epoch), authority: orderOf({ migrationId: id, epoch: epoch - 1, destination: by, ...other }) },
});
const claimOf = (hostId: HostId, id: MigrationId, epoch: number) => Claim.parse({ protocol: 'korora/1', purpose: 'claim', vmId: VM, hostId, epoch, migrationId: id });
const succeeded = (owned: number, other: Partial<Record<keyof Succession, unknown>> = {}): OwnershipEvent => ({
  type: 'learn-succession', keptUntil: KEPT, proven: { proof: 'quote', succession: Succession.parse({ protocol: 'korora/1', purpose: 'succession', vmId: VM, hostId: DESTINATION, migrationId: m1, ownedEpoch: owned, ...other }) },
});
const offerOf = (id: MigrationId, epoch: number, destination: HostId = DESTINATION) => ({ type: 'offer', migrationId: id, destination, epoch, order: SIGNED_ORDER, peerBoot: PEER_BOOT }) as const;
const expectOf = (id: MigrationId, epoch: number, source: HostId = DESTINATION) => ({ type: 'expect', migrationId: id, source, epoch, order: SIGNED_ORDER }) as const;
const rejectOf = (id: MigrationId, epoch: number) => ({ type: 'reject', migrationId: id, epoch, reason: 'a reason', shown: shown(epoch) }) as const;
const MANY_IDS = (n: number) => `00000000-0000-4000-8000-${String(n + 1000).padStart(12, '0')}` as MigrationId;
const EVENTS = {
  'create': { type: 'create' },
  'offer m1': offerOf(m1, 2),
  'offer m1 elsewhere': offerOf(m1, 2, third),
  'offer m2': offerOf(m2, 2),
  'offer m2 3': offerOf(m2, 3),
  'offer m2 4': offerOf(m2, 4),
  'withdraw m1': { type: 'withdraw', migrationId: m1, shown: shown(2) },
  'withdraw m2': { type: 'withdraw', migrationId: m2, shown: shown(2) },
  'withdraw m2 4': { type: 'withdraw', migrationId: m2, shown: shown(4) },
  'withdraw m1 unshown': { type: 'withdraw', migrationId: m1, shown: null },
  'reject m1 2 unshown': { ...rejectOf(m1, 2), shown: null },
  'reject m1 2 shown for 3': { ...rejectOf(m1, 2), shown: shown(3) },
  'relinquish m1': { type: 'relinquish', migrationId: m1 },
  'relinquish m2': { type: 'relinquish', migrationId: m2 },
  'learn m0 accepted 2': learn(verdictOf({ migrationId: m0 })),
  'learn m1 accepted 2': learn(verdictOf()),
  'learn m1 accepted 3': learn(verdictOf({ epoch: 3 })),
  'learn m1 accepted elsewhere': learn(verdictOf({ destination: third })),
  'learn m1 accepted of another VM': learn(verdictOf({ vmId: 'web-2' })),
  'learn m1 rejected 2': learn(rejectionOf()),
  'learn m1 rejected 1': learn(rejectionOf({ epoch: 1 })),
  'learn m1 rejected elsewhere': learn(rejectionOf({ destination: third })),
  'learn m1 rejected of another VM': learn(rejectionOf({ vmId: 'web-2' })),
  'learn m2 rejected 2': learn(rejectionOf({ migrationId: m2 })),
  'succession 1': succeeded(1),
  'succession 2': succeeded(2),
  'succession 4': succeeded(4),
  'succession 2 elsewhere': succeeded(2, { hostId: third }),
  'succession 2 of m2': succeeded(2, { migrationId: m2 }),
  'succession 2 of another VM': succeeded(2, { vmId: 'web-2' }),
  'claim 3 by fence of m1': claimedByFence(m1, 3),
  'claim 4 by fence of m1': claimedByFence(m1, 4),
  'claim 3 by fence of m2': claimedByFence(m2, 3),
  'claim 3 by fence of m1, elsewhere': claimedByFence(m1, 3, { by: third }),
  'claim 3 by fence of another host': claimedByFence(m1, 3, { host: third }),
  'claim 3 by fence of another VM': claimedByFence(m1, 3, { vmId: 'web-2' }),
  'claim 3 by fence of m1, its own': claimedByFence(m1, 3, { by: SOURCE }),
  'claim 2 by order m1': claimedByOrder(m1, 2),
  'claim 2 by order m2': claimedByOrder(m2, 2),
  'claim 4 by order m2': claimedByOrder(m2, 4),
  'claim 2 by order m1, elsewhere': claimedByOrder(m1, 2, { by: third, destination: DESTINATION }),
  'claim 2 by order m1 of another source': claimedByOrder(m1, 2, { source: third }),
  'fence m1': { type: 'fence', migrationId: m1, destination: DESTINATION, reason: 'burnt', fence: SIGNED_FENCE },
  'fence m1 elsewhere': { type: 'fence', migrationId: m1, destination: third, reason: 'burnt', fence: SIGNED_FENCE },
  'fence m2': { type: 'fence', migrationId: m2, destination: DESTINATION, reason: 'burnt', fence: SIGNED_FENCE },
  'expect m1 1': expectOf(m1, 1),
  'expect m1 2': expectOf(m1, 2),
  'expect m1 2 from elsewhere': expectOf(m1, 2, third),
  'expect m1 3': expectOf(m1, 3),
  'expect m2 2': expectOf(m2, 2),
  'accept m1 2': { type: 'accept', migrationId: m1, epoch: 2, manifest: imageOf(1) },
  'accept m1 2, another image': { type: 'accept', migrationId: m1, epoch: 2, manifest: imageOf(2) },
  'accept m1 3': { type: 'accept', migrationId: m1, epoch: 3, manifest: imageOf(1) },
  'accept m2 2': { type: 'accept', migrationId: m2, epoch: 2, manifest: imageOf(1) },
  'reject m1 1': rejectOf(m1, 1),
  'reject m1 2': rejectOf(m1, 2),
  'reject m1 3': rejectOf(m1, 3),
  'reject m2 2': rejectOf(m2, 2),
  'reject m2 4': rejectOf(m2, 4),
} as const satisfies Record<string, OwnershipEvent>;
type EventName = keyof typeof EVENTS;

/**
 * What each state makes of each event; an event that is not listed is refused. `same`: accepted,
 * and nothing changes. `reject` and `withdraw` of what never arrived only add its tombstone, in any state, and where a signed order shows it.
 */
const TABLE: Record<RecordName, Partial<Record<EventName, string>>> = {
  'none': {
    'create': 'owner 1',
    'withdraw m1': 'none, m1 withdrawn 2',
    'withdraw m2': 'none, m2 withdrawn 2',
    'withdraw m2 4': 'none, m2 withdrawn 4',
    'claim 3 by fence of m1': 'same',
    'claim 4 by fence of m1': 'same',
    'claim 3 by fence of m2': 'same',
    'claim 3 by fence of m1, elsewhere': 'same',
    'claim 3 by fence of another host': 'same',
    'claim 2 by order m1': 'same',
    'claim 2 by order m2': 'same',
    'claim 4 by order m2': 'same',
    'claim 2 by order m1, elsewhere': 'same',
    'claim 2 by order m1 of another source': 'same',
    'expect m1 1': 'incoming 1 m1',
    'expect m1 2': 'incoming 2 m1',
    'expect m1 2 from elsewhere': 'incoming 2 m1 from host-c',
    'expect m1 3': 'incoming 3 m1',
    'expect m2 2': 'incoming 2 m2',
    'reject m1 1': 'none, m1 rejected 1',
    'reject m1 2': 'none, m1 rejected 2',
    'reject m1 3': 'none, m1 rejected 3',
    'reject m2 2': 'none, m2 rejected 2',
    'reject m2 4': 'none, m2 rejected 4',
  },
  'none, m1 rejected 2': {
    'create': 'owner 1, m1 rejected 2',
    'withdraw m1': 'same',
    'withdraw m2': 'none, m1 rejected 2, m2 withdrawn 2',
    'withdraw m2 4': 'none, m1 rejected 2, m2 withdrawn 4',
    'withdraw m1 unshown': 'same',
    'reject m1 2 unshown': 'same',
    'reject m1 2 shown for 3': 'same',
    'claim 3 by fence of m1': 'same',
    'claim 4 by fence of m1': 'same',
    'claim 3 by fence of m2': 'same',
    'claim 3 by fence of m1, elsewhere': 'same',
    'claim 3 by fence of another host': 'same',
    'claim 2 by order m1': 'same',
    'claim 2 by order m2': 'same',
    'claim 4 by order m2': 'same',
    'claim 2 by order m1, elsewhere': 'same',
    'claim 2 by order m1 of another source': 'same',
    'expect m2 2': 'incoming 2 m2, m1 rejected 2',
    'reject m1 1': 'same',
    'reject m1 2': 'same',
    'reject m1 3': 'same',
    'reject m2 2': 'none, m1 rejected 2, m2 rejected 2',
    'reject m2 4': 'none, m1 rejected 2, m2 rejected 4',
  },
  'owner 1': {
    'offer m1': 'offering 1 m1',
    'offer m1 elsewhere': 'offering 1 m1 to host-c',
    'offer m2': 'offering 1 m2',
    'withdraw m1': 'owner 1, m1 withdrawn 2',
    'withdraw m2': 'owner 1, m2 withdrawn 2',
    'withdraw m2 4': 'owner 1, m2 withdrawn 4',
    'reject m1 2': 'owner 1, m1 rejected 2',
    'reject m1 3': 'owner 1, m1 rejected 3',
    'reject m2 2': 'owner 1, m2 rejected 2',
    'reject m2 4': 'owner 1, m2 rejected 4',
  },
  'owner 1, m1 withdrawn 2': {
    'offer m2': 'offering 1 m2, m1 withdrawn 2',
    'withdraw m1': 'same',
    'withdraw m2': 'owner 1, m1 withdrawn 2, m2 withdrawn 2',
    'withdraw m2 4': 'owner 1, m1 withdrawn 2, m2 withdrawn 4',
    'withdraw m1 unshown': 'same',
    'reject m1 2 unshown': 'same',
    'reject m1 2 shown for 3': 'same',
    'reject m1 1': 'same',
    'reject m1 2': 'same',
    'reject m1 3': 'same',
    'reject m2 2': 'owner 1, m1 withdrawn 2, m2 rejected 2',
    'reject m2 4': 'owner 1, m1 withdrawn 2, m2 rejected 4',
  },
  'owner 1, m1 rejected 2': {
    'offer m2': 'offering 1 m2, m1 rejected 2',
    'withdraw m1': 'same',
    'withdraw m2': 'owner 1, m1 rejected 2, m2 withdrawn 2',
    'withdraw m2 4': 'owner 1, m1 rejected 2, m2 withdrawn 4',
    'withdraw m1 unshown': 'same',
    'reject m1 2 unshown': 'same',
    'reject m1 2 shown for 3': 'same',
    'learn m1 rejected 2': 'same',
    'learn m1 rejected 1': 'same',
    'learn m1 rejected elsewhere': 'same',
    'reject m1 1': 'same',
    'reject m1 2': 'same',
    'reject m1 3': 'same',
    'reject m2 2': 'owner 1, m1 rejected 2, m2 rejected 2',
    'reject m2 4': 'owner 1, m1 rejected 2, m2 rejected 4',
  },
  'owner 2, m1 accepted 2': {
    'offer m2 3': 'offering 2 m2, m1 accepted 2',
    'withdraw m2': 'same',
    'withdraw m2 4': 'owner 2, m1 accepted 2, m2 withdrawn 4',
    'claim 3 by fence of m1': 'retired 2 m1, m1 accepted 2',
    'accept m1 2': 'same',
    'accept m1 3': 'same',
    'reject m2 4': 'owner 2, m1 accepted 2, m2 rejected 4',
  },
  'owner 3, m1 fenced 3': {
    'offer m2 4': 'offering 3 m2, m1 fenced 3',
    'withdraw m1': 'same',
    'withdraw m2': 'same',
    'withdraw m2 4': 'owner 3, m1 fenced 3, m2 withdrawn 4',
    'withdraw m1 unshown': 'same',
    'reject m1 2 unshown': 'same',
    'reject m1 2 shown for 3': 'same',
    'fence m1': 'same',
    'fence m1 elsewhere': 'same',
    'reject m1 1': 'same',
    'reject m1 2': 'same',
    'reject m1 3': 'same',
    'reject m2 4': 'owner 3, m1 fenced 3, m2 rejected 4',
  },
  'offering 1 m1': {
    'offer m1': 'same',
    'withdraw m1': 'owner 1, m1 withdrawn 2',
    'withdraw m2': 'offering 1 m1, m2 withdrawn 2',
    'withdraw m2 4': 'offering 1 m1, m2 withdrawn 4',
    'withdraw m1 unshown': 'owner 1, m1 withdrawn 2',
    'relinquish m1': 'relinquished 1 m1',
    'reject m2 2': 'offering 1 m1, m2 rejected 2',
    'reject m2 4': 'offering 1 m1, m2 rejected 4',
  },
  'relinquished 1 m1': {
    'withdraw m2': 'relinquished 1 m1, m2 withdrawn 2',
    'withdraw m2 4': 'relinquished 1 m1, m2 withdrawn 4',
    'relinquish m1': 'same',
    'learn m1 accepted 2': 'retired 1 m1',
    'learn m1 rejected 2': 'owner 1, m1 rejected 2',
    'succession 2': 'retired 1 m1',
    'succession 4': 'retired 1 m1',
    'claim 2 by order m1': 'retired 1 m1',
    'fence m1': 'owner 3, m1 fenced 3',
    'reject m2 2': 'relinquished 1 m1, m2 rejected 2',
    'reject m2 4': 'relinquished 1 m1, m2 rejected 4',
  },
  'retired 1 m0': {
    'withdraw m1': 'retired 1 m0, m1 withdrawn 2',
    'withdraw m2': 'retired 1 m0, m2 withdrawn 2',
    'withdraw m2 4': 'retired 1 m0, m2 withdrawn 4',
    'learn m0 accepted 2': 'same',
    'claim 3 by fence of m1': 'same',
    'claim 4 by fence of m1': 'same',
    'claim 3 by fence of m2': 'same',
    'claim 3 by fence of m1, elsewhere': 'same',
    'claim 3 by fence of another host': 'same',
    'claim 2 by order m1': 'same',
    'claim 2 by order m2': 'same',
    'claim 4 by order m2': 'same',
    'claim 2 by order m1, elsewhere': 'same',
    'claim 2 by order m1 of another source': 'same',
    'expect m1 2': 'incoming 2 m1 after retired 1 m0',
    'expect m1 2 from elsewhere': 'incoming 2 m1 from host-c after retired 1 m0',
    'expect m1 3': 'incoming 3 m1 after retired 1 m0',
    'expect m2 2': 'incoming 2 m2 after retired 1 m0',
    'reject m1 2': 'retired 1 m0, m1 rejected 2',
    'reject m1 3': 'retired 1 m0, m1 rejected 3',
    'reject m2 2': 'retired 1 m0, m2 rejected 2',
    'reject m2 4': 'retired 1 m0, m2 rejected 4',
  },
  'incoming 2 m1': {
    'withdraw m2': 'incoming 2 m1, m2 withdrawn 2',
    'withdraw m2 4': 'incoming 2 m1, m2 withdrawn 4',
    'reject m1 2 unshown': 'none, m1 rejected 2',
    'reject m1 2 shown for 3': 'none, m1 rejected 2',
    'claim 3 by fence of m1': 'none, m1 rejected 2',
    'claim 4 by fence of m1': 'none, m1 rejected 2',
    'expect m1 2': 'same',
    'accept m1 2': 'owner 2, m1 accepted 2',
    'accept m1 2, another image': 'owner 2, m1 accepted 2',
    'reject m1 2': 'none, m1 rejected 2',
    'reject m2 2': 'incoming 2 m1, m2 rejected 2',
    'reject m2 4': 'incoming 2 m1, m2 rejected 4',
  },
  'incoming 3 m1 after retired 1 m0': {
    'withdraw m2': 'incoming 3 m1 after retired 1 m0, m2 withdrawn 2',
    'withdraw m2 4': 'incoming 3 m1 after retired 1 m0, m2 withdrawn 4',
    'claim 4 by fence of m1': 'retired 1 m0, m1 rejected 3',
    'expect m1 3': 'same',
    'accept m1 3': 'owner 3, m1 accepted 3',
    'reject m1 3': 'retired 1 m0, m1 rejected 3',
    'reject m2 2': 'incoming 3 m1 after retired 1 m0, m2 rejected 2',
    'reject m2 4': 'incoming 3 m1 after retired 1 m0, m2 rejected 4',
  },
};

describe('what a record makes of an event', () => {
  for (const [name, before] of entries(RECORDS)) {
    it(`in state "${name}" is the table's row, all other events refused`, () => {
      const row = Object.fromEntries(entries(EVENTS).flatMap(([event, value]) => {
        const next = applyOwnershipEvent(before, value);
        return next.ok ? [[event, next.record === before ? 'same' : textOf(next.record)]] : [];
      }));
      expect(row).toEqual(TABLE[name]);
    });
  }

  it('has every state in its rows and every kind of event in its columns', () => {
    expect(new Set(Object.values(RECORDS).map((r) => r.state))).toEqual(new Set<OwnershipState>(['none', 'owner', 'offering', 'relinquished', 'retired', 'incoming']));
    expect(new Set(Object.values(EVENTS).map((e) => e.type))).toEqual(
      new Set<OwnershipEvent['type']>(['create', 'offer', 'withdraw', 'relinquish', 'learn-verdict', 'learn-succession', 'learn-claim', 'fence', 'expect', 'accept', 'reject']),
    );
  });

  it('that may be an old one gives way to the order by which the VM went, and nothing else does', () => {
    const inDoubt = (name: RecordName, event: OwnershipEvent) => {
      const next = applyOwnershipEvent(RECORDS[name], event, true);
      return next.ok ? textOf(next.record) : 'refused';
    };
    for (const claim of [claimedByOrder(m2, 2), claimedByOrder(m2, 4)]) {
      expect([inDoubt('owner 1', claim), inDoubt('offering 1 m1', claim)]).toEqual(['retired 1 m2', 'retired 1 m2']);
    }
    // It settled that move otherwise; it names another source; another host claims it; it is of an earlier epoch.
    expect(inDoubt('owner 1, m1 withdrawn 2', claimedByOrder(m1, 2))).toBe('refused');
    expect(inDoubt('owner 1', claimedByOrder(m2, 2, { source: third }))).toBe('refused');
    expect(inDoubt('owner 1', claimedByOrder(m2, 2, { by: third, destination: DESTINATION }))).toBe('refused');
    expect(inDoubt('owner 3, m1 fenced 3', claimedByOrder(m2, 3))).toBe('refused');
    expect(inDoubt('incoming 2 m1', claimedByOrder(m2, 3))).toBe('refused');
  });

  it('keeps what it gave up to another host’s word until its time is over, and nothing of what a verdict ended', () => {
    const keptOf = (before: OwnershipRecord, event: OwnershipEvent) => (applied(before, event) as { keptUntil?: string | null }).keptUntil;
    expect(keptOf(RECORDS['owner 2, m1 accepted 2'], EVENTS['claim 3 by fence of m1'])).toBe(KEPT);
    expect(keptOf(RECORDS['relinquished 1 m1'], EVENTS['succession 2'])).toBe(KEPT);
    expect(keptOf(RECORDS['relinquished 1 m1'], EVENTS['learn m1 accepted 2'])).toBe(null);
  });

  it('forgets tombstones of moves that it never took up when their orders have ended, and takes no more than it can keep', () => {
    const withTombstones = (count: number, notAfter: string) =>
      Array.from({ length: count }, (_, n) => n).reduce<OwnershipRecord>((r, n) => ({ ...r, settled: [...r.settled, { ...settledAs(MANY_IDS(n), 2, 'withdrawn'), notAfter }] }), RECORDS['owner 1']);
    const full = withTombstones(TOMBSTONES_MAX, IN_TIME);
    expect(applyOwnershipEvent(full, EVENTS['withdraw m2']).ok).toBe(false);
    expect(applied(withTombstones(TOMBSTONES_MAX, '2029-05-31T00:00:00Z'), EVENTS['withdraw m2']).settled.map(({ migrationId: id }) => id)).toEqual([m2]);
    // What it did take up it settles all the same.
    const offering = applied(full, EVENTS['offer m1']);
    expect(applied(offering, EVENTS['withdraw m1']).settled).toHaveLength(TOMBSTONES_MAX + 1);
  });

  it('keeps by what it came to own earlier epochs, for hosts that have to be shown', () => {
    const later = [offerOf(m2, 3), EVENTS['relinquish m2'], learn(verdictOf({ migrationId: m2, epoch: 3 })), expectOf(m0, 4), { type: 'accept', migrationId: m0, epoch: 4, manifest: imageOf(4) }] as const satisfies readonly OwnershipEvent[];
    const record = (later as readonly OwnershipEvent[]).reduce(applied, RECORDS['owner 2, m1 accepted 2']);
    expect(record.settled.map(({ migrationId: id, authority }) => [id, authority])).toEqual([[m1, SIGNED_ORDER], [m0, SIGNED_ORDER]]);
  });

  it('a tombstone outlives an incoming move of a later epoch that comes to nothing', () => {
    const rejected = (['expect m1 2', 'reject m1 2', 'expect m2 2'] as const).reduce<OwnershipRecord>((r, name) => applied(r, EVENTS[name]), RECORDS['none']);
    const later = applied(applied(applied(rejected, EVENTS['reject m2 2']), expectOf(m0, 3)), rejectOf(m0, 3));
    expect(decisionOn(later, m1, 2)).toBe('rejected');
    expect(applyOwnershipEvent(later, EVENTS['expect m1 2']).ok).toBe(false);
  });

  it('a host that gave the VM away does not take it by the same move', () => {
    expect(applyOwnershipEvent(RECORDS['retired 1 m0'], expectOf(m0, 2)).ok).toBe(false);
  });

  it('a late offer of a decided move is refused by its epoch', () => {
    expect(applyOwnershipEvent(RECORDS['owner 3, m1 fenced 3'], EVENTS['offer m2']).ok).toBe(false);
  });

  it('says in a refusal which host, which event, which VM and which state', () => {
    const refusal = applyOwnershipEvent(RECORDS['relinquished 1 m1'], EVENTS['withdraw m1']);
    expect(refusal).toEqual({
      ok: false,
      failure: {
        code: 'OWNERSHIP_REFUSED',
        message: `host-a refuses withdraw for VM web-1: its record says relinquished (epoch 1, move ${m1}, peer ${DESTINATION})`,
        remedy: 'See `korora vm show web-1`; the record is right until evidence says otherwise.',
      },
    });
  });

  it('keeps the accepted image and the reason of a rejection, so that later answers can give them', () => {
    const accepted = applied(RECORDS['incoming 2 m1'], EVENTS['accept m1 2, another image']);
    expect(settlementOf(accepted, m1)).toMatchObject({ outcome: 'accepted', manifest: imageOf(2), reason: null });
    const rejected = applied(RECORDS['incoming 2 m1'], EVENTS['reject m1 2']);
    expect(settlementOf(rejected, m1)).toMatchObject({ outcome: 'rejected', manifest: null, reason: 'a reason' });
    const learnt = applied(RECORDS['relinquished 1 m1'], EVENTS['learn m1 rejected 2']);
    expect(settlementOf(learnt, m1)).toMatchObject({ outcome: 'rejected', reason: 'the digest differs' });
  });
});

/** No rule that is right leads to more records or worlds than this. */
const MANY = 5_000;

/** Every record up to epoch 4 that any order of these events can lead to from any of these states. */
function reachableRecords(): OwnershipRecord[] {
  const all = new Map(Object.values<OwnershipRecord>(RECORDS).map((r) => [JSON.stringify(r), r]));
  for (const r of all.values()) {
    for (const event of Object.values<OwnershipEvent>(EVENTS)) {
      const next = appliedOrSame(r, event);
      if (next.epoch <= 4) all.set(JSON.stringify(next), next);
    }
    if (all.size > MANY) throw new Error(`records do not end, for example ${textOf(r)}`);
  }
  return [...all.values()];
}

describe('any record that events can lead to', () => {
  let reachable: OwnershipRecord[];
  beforeAll(() => {
    reachable = reachableRecords();
  });
  /** What breaks a rule over (record, event, next record), in words; [] where nothing does. */
  const breaches = (isBroken: (before: OwnershipRecord, event: OwnershipEvent, after: OwnershipRecord) => boolean) =>
    reachable.flatMap((before) =>
      entries<EventName, OwnershipEvent>(EVENTS).flatMap(([name, event]) => {
        const after = appliedOrSame(before, event);
        return isBroken(before, event, after) ? [`${textOf(before)} → ${name} → ${textOf(after)}`] : [];
      }),
    );

  it('is one of many', () => {
    expect(reachable.length).toBeGreaterThan(200);
  });

  it('is the same after an event that came twice as after one that came once', () => {
    // `create` is sent to an empty record only.
    expect(breaches((before, event, after) => after !== before && event.type !== 'create' && !isSameAfter(after, event))).toEqual([]);
  });

  it('still is a valid document, of the same VM on the same host', () => {
    for (const r of reachable) expect(OwnershipRecord.parse(JSON.parse(JSON.stringify(r)))).toEqual(r);
    expect(new Set(reachable.map((r) => `${r.vmId} on ${r.hostId}`))).toEqual(new Set(['web-1 on host-a']));
  });

  it('never has owned less than before', () => {
    expect(breaches((before, _, after) => ownedEpoch(after) < ownedEpoch(before))).toEqual([]);
  });

  it('takes up no move that has a tombstone', () => {
    const isUnderWay = (r: OwnershipRecord, id: MigrationId) => (r.state === 'offering' || r.state === 'relinquished' || r.state === 'incoming') && r.migrationId === id;
    expect(breaches((before, _, after) => before.settled.some((s) => isUnderWay(after, s.migrationId) && !isUnderWay(before, s.migrationId)))).toEqual([]);
  });

  it('keeps a tombstone while it may be asked for: until the record has a later epoch', () => {
    const isNeeded = (s: Settled) => s.notAfter === null || Date.parse(s.notAfter) >= Date.parse(NOW);
    expect(breaches((before, _, after) => before.settled.some((s) => isNeeded(s) && !settlementOf(after, s.migrationId) && s.epoch >= after.epoch))).toEqual([]);
  });

  it('never takes back that it accepted, and never accepts what it settled otherwise', () => {
    const isAccepted = (r: OwnershipRecord, id: MigrationId) => settlementOf(r, id)?.outcome === 'accepted';
    expect(breaches((before, _, after) => before.settled.some((s) => settlementOf(after, s.migrationId) && isAccepted(after, s.migrationId) !== isAccepted(before, s.migrationId)))).toEqual([]);
  });

  it('has one tombstone a move', () => {
    expect(reachable.filter((r) => new Set(r.settled.map((s) => s.migrationId)).size < r.settled.length).map(textOf)).toEqual([]);
  });

  it('runs the VM only after it was created, accepted, taken back by proof or fenced, or offered by its owner', () => {
    const ways = new Set<string>();
    breaches((before, event, after) => mayRun(after) && !mayRun(before) && Boolean(ways.add(`${before.state}: ${event.type}`)));
    expect([...ways].sort()).toEqual(['incoming: accept', 'none: create', 'relinquished: fence', 'relinquished: learn-verdict']);
  });
});

describe('isSurplus', () => {
  it('is what a host has of a VM that it gave away, or took in and never accepted; an order that was refused makes nothing surplus', () => {
    expect(entries(RECORDS).filter(([, r]) => isSurplus(r)).map(([name]) => name)).toEqual(['retired 1 m0']);
    expect(isSurplus(applied(RECORDS['incoming 2 m1'], EVENTS['reject m1 2']))).toBe(true);
    expect(isSurplus(applied(RECORDS.none, EVENTS['reject m1 2']))).toBe(false);
  });
});

describe('mayRun', () => {
  it('lets a VM run as owner and while it offers, and in no other state', () => {
    const running = entries(RECORDS).filter(([, r]) => mayRun(r)).map(([name]) => name);
    expect(running).toEqual([
      'owner 1', 'owner 1, m1 withdrawn 2', 'owner 1, m1 rejected 2', 'owner 2, m1 accepted 2', 'owner 3, m1 fenced 3', 'offering 1 m1',
    ]);
  });
});

describe('decisionOn', () => {
  it.each<[RecordName, MigrationId, number, string]>([
    ['none', m1, 2, 'undecided'],
    ['none, m1 rejected 2', m1, 2, 'rejected'],
    ['none, m1 rejected 2', m2, 2, 'undecided'],
    ['incoming 2 m1', m1, 2, 'undecided'],
    ['incoming 3 m1 after retired 1 m0', m1, 3, 'undecided'],
    ['owner 2, m1 accepted 2', m1, 2, 'accepted'],
    ['owner 2, m1 accepted 2', m2, 3, 'undecided'],
    ['owner 3, m1 fenced 3', m2, 4, 'undecided'],
  ])('of "%s" on %s at epoch %i is %s', (name, id, epoch, expected) => {
    expect(decisionOn(RECORDS[name], id, epoch)).toBe(expected);
  });

  it('says of a move that it no longer knows that its epoch is superseded, and never that it was accepted', () => {
    expect(decisionOn(RECORDS['owner 2, m1 accepted 2'], m2, 2)).toBe('superseded');
    expect(decisionOn(RECORDS['owner 3, m1 fenced 3'], m2, 3)).toBe('superseded');
    expect(decisionOn(RECORDS['retired 1 m0'], m2, 1)).toBe('superseded');
  });

  it('does not take a move that only waits for one that was owned', () => {
    expect(ownedEpoch(RECORDS['incoming 2 m1'])).toBe(0);
    expect(ownedEpoch(RECORDS['incoming 3 m1 after retired 1 m0'])).toBe(1);
    expect(decisionOn(RECORDS['incoming 3 m1 after retired 1 m0'], m2, 2)).toBe('undecided');
  });

  it('goes on saying rejected after the VM was offered to another move, whatever epoch it is asked for', () => {
    const later = ([EVENTS['reject m1 3'], EVENTS['offer m2'], EVENTS['relinquish m2']] as const).reduce<OwnershipRecord>(applied, RECORDS['owner 1']);
    expect([decisionOn(later, m1, 3), decisionOn(later, m1, 2)]).toEqual(['rejected', 'rejected']);
  });
});

function applied(before: OwnershipRecord, event: OwnershipEvent): OwnershipRecord {
  const next = applyOwnershipEvent(before, event);
  if (!next.ok) throw new Error(next.failure.message);
  return next.record;
}

function appliedOrSame(before: OwnershipRecord, event: OwnershipEvent): OwnershipRecord {
  const next = applyOwnershipEvent(before, event);
  return next.ok ? next.record : before;
}

function isSameAfter(r: OwnershipRecord, event: OwnershipEvent): boolean {
  const next = applyOwnershipEvent(r, event);
  return next.ok && JSON.stringify(next.record) === JSON.stringify(r);
}

/** "incoming 3 m1 after retired 1 m0, m2 rejected 4": names as in RECORDS, which peers with `host-b`. */
function textOf(r: OwnershipRecord): string {
  const name = (id: string) => `m${Number.parseInt(id.slice(-2), 16)}`;
  const where = (peer: string, word: string) => (peer === third ? ` ${word} ${peer}` : '');
  const move = 'migrationId' in r ? ` ${r.epoch} ${name(r.migrationId)}${where(r.peer, r.state === 'incoming' ? 'from' : 'to')}` : r.state === 'none' ? '' : ` ${r.epoch}`;
  const before = r.state === 'incoming' && r.before ? ` after retired ${r.before.epoch} ${name(r.before.migrationId)}` : '';
  return [`${r.state}${move}${before}`, ...r.settled.map((s) => `${name(s.migrationId)} ${s.outcome} ${s.epoch}`)].join(', ');
}

function entries<K extends string, V>(of: Readonly<Record<K, V>>): [K, V][] {
  return Object.entries(of) as [K, V][];
}
