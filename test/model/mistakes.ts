/**
 * Mistakes, planted one at a time: some in the rule (the real function, wrapped), some in what a host does around it (where
 * the steps ask for `mistake`). Each names the invariant that it must break; test/parts/exploration.test.ts checks that it does.
 */
import { type OwnershipRecord, type Transition, applyOwnershipEvent, settlementOf } from '../../domain/ownership.js';
import type { ExplorationName } from './explorations.js';
import type { InvariantName } from './invariants.js';
import type { Apply } from './records.js';

interface Mistake {
  readonly breaks: InvariantName;
  readonly in: ExplorationName;
  readonly apply?: Apply;
}

const real = applyOwnershipEvent;

function become(record: OwnershipRecord, change: object): Transition {
  return { ok: true, record: { ...record, ...change } as OwnershipRecord };
}

export const MISTAKES = {
  'a rejection leaves no tombstone': {
    breaks: 'settled-is-final', in: 'one move',
    apply: (record, event) => {
      const next = real(record, event);
      return event.type === 'reject' && next.ok ? become(next.record, { settled: next.record.settled.filter((s) => s.migrationId !== event.migrationId) }) : next;
    },
  },
  'accept after reject': {
    breaks: 'one-verdict', in: 'one move',
    apply: (record, event) => (event.type === 'accept' && settlementOf(record, event.migrationId)?.outcome === 'rejected' ? become(record, { state: 'owner', epoch: event.epoch, settled: [{ ...settlementOf(record, event.migrationId), outcome: 'accepted' }] }) : real(record, event)),
  },
  'withdraw what was relinquished': {
    breaks: 'one-may-run', in: 'one move',
    apply: (record, event) => (event.type === 'withdraw' && record.state === 'relinquished' ? become(record, ownerAgain(record)) : real(record, event)),
  },
  'a verdict of another destination is believed': {
    breaks: 'one-runs', in: 'one move',
    apply: (record, event) => real(record, event.type === 'learn-verdict' && record.state === 'relinquished' ? { ...event, proven: { ...event.proven, verdict: { ...event.proven.verdict, destination: record.peer } } } : event),
  },
  'a verdict is believed unproven': { breaks: 'one-runs', in: 'one move' },
  'a fence takes the destination’s epoch': {
    breaks: 'one-owner-an-epoch', in: 'one move',
    apply: (record, event) => {
      const next = real(record, event);
      return event.type === 'fence' && next.ok && next.record !== record ? become(next.record, { epoch: record.epoch + 1, settled: next.record.settled.map((s) => ({ ...s, epoch: record.epoch + 1 })) }) : next;
    },
  },
  'a fence is refused': {
    breaks: 'a-fence-ends-the-doubt', in: 'one move',
    apply: (record, event) => real(record, event.type === 'fence' ? { type: 'create' } : event),
  },
  'a fence of another host is believed': {
    breaks: 'one-runs', in: 'one move',
    apply: (record, event) => real(record, event.type === 'fence' && record.state === 'relinquished' ? { ...event, destination: record.peer } : event),
  },
  'a claim of an earlier epoch is believed': {
    breaks: 'a-way-back', in: 'one move',
    apply: (record, event) => (event.type === 'learn-claim' && record.state === 'owner' && event.proven.claim.epoch === record.epoch - 1 ? become(record, { state: 'retired', epoch: record.epoch, migrationId: event.proven.claim.migrationId, peer: event.proven.claim.hostId, keptUntil: null }) : real(record, event)),
  },
  'a claim of any host is believed': {
    breaks: 'nothing-lost', in: 'one move',
    apply: (record, event) => (event.type === 'learn-claim' && record.state === 'owner' && event.proven.claim.epoch > record.epoch ? become(record, { state: 'retired', epoch: record.epoch, migrationId: event.proven.claim.migrationId, peer: event.proven.claim.hostId, keptUntil: null }) : real(record, event)),
  },
  'a claim is not believed': {
    breaks: 'a-way-back', in: 'one move',
    apply: (record, event) => (event.type === 'learn-claim' && record.state === 'owner' ? real(record, { ...event, proven: { ...event.proven, claim: { ...event.proven.claim, hostId: record.hostId } } }) : real(record, event)),
  },
  'reuse an epoch': {
    breaks: 'one-owner-an-epoch', in: 'one move',
    apply: (record, event) => (event.type === 'offer' && record.state === 'owner' ? real(record, { ...event, epoch: record.epoch + 1 }) : real(record, event)),
  },
  'an earlier epoch is expected': {
    breaks: 'one-owner-an-epoch', in: 'three moves, in turn',
    apply: (record, event) => (event.type === 'expect' && record.state === 'retired' && event.epoch <= record.epoch ? become(record, { state: 'incoming', epoch: event.epoch, migrationId: event.migrationId, peer: event.source, order: event.order, before: null }) : real(record, event)),
  },
  'accept without manifest': { breaks: 'given-before-taken', in: 'one move' },
  'run before accept': { breaks: 'verified-before-it-runs', in: 'one move' },
  'manifest before relinquish': { breaks: 'given-before-taken', in: 'one move' },
  'manifest before completed': { breaks: 'one-runs', in: 'one move' },
  'act before the record': { breaks: 'one-runs', in: 'one move' },
  'resume on a timeout': { breaks: 'one-runs', in: 'one move' },
  'resume when the channel breaks after the manifest': { breaks: 'runs-by-record', in: 'one move' },
  'start without asking': { breaks: 'one-runs', in: 'one move' },
  'fence a host that is on': { breaks: 'one-runs', in: 'one move' },
  'anyone resumes an offering VM': { breaks: 'one-runs', in: 'one move' },
  'settle beside a running copy': { breaks: 'one-may-run', in: 'one move' },
  'a VM that does not run is offered': { breaks: 'one-may-run', in: 'on to a third host, in turn' },
  'an offer whose VM does not run is withdrawn': { breaks: 'one-may-run', in: 'an older record' },
  'look, then resume': { breaks: 'one-runs', in: 'one move' },
  'look, then discard': { breaks: 'nothing-lost', in: 'twice the same way' },
  'prepare without a second look': { breaks: 'nothing-lost', in: 'twice the same way' },
  'shared copy socket': { breaks: 'one-runs', in: 'there and back' },
  'a failed activation resumes unasked': { breaks: 'one-runs', in: 'there and back' },
} as const satisfies Record<string, Mistake>;
export type MistakeName = keyof typeof MISTAKES;

export function applyOf(name: MistakeName | null): Apply {
  const mistake: Mistake | null = name && MISTAKES[name];
  return mistake?.apply ?? real;
}

function ownerAgain({ settled, migrationId, epoch }: Extract<OwnershipRecord, { state: 'relinquished' }>) {
  const withdrawn = { migrationId, epoch: epoch + 1, outcome: 'withdrawn', manifest: null, reason: null, peer: null, authority: null, notAfter: null };
  return { settled: [...settled, withdrawn], state: 'owner', migrationId: undefined, peer: undefined, order: undefined, peerBoot: undefined };
}
