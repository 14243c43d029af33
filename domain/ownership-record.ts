/**
 * The ownership record of one VM on one host, and what can be read from it. Which record may follow which is ownership.ts. These states
 * are this project's own design.
 */
import { z } from 'zod';
import { TpmBoot } from './attestation.js';
import { OperatorEnvelope } from './envelope.js';
import { HostId, MigrationId, VmId } from './ids.js';
import { Manifest } from './manifest.js';

/** A migration that is decided here. */
export const Settlement = z.strictObject({
  migrationId: MigrationId,
  /** The one it would have made or made. */
  epoch: z.int().min(1),
  outcome: z.enum(['accepted', 'rejected', 'withdrawn', 'fenced']),
  /** Of the accepted image, so that it is known after both workers of the move are gone; null otherwise. */
  manifest: Manifest.nullable(),
  /** Why it was rejected or fenced; null otherwise. */
  reason: z.string().max(2000).nullable(),
  /** The other host, of one that was accepted or fenced; null otherwise. */
  peer: HostId.nullable(),
  /** What an operator signed that made this host the owner: the order of one that was accepted, the fence of one that was fenced; null otherwise. */
  authority: OperatorEnvelope.nullable(),
  /** Of one that was never taken up here: when its order ends, and this with it. Null otherwise. */
  notAfter: z.iso.datetime().nullable(),
});
export type Settlement = Readonly<z.infer<typeof Settlement>>;

const common = {
  version: z.literal(3),
  vmId: VmId,
  hostId: HostId,
  /** Which of this host's generations it is of (host/ledger.ts); 0 before the first. */
  generation: z.int().min(0),
  settled: z.array(Settlement),
};
const epoch = z.int().min(1);
const move = { migrationId: MigrationId, peer: HostId };
/** The signed order, so that it can be shown again when the workflow that had it is gone. */
const order = OperatorEnvelope;
/** `peerBoot`: the boot in which the peer was attested; a verdict counts from no other. */
const outgoing = { ...move, order, peerBoot: TpmBoot };

export const OwnershipRecord = z.discriminatedUnion('state', [
  /** Nothing of this VM was ever owned here, or the last record of it was of `epoch`. */
  z.strictObject({ ...common, state: z.literal('none'), epoch: z.literal(0) }),
  z.strictObject({ ...common, state: z.literal('owner'), epoch }),
  z.strictObject({ ...common, state: z.literal('offering'), epoch, ...outgoing }),
  z.strictObject({ ...common, state: z.literal('relinquished'), epoch, ...outgoing }),
  /** `keptUntil`: what this host gave up to another one's word stays on its disk until then; null where nothing of it is kept. */
  z.strictObject({ ...common, state: z.literal('retired'), epoch, ...move, keptUntil: z.iso.datetime().nullable() }),
  /** `epoch` is the one to come; `before` the retirement that stood here earlier, to return to. */
  z.strictObject({ ...common, state: z.literal('incoming'), epoch, ...move, order, before: z.strictObject({ epoch, ...move }).nullable() }),
]);
export type OwnershipRecord = Readonly<z.infer<typeof OwnershipRecord>>;
export type OwnershipState = OwnershipRecord['state'];
export type RecordIn<S extends OwnershipState> = Extract<OwnershipRecord, { state: S }>;
/** What a state has beside what all have. */
export type StateFields = OwnershipRecord extends infer R ? (R extends OwnershipRecord ? Omit<R, keyof typeof common> : never) : never;

export function noRecord(vmId: VmId, hostId: HostId): RecordIn<'none'> {
  return { version: 3, vmId, hostId, generation: 0, state: 'none', epoch: 0, settled: [] };
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
 * What this record says of one migration towards its host that would make `epoch`. `superseded`: it owned that epoch or a later one, and no
 * longer knows by which migration. A later epoch exists only because the owner of the one before relinquished it.
 */
export function decisionOn(record: OwnershipRecord, migrationId: MigrationId, made: number): 'accepted' | 'rejected' | 'superseded' | 'undecided' {
  const settled = settlementOf(record, migrationId);
  if (settled) return settled.outcome === 'accepted' ? 'accepted' : 'rejected';
  return made <= ownedEpoch(record) ? 'superseded' : 'undecided';
}

/** The highest epoch that was ever owned here. */
export function ownedEpoch(record: OwnershipRecord): number {
  return record.state === 'incoming' ? (record.before?.epoch ?? 0) : record.epoch;
}

export function settlementOf(record: OwnershipRecord, migrationId: MigrationId): Settlement | undefined {
  return record.settled.find((s) => s.migrationId === migrationId);
}

/**
 * Whether what a host has of the VM beside its record is surplus: it gave the VM away, or never accepted the one that it took in. That an order was refused
 * here says nothing of what lies here.
 */
export function isSurplus(record: OwnershipRecord): boolean {
  return record.state === 'retired' || (record.state === 'none' && record.settled.some(({ outcome, notAfter }) => outcome === 'rejected' && notAfter === null));
}

/** Whether a record is in one of these states by this migration. */
export function isMove<S extends 'offering' | 'relinquished' | 'retired' | 'incoming'>(record: OwnershipRecord, state: S, migrationId: MigrationId): record is RecordIn<S> {
  return record.state === state && record.migrationId === migrationId;
}
