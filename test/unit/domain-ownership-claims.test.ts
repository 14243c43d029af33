/**
 * domain/ownership.ts and ownership-record.ts: what makes a record give way to another host's claim, each condition alone; what of earlier epochs is kept;
 * and which records begin a generation.
 */
import { describe, expect, it } from 'vitest';
import type { HostId } from '../../domain/ids.js';
import { Claim } from '../../domain/manifest.js';
import type { Fence, Order } from '../../domain/order.js';
import { type OwnershipEvent, OwnershipRecord, Settlement, TOMBSTONES_MAX, applyOwnershipEvent, isSurplus, startsGeneration } from '../../domain/ownership.js';
import { DESTINATION, PEER_BOOT, SIGNED_FENCE, SIGNED_ORDER, SOURCE, VM, fenceOf, migrationId, orderOf } from '../support/documents.js';

const [m0, m1, m2] = [migrationId(0), migrationId(1), migrationId(2)];
const KEPT = '2029-06-08T00:00:00Z';
const third = 'host-c' as HostId;
const OUTGOING = { migrationId: m1, peer: DESTINATION, order: SIGNED_ORDER, peerBoot: PEER_BOOT };

const settled = (changes: Partial<Settlement> = {}): Settlement => Settlement.parse({ migrationId: m1, epoch: 2, outcome: 'accepted', manifest: null, reason: null, peer: DESTINATION, authority: SIGNED_ORDER, notAfter: null, ...changes });
const record = (state: object, of: readonly Settlement[] = []) => OwnershipRecord.parse({ version: 3, vmId: VM, hostId: SOURCE, generation: 0, settled: of, ...state });
const owner = (epoch: number, of: readonly Settlement[] = []) => record({ state: 'owner', epoch }, of);
const RETIRED = { state: 'retired', epoch: 1, migrationId: m1, peer: DESTINATION, keptUntil: null };
const INCOMING = { state: 'incoming', epoch: 2, migrationId: m1, peer: DESTINATION, order: SIGNED_ORDER, before: null };

interface Claimed {
  readonly claim?: Partial<Record<keyof Claim, unknown>>;
  readonly fence?: Partial<Record<keyof Fence, unknown>>;
  readonly order?: Partial<Record<keyof Order, unknown>>;
}
/** By DESTINATION, of epoch 3: it took back by a fence of this host what it had given here by m1. Or, with `order`, of epoch 2: it was given it. */
function claimed({ claim, fence, order }: Claimed): OwnershipEvent {
  const authority = order ? orderOf({ migrationId: m1, epoch: 1, source: SOURCE, destination: DESTINATION, ...order }) : fenceOf({ migrationId: m1, host: SOURCE, reason: 'it is off', ...fence });
  return { type: 'learn-claim', keptUntil: KEPT, proven: { proof: 'quote', authority, claim: Claim.parse({ protocol: 'korora/1', purpose: 'claim', vmId: VM, hostId: DESTINATION, migrationId: m1, epoch: order ? 2 : 3, ...claim }) } };
}
const after = (before: OwnershipRecord, event: OwnershipEvent, isInDoubt = false) => {
  const reached = applyOwnershipEvent(before, event, isInDoubt);
  return reached.ok ? reached.record : reached.failure.code;
};
const retiredBy = (epoch: number) => expect.objectContaining({ state: 'retired', epoch, migrationId: m1, peer: DESTINATION, keptUntil: KEPT }) as OwnershipRecord;

