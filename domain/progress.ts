/** Numbers of a running copy, and the limits it runs under. */
import { z } from 'zod';

const Percent = z.int().min(1).max(99);

/** How far vCPUs may be slowed, in percent of their time: at the first stall, more at each later one, at most. */
export const AutoConverge = z
  .strictObject({ initialPercent: Percent, incrementPercent: Percent, maxPercent: Percent })
  .refine(({ initialPercent, maxPercent }) => initialPercent <= maxPercent, 'initialPercent is above maxPercent');
export type AutoConverge = Readonly<z.infer<typeof AutoConverge>>;

/** Members with a default came later: orders that were recorded before them still parse. */
export const CopyLimits = z.strictObject({
  /** The longest pause that the hypervisor may plan for its last round, in ms; shorter ones are tried first. */
  downtimeLimitMs: z.int().min(1).max(10_000),
  /** Bytes a second on the channel; null for no limit. */
  bandwidthBytesPerSecond: z.int().min(1024 * 1024).nullable(),
  /** The copy gives up after this many memory rounds. */
  maxRounds: z.int().min(1).max(10_000),
  /** The copy is stalled when so many rounds in a row, planned for the longest pause, left no less to send (domain/convergence.ts). */
  stallRounds: z.int().min(1).max(10_000).default(8),
  /** Null: no guest is slowed without being asked. */
  autoConverge: AutoConverge.nullable().default(null),
});
export type CopyLimits = Readonly<z.infer<typeof CopyLimits>>;

export const DEFAULT_LIMITS: CopyLimits = { downtimeLimitMs: 300, bandwidthBytesPerSecond: null, maxRounds: 200, stallRounds: 8, autoConverge: null };
/** Where an order asks for it without numbers. */
export const DEFAULT_AUTO_CONVERGE: AutoConverge = { initialPercent: 20, incrementPercent: 20, maxPercent: 99 };

const FIRST_PLANNED_PAUSE_MS = 10;
const ROUNDS_AT_FIRST = 3;

/**
 * The pause to plan for in a memory round, in ms: short at first, then twice as long in every round,
 * until the limit. A quiet guest stands still for as short as its last pages take; a busy one still converges.
 */
export function plannedPauseMs(round: number, { downtimeLimitMs }: Pick<CopyLimits, 'downtimeLimitMs'>): number {
  const doublings = Math.min(Math.max(0, round - ROUNDS_AT_FIRST), 10);
  return Math.min(downtimeLimitMs, FIRST_PLANNED_PAUSE_MS * 2 ** doublings);
}

/** Where a copy stands. Source: query-migrate of QEMU (qapi/migration.json, MigrationStats). */
export interface CopyProgress {
  /** 1 while every page is sent for the first time; one more for each pass over dirtied pages. */
  readonly round: number;
  readonly sentBytes: number;
  readonly remainingBytes: number;
  readonly totalBytes: number;
  /** Bytes a second that the guest dirties; null until measured. */
  readonly dirtyBytesPerSecond: number | null;
  readonly elapsedMs: number;
  /** Share of their time that vCPUs are slowed by, in percent; null while they are not. */
  readonly throttlePercent: number | null;
}
