/** domain/convergence.ts: exactly 5 %, rounds that took no time, and what is said of a speed that nobody measured. */
import { describe, expect, it } from 'vitest';
import { type RoundStart, type Stall, judgeConvergence, stallFailure } from '../../domain/convergence.js';
import { type CopyLimits, DEFAULT_LIMITS } from '../../domain/progress.js';

const LIMITS: CopyLimits = { ...DEFAULT_LIMITS, downtimeLimitMs: 100, stallRounds: 3 };
const STALL: Stall = { rounds: 3, remainingBytes: 95, dirtyBytesPerSecond: 7.5, sentBytesPerSecond: 5.4 };

/** 500 bytes are sent in each. */
function rounds(remaining: readonly number[], msEach: number): RoundStart[] {
  return remaining.map((remainingBytes, i) => ({
    round: i + 1, sentBytes: i * 500, remainingBytes, totalBytes: 1000, dirtyBytesPerSecond: null, elapsedMs: 10 + i * msEach,
    throttlePercent: null, plannedPauseMs: 100, bandwidthBytesPerSecond: null, wasHeld: false,
  }));
}

describe('a copy', () => {
  it.each<[string, number, string]>([
    ['5 % less, to the byte, comes closer', 95, 'go-on'],
    ['one byte more than that does not', 96, 'stalled'],
  ])('that once leaves %s', (_, then, kind) => {
    expect(judgeConvergence(rounds([100, then, then, then], 1000), LIMITS, 0).kind).toBe(kind);
  });

  it.each<[string, number, number | null]>([
    ['two seconds each', 2000, 250],
    ['a millisecond each', 1, 500_000],
    ['no time', 0, null],
  ])('that stalls tells how fast it sent in rounds of %s', (_, msEach, sentBytesPerSecond) => {
    expect(judgeConvergence(rounds([100, 100, 100, 100], msEach), LIMITS, 0)).toStrictEqual({
      kind: 'stalled',
      stall: { rounds: 3, remainingBytes: 100, dirtyBytesPerSecond: null, sentBytesPerSecond },
    });
  });

  it.each<[string, Partial<Stall>, string]>([
    ['both speeds in whole bytes', {}, 'the guest dirties 8 bytes/s, 5 bytes/s are sent'],
    ['that nobody knows what the guest dirties', { dirtyBytesPerSecond: null }, 'the guest dirties an unknown number of bytes/s, 5 bytes/s are sent'],
    ['that nobody knows what is sent', { sentBytesPerSecond: null }, 'the guest dirties 8 bytes/s, an unknown number of bytes/s are sent'],
    ['of a guest that dirties nothing that it does', { dirtyBytesPerSecond: 0, sentBytesPerSecond: 0 }, 'the guest dirties 0 bytes/s, 0 bytes/s are sent'],
  ])('that stalled says %s', (_, changes, speeds) => {
    expect(stallFailure({ ...STALL, ...changes }, LIMITS).message).toBe(
      `3 rounds in a row left no less to send: 95 bytes remain, ${speeds}, and 100 ms of pause do not carry the rest`,
    );
  });
});