describe('a claim by a fence', () => {
  const came = [settled()];

  it.each<[string, OwnershipRecord]>([
    ['owns', owner(2, came)],
    ['offers', record({ state: 'offering', epoch: 2, ...OUTGOING, migrationId: m2 }, came)],
  ])('retires a host that %s what it got by this very move', (_, before) => {
    expect(after(before, claimed({}))).toEqual(retiredBy(2));
  });

  it.each<[string, OwnershipRecord, Claimed]>([
    ['it is of another VM', owner(2, came), { claim: { vmId: 'web-2' } }],
    ['the fence is of another VM', owner(2, came), { fence: { vmId: 'web-2' } }],
    ['the fence is of another move', owner(2, came), { fence: { migrationId: m2 } }],
    ['the fence is of another host', owner(2, came), { fence: { host: 'host-c' } }],
    ['this host makes it of itself', owner(2, came), { claim: { hostId: SOURCE } }],
    ['it is of no later epoch', owner(2, came), { claim: { epoch: 2 } }],
    ['it is of an epoch too far', owner(2, came), { claim: { epoch: 4 } }],
    ['another host makes it', owner(2, came), { claim: { hostId: 'host-c' } }],
    ['the host came by another move', owner(2, [settled({ migrationId: m2 })]), {}],
    ['the move was refused here', owner(2, [settled({ outcome: 'rejected', peer: null, authority: null, reason: 'why' })]), {}],
    ['the move made an earlier epoch', owner(3, [settled()]), { claim: { epoch: 4 } }],
    ['the host has given the VM away since', record({ state: 'relinquished', epoch: 2, ...OUTGOING, migrationId: m2 }, came), {}],
  ])('is refused where %s', (_, before, claim) => {
    expect(after(before, claimed(claim))).toBe('OWNERSHIP_REFUSED');
  });

  it('ends what comes in by that move, with its reason; not what comes from another host', () => {
    expect(after(record(INCOMING), claimed({}))).toMatchObject({ state: 'none', epoch: 0, settled: [{ migrationId: m1, epoch: 2, outcome: 'rejected', reason: 'host-b took the VM back: it is off' }] });
    expect(after(record({ ...INCOMING, peer: third }), claimed({}))).toBe('OWNERSHIP_REFUSED');
    expect(after(record({ ...INCOMING, migrationId: m2 }), claimed({}))).toBe('OWNERSHIP_REFUSED');
  });
});

describe('a claim by an order', () => {
  const relinquished = record({ state: 'relinquished', epoch: 1, ...OUTGOING });

  it('retires the host that gave the VM away by it', () => {
    expect(after(relinquished, claimed({ order: {} }))).toEqual(retiredBy(1));
  });

  it.each<[string, OwnershipRecord, Claimed]>([
    ['the order is of another epoch than it makes', relinquished, { order: { epoch: 2 } }],
    ['the order is from another host', relinquished, { order: { source: 'host-c' } }],
    ['the order is to another host', relinquished, { order: { destination: 'host-c' } }],
    ['the host gave it to another', record({ state: 'relinquished', epoch: 1, ...OUTGOING, peer: third }), { order: {} }],
    ['it is of an epoch too far', relinquished, { order: { epoch: 2 }, claim: { epoch: 3 } }],
    ['the host owns the VM and is sure of it', owner(1), { order: {} }],
  ])('is refused where %s', (_, before, claim) => {
    expect(after(before, claimed(claim))).toBe('OWNERSHIP_REFUSED');
  });

  it('retires a host in doubt that never heard of the move, and no other', () => {
    expect(after(owner(1), claimed({ order: {} }), true)).toEqual(retiredBy(1));
    expect(after(owner(1), claimed({ order: { epoch: 4 }, claim: { epoch: 5 } }), true)).toEqual(retiredBy(1));
    expect(after(owner(1, [settled({ outcome: 'withdrawn', peer: null, authority: null })]), claimed({ order: {} }), true)).toBe('OWNERSHIP_REFUSED');
    expect(after(record({ ...INCOMING, epoch: 1, migrationId: m2 }), claimed({ order: {} }), true)).toBe('OWNERSHIP_REFUSED');
  });
});

describe('a fence', () => {
  const fence = { type: 'fence', migrationId: m1, destination: DESTINATION, reason: 'it is off', fence: SIGNED_FENCE } as const;

  it('takes the VM back two epochs above, and says by what and from whom', () => {
    expect(after(record({ state: 'relinquished', epoch: 1, ...OUTGOING }), fence)).toMatchObject({ state: 'owner', epoch: 3, settled: [settled({ epoch: 3, outcome: 'fenced', reason: 'it is off', authority: SIGNED_FENCE })] });
  });

  it('comes twice to the owner alone', () => {
    const fenced = [settled({ epoch: 3, outcome: 'fenced', reason: 'it is off', authority: SIGNED_FENCE })];
    expect(after(owner(3, fenced), fence)).toEqual(owner(3, fenced));
    expect(after(record({ ...RETIRED, epoch: 3, migrationId: m2 }, fenced), fence)).toBe('OWNERSHIP_REFUSED');
  });
});

