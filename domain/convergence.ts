/**
 * Whether a copy still comes closer to its end, as one pure function over its memory rounds. Rounds decide, never a
 * clock: a slow network alone is no stall.
 *
 *   rounds planned for the longest pause, under unchanged terms, not held
 *     ├─ one of the last `stallRounds` left less to send than any before it ──► go on
 *     └─ none did ─┬─ the guest may be slowed further ──► throttle
 *                  └─ it may not ───────────────────────► stalled
 *
 * It does not act: activities/outgoing-move.ts does.
 */
import { type Failure, failure } from './failures.js';
import type { CopyLimits, CopyProgress } from './progress.js';

/** A memory round as it was first seen, so `remainingBytes` is about what was dirtied before it, and its terms. */
export interface RoundStart extends CopyProgress {
  readonly plannedPauseMs: number;
  /** The limit in force; null for none. */
  readonly bandwidthBytesPerSecond: number | null;
  readonly wasHeld: boolean;
}

export interface Stall {
  /** How many rounds in a row brought nothing. */
  readonly rounds: number;
  readonly remainingBytes: number;
  readonly dirtyBytesPerSecond: number | null;
  /** What was really sent in these rounds; null where it could not be measured. */
  readonly sentBytesPerSecond: number | null;
}

export type Convergence =
  | { readonly kind: 'go-on' }
  /** Slow the guest by this share of its time. */
  | { readonly kind: 'throttle'; readonly percent: number }
  | { readonly kind: 'stalled'; readonly stall: Stall };

/** A round counts as progress where it leaves at most this part of the best one before. */
const PROGRESS_FACTOR = 0.95;

/**
 * `starts`: oldest first. `throttlePercent`: the share asked for so far, 0 for none; a round under less than that, since the
 * hypervisor has yet to follow, does not count.
 */
export function judgeConvergence(starts: readonly RoundStart[], limits: CopyLimits, throttlePercent: number): Convergence {
  const streak = trailing(starts, (start) => isAtTheLimit(start, limits) && (start.throttlePercent ?? 0) >= throttlePercent);
  let best = Number.POSITIVE_INFINITY;
  let bestAt = 0;
  streak.forEach(({ remainingBytes }, i) => {
    if (remainingBytes > best * PROGRESS_FACTOR) return;
    best = remainingBytes;
    bestAt = i;
  });
  const inVain = streak.slice(bestAt);
  if (inVain.length <= limits.stallRounds) return { kind: 'go-on' };
  const percent = nextThrottle(limits, throttlePercent);
  return percent === null ? { kind: 'stalled', stall: stallOf(inVain) } : { kind: 'throttle', percent };
}

/** COPY_STALLED. */
export function stallFailure({ rounds, remainingBytes, dirtyBytesPerSecond, sentBytesPerSecond }: Stall, { downtimeLimitMs }: CopyLimits): Failure {
  return failure('COPY_STALLED', {
    rounds,
    remaining: remainingBytes,
    dirty: dirtyBytesPerSecond === null ? 'an unknown number of' : Math.round(dirtyBytesPerSecond),
    bandwidth: sentBytesPerSecond === null ? 'an unknown number of' : Math.round(sentBytesPerSecond),
    budget: downtimeLimitMs,
  });
}

function isAtTheLimit(start: RoundStart, { downtimeLimitMs, bandwidthBytesPerSecond }: CopyLimits): boolean {
  return !start.wasHeld && start.plannedPauseMs === downtimeLimitMs && start.bandwidthBytesPerSecond === bandwidthBytesPerSecond;
}

/** Null where the guest may not be slowed, or no further. */
function nextThrottle({ autoConverge }: CopyLimits, current: number): number | null {
  if (!autoConverge || current >= autoConverge.maxPercent) return null;
  return current === 0 ? autoConverge.initialPercent : Math.min(current + autoConverge.incrementPercent, autoConverge.maxPercent);
}

/** The first of `inVain` is the one that none after it bettered. */
function stallOf(inVain: readonly RoundStart[]): Stall {
  const [first, last] = [inVain[0], inVain[inVain.length - 1]];
  if (!first || !last) throw new Error('no rounds');
  const elapsedMs = last.elapsedMs - first.elapsedMs;
  return {
    rounds: inVain.length - 1,
    remainingBytes: last.remainingBytes,
    dirtyBytesPerSecond: last.dirtyBytesPerSecond,
    sentBytesPerSecond: elapsedMs > 0 ? ((last.sentBytes - first.sentBytes) * 1000) / elapsedMs : null,
  };
}

function trailing<T>(all: readonly T[], isWanted: (one: T) => boolean): readonly T[] {
  let from = all.length;
  while (from > 0 && isWanted(all[from - 1] as T)) from -= 1;
  return all.slice(from);
}
