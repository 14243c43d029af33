/**
 * The evidence file of one move: what was ordered, what each host proved, what was sent, what was
 * decided and when. Written for every outcome. Version 2; a reader refuses other versions.
 */
import { z } from 'zod';
import { HostEvidence } from './attestation.js';
import { Envelope } from './envelope.js';
import { HostId, recordOf } from './ids.js';
import { Manifest, ReceiptStatement, SuccessionStatement, VerdictStatement } from './manifest.js';
import { VmDocument } from './vm.js';

const FailureRecord = z.strictObject({ code: z.string(), message: z.string(), remedy: z.string() });

export const RoundRecord = z.strictObject({
  round: z.int(),
  sentBytes: z.int(),
  remainingBytes: z.int(),
  dirtyBytesPerSecond: z.number().nullable(),
  elapsedMs: z.int(),
  throttlePercent: z.int().nullable(),
});
export type RoundRecord = Readonly<z.infer<typeof RoundRecord>>;

/**
 * What the source saw, ms since the epoch by the source's clock. `pauseMs` goes from the pause until
 * the verdict arrived, so it contains the verdict's way back: an upper bound of what the guest lost.
 */
export const SourceTimings = z.strictObject({
  pausedAtMs: z.number(),
  relinquishedAtMs: z.number(),
  lastByteAtMs: z.number(),
  manifestAtMs: z.number(),
  verdictAtMs: z.number(),
  pauseMs: z.number(),
});
export type SourceTimings = Readonly<z.infer<typeof SourceTimings>>;

/** What the destination saw, ms since the epoch by its clock. */
export const DestinationTimings = z.strictObject({
  manifestAtMs: z.number(),
  loadedAtMs: z.number(),
  decidedAtMs: z.number(),
  runningAtMs: z.number(),
});
export type DestinationTimings = Readonly<z.infer<typeof DestinationTimings>>;

/** What an operator signed while the move ran, and when the workflow heard it. */
export const SaidRecord = z.strictObject({ envelope: Envelope, atMs: z.number() });
export type SaidRecord = Readonly<z.infer<typeof SaidRecord>>;

export const OUTCOMES = ['moved', 'source-resumed', 'refused'] as const;

export const Evidence = z.strictObject({
  kind: z.literal('korora/evidence'),
  version: z.literal(2),
  /** Signed: korora/order. */
  order: Envelope,
  vm: VmDocument,
  attestation: z.strictObject({
    source: HostEvidence.nullable(),
    destination: HostEvidence.nullable(),
    /** Reference set that each host's values matched, by its peer's appraisal. */
    referenceSets: z.strictObject({ source: z.string().nullable(), destination: z.string().nullable() }),
  }),
  manifest: Manifest.nullable(),
  verdict: VerdictStatement.nullable(),
  /** In the place of a verdict, of a destination that owned a later epoch since; null otherwise. */
  succession: SuccessionStatement.nullable(),
  /** Of a move that succeeded; null where the host did not give one. */
  receipts: z.strictObject({ source: ReceiptStatement.nullable(), destination: ReceiptStatement.nullable() }),
  rounds: z.array(RoundRecord),
  /** Signed: korora/fence, for each host that an operator declared powered off during the move. */
  fences: z.array(SaidRecord),
  /** Signed: korora/approval; null where the order asked for none, or none was given. */
  approval: SaidRecord.nullable(),
  /** Signed: korora/limits, oldest first. */
  limitsChanges: z.array(SaidRecord),
  timings: z.strictObject({
    startedAtMs: z.number(),
    endedAtMs: z.number(),
    /** Phase → ms since the start when it was reached. */
    phases: recordOf(z.string(), z.number()),
    source: SourceTimings.nullable(),
    destination: DestinationTimings.nullable(),
  }),
  outcome: z.strictObject({
    kind: z.enum(OUTCOMES),
    /** Where the VM is, by the word of a host in this move; null where its hypervisor died, or no host said. */
    runsOn: HostId.nullable(),
    failures: z.array(FailureRecord),
  }),
});
export type Evidence = Readonly<z.infer<typeof Evidence>>;