describe('what was settled', () => {
  const NOW = '2029-06-01T00:00:00Z';
  const tombstone = (n: number, notAfter: string) => settled({ migrationId: `00000000-0000-4000-8000-${String(n + 1000).padStart(12, '0')}` as never, epoch: 9, outcome: 'rejected', peer: null, authority: null, reason: 'why', notAfter });
  const reject = { type: 'reject', migrationId: m1, epoch: 9, reason: 'late', shown: { epoch: 9, notAfter: '2030-01-01T00:00:00Z', now: NOW } } as const;
  const idsIn = (reached: ReturnType<typeof after>) => (typeof reached === 'string' ? reached : reached.settled.map((one) => one.migrationId));

  it('without the record having it goes once its order has ended, not at that very moment', () => {
    expect(idsIn(after(owner(1, [tombstone(0, NOW), tombstone(1, '2029-05-31T23:59:59Z')]), reject))).toEqual([tombstone(0, NOW).migrationId, m1]);
  });

  it('without the record having it is bounded; what the record had does not count', () => {
    const many = (count: number) => Array.from({ length: count }, (_, n) => tombstone(n, '2030-01-01T00:00:00Z'));
    expect(after(owner(1, many(TOMBSTONES_MAX)), reject)).toBe('OWNERSHIP_REFUSED');
    expect(idsIn(after(owner(2, [settled({ migrationId: m2 }), ...many(TOMBSTONES_MAX - 1)]), reject))).toHaveLength(TOMBSTONES_MAX + 1);
  });

  it('of epochs before is kept where it shows an operator’s word, the last sixteen', () => {
    const words = Array.from({ length: 20 }, (_, n) => settled({ migrationId: tombstone(n, NOW).migrationId, epoch: n + 1 }));
    const wordless = settled({ migrationId: m0, epoch: 3, outcome: 'withdrawn', peer: null, authority: null });
    const current = settled({ migrationId: m2, epoch: 30 });
    const reached = after(owner(30, [...words, wordless, current]), { type: 'offer', migrationId: m1, destination: DESTINATION, epoch: 31, order: SIGNED_ORDER, peerBoot: PEER_BOOT });
    expect(idsIn(reached)).toEqual([...words.slice(4), current].map((one) => one.migrationId));
  });
});

describe('a refusal', () => {
  const refused = (before: OwnershipRecord) => {
    const reached = applyOwnershipEvent(before, { type: 'relinquish', migrationId: m2 });
    return reached.ok ? 'taken' : reached.failure.message;
  };

  it('says what the record is: its epoch, and its move where there is one', () => {
    expect(refused(owner(2))).toContain('owner (epoch 2)');
    expect(refused(record({ state: 'relinquished', epoch: 1, ...OUTGOING }))).toContain(`relinquished (epoch 1, move ${m1}, peer host-b)`);
  });
});

describe('a generation', () => {
  const STATES = {
    none: record({ state: 'none', epoch: 0 }), owner: owner(2), 'later owner': owner(4), offering: record({ state: 'offering', epoch: 2, ...OUTGOING }), relinquished: record({ state: 'relinquished', epoch: 2, ...OUTGOING }),
    retired: record({ ...RETIRED, epoch: 2 }), incoming: record({ ...INCOMING, epoch: 3 }),
  };
  type Name = keyof typeof STATES;

  it.each<[Name, Name, boolean]>([
    ['none', 'owner', true], ['relinquished', 'later owner', true], ['offering', 'owner', false], ['relinquished', 'owner', false], ['incoming', 'later owner', false], ['incoming', 'owner', false], ['owner', 'later owner', false],
    ['owner', 'offering', true], ['offering', 'offering', false], ['offering', 'relinquished', false], ['relinquished', 'retired', true], ['owner', 'retired', true], ['retired', 'retired', false],
    ['none', 'incoming', true], ['retired', 'incoming', true], ['incoming', 'none', false], ['incoming', 'retired', true],
  ])('from %s to %s begins: %s', (before, next, begins) => {
    expect(startsGeneration(STATES[before], STATES[next])).toBe(begins);
  });
});

describe('what a host has beside its record', () => {
  const refusedHere = settled({ outcome: 'rejected', peer: null, authority: null, reason: 'why' });

  it.each<[string, OwnershipRecord, boolean]>([
    ['it gave the VM away', record(RETIRED), true],
    ['it rejected a copy that it had', record({ state: 'none', epoch: 0 }, [refusedHere]), true],
    ['it only refused an order', record({ state: 'none', epoch: 0 }, [{ ...refusedHere, notAfter: '2030-01-01T00:00:00Z' }]), false],
    ['it only took an offer back', record({ state: 'none', epoch: 0 }, [{ ...refusedHere, outcome: 'withdrawn' }]), false],
    ['it owns the VM', owner(1, [refusedHere]), false],
    ['it has nothing', record({ state: 'none', epoch: 0 }), false],
  ])('is surplus where %s: %s', (_, of, isIt) => {
    expect(isSurplus(of)).toBe(isIt);
  });
});
