/** domain/convergence.ts: which rounds count, what progress is, and what follows when there is none. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type RoundStart, judgeConvergence, stallFailure } from '../../domain/convergence.js';
import { CopyLimits, DEFAULT_LIMITS } from '../../domain/progress.js';

const MIB = 1024 * 1024;
const LIMITS: CopyLimits = { ...DEFAULT_LIMITS, downtimeLimitMs: 100, stallRounds: 3 };
const SLOWING: CopyLimits = { ...LIMITS, autoConverge: { initialPercent: 20, incrementPercent: 30, maxPercent: 60 } };
const stalled = { kind: 'stalled' };
const goOn = { kind: 'go-on' };

/** One round a member: what it began with, in MiB, at the limit where nothing else is said. */
function rounds(...begins: readonly (number | (Partial<RoundStart> & { readonly mib?: number }))[]): RoundStart[] {
  return begins.map((begin, i) => {
    const { mib = 20, ...changes } = typeof begin === 'number' ? { mib: begin } : begin;
    return {
      round: i + 2, sentBytes: i * 10 * MIB, remainingBytes: mib * MIB, totalBytes: 256 * MIB, dirtyBytesPerSecond: 8 * MIB, elapsedMs: i * 2000,
      throttlePercent: null, plannedPauseMs: 100, bandwidthBytesPerSecond: null, wasHeld: false, ...changes,
    };
  });
}

describe('a copy', () => {
  it.each<[string, RoundStart[], object]>([
    ['without a round', [], goOn],
    ['whose rounds are as many as the limit', rounds(20, 20, 20), goOn],
    ['with one round more than the limit, each like the first', rounds(20, 20, 20, 20), stalled],
    ['that comes closer by 5 % each time', rounds(20, 19, 18.05, 17.1, 16.2, 15.3), goOn],
    ['that comes closer by less', rounds(20, 19.5, 19.4, 19.3), stalled],
    ['that comes closer by less each time, but by 5 % in all', rounds(20, 19.6, 19.2, 18.9, 18.8), goOn],
    ['whose last progress is long ago', rounds(20, 10, 10, 12, 11), stalled],
    ['whose last progress is recent', rounds(20, 20, 20, 10, 12, 11), goOn],
    ['that grows', rounds(20, 30, 40, 50), stalled],
    ['whose pause is still planned shorter', rounds({ plannedPauseMs: 50 }, { plannedPauseMs: 50 }, 20, 20, 20), goOn],
    ['that stalled under a smaller budget', rounds(...[1, 2, 3, 4, 5].map(() => ({ plannedPauseMs: 50 })), 20), goOn],
    ['that stalled with less bandwidth', rounds(...[1, 2, 3, 4, 5].map(() => ({ bandwidthBytesPerSecond: MIB })), 20), goOn],
    ['that was held in between', rounds(20, 20, { wasHeld: true }, 20, 20, 20), goOn],
    ['that stalls again after it was held', rounds(20, 20, { wasHeld: true }, 20, 20, 20, 20), stalled],
  ])('%s', (_, starts, expected) => {
    expect(judgeConvergence(starts, LIMITS, 0)).toMatchObject(expected);
  });

  it.each<[string, RoundStart[], number, object]>([
    ['for the first time', rounds(20, 20, 20, 20), 0, { kind: 'throttle', percent: 20 }],
    ['again', rounds(...[1, 2, 3, 4].map(() => ({ throttlePercent: 20 }))), 20, { kind: 'throttle', percent: 50 }],
    ['a third time: never above the maximum', rounds(...[1, 2, 3, 4].map(() => ({ throttlePercent: 50 }))), 50, { kind: 'throttle', percent: 60 }],
    ['at the maximum', rounds(...[1, 2, 3, 4].map(() => ({ throttlePercent: 60 }))), 60, stalled],
    ['before the hypervisor followed', rounds(...[1, 2, 3, 4, 5].map(() => ({ throttlePercent: 20 }))), 50, goOn],
    ['only partly since it followed', rounds({ throttlePercent: 20 }, ...[1, 2, 3].map(() => ({ throttlePercent: 50 }))), 50, goOn],
  ])('that may slow its guest stalls %s', (_, starts, throttlePercent, expected) => {
    expect(judgeConvergence(starts, SLOWING, throttlePercent)).toMatchObject(expected);
  });

  it('stalls never while each round leaves 5 % less than the one before, and always once it leaves no less for long enough', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.array(fc.double({ min: 0.1, max: 0.94, noNaN: true }), { maxLength: 30 }), (stallRounds, factors) => {
        const limits = { ...LIMITS, stallRounds };
        let mib = 1000;
        const falling = [mib, ...factors.map((factor) => (mib *= factor))];
        expect(judgeConvergence(rounds(...falling), limits, 0)).toEqual(goOn);
        const flat = Array.from({ length: stallRounds }, () => mib);
        expect(judgeConvergence(rounds(...falling, ...flat.slice(1)), limits, 0)).toEqual(goOn);
        expect(judgeConvergence(rounds(...falling, ...flat), limits, 0)).toMatchObject({ kind: 'stalled', stall: { rounds: stallRounds } });
      }),
    );
  });

  it('says in one sentence why it cannot keep to the budget', () => {
    const convergence = judgeConvergence(rounds(30, 20, 20, 20, 21), LIMITS, 0);
    if (convergence.kind !== 'stalled') throw new Error('it goes on');
    expect(convergence.stall).toEqual({ rounds: 3, remainingBytes: 21 * MIB, dirtyBytesPerSecond: 8 * MIB, sentBytesPerSecond: 5 * MIB });
    const { code, message, remedy } = stallFailure(convergence.stall, LIMITS);
    expect(code).toBe('COPY_STALLED');
    for (const fact of ['3 rounds', `${21 * MIB} bytes`, `${8 * MIB} bytes/s`, `${5 * MIB} bytes/s`, '100 ms']) expect(message).toContain(fact);
    for (const option of ['--downtime-limit', '--bandwidth', '--auto-converge']) expect(remedy).toContain(option);
  });
});

describe('limits', () => {
  it('that were written before these members stall after 8 rounds and slow nobody', () => {
    const { downtimeLimitMs, bandwidthBytesPerSecond, maxRounds } = DEFAULT_LIMITS;
    expect(CopyLimits.parse({ downtimeLimitMs, bandwidthBytesPerSecond, maxRounds })).toMatchObject({ stallRounds: 8, autoConverge: null });
  });

  it.each<[string, object, boolean]>([
    ['from 1 to 99 percent', { initialPercent: 1, incrementPercent: 99, maxPercent: 99 }, true],
    ['of no percent', { initialPercent: 0, incrementPercent: 10, maxPercent: 99 }, false],
    ['of all', { initialPercent: 20, incrementPercent: 10, maxPercent: 100 }, false],
    ['that begin above their maximum', { initialPercent: 50, incrementPercent: 10, maxPercent: 40 }, false],
  ])('slow a guest by steps %s: %o is %s', (_, autoConverge, isValid) => {
    expect(CopyLimits.safeParse({ ...DEFAULT_LIMITS, autoConverge }).success).toBe(isValid);
  });
});
