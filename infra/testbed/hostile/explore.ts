/** Draws runs, and makes the first that breaks something as small as it gets (fast-check). */
import fc from 'fast-check';
import { type Breach, INVARIANTS, type InvariantName } from './judge.js';
import { type Beginning, liveThePast } from './past.js';
import { type Plan, runOnce } from './run.js';
import type { Planted } from './world.js';

export interface Found {
  readonly tried: number;
  readonly seed: number;
  /** Null where nothing broke. */
  readonly broken: { readonly plan: Plan; readonly breaches: readonly Breach[]; readonly attacks: readonly string[]; readonly shrinks: number } | null;
}

export interface Exploring {
  readonly tries: number;
  readonly seed: number;
  readonly watched?: readonly InvariantName[];
  readonly planted?: Planted;
  readonly beginning?: Beginning;
  /** Whether what breaks is made small; true where it is not said. */
  readonly isShrunk?: boolean;
}

const small = (max: number) => fc.nat({ max });
const edit = fc.record({ at: small(40), how: small(4), value: small(30) });
const act = fc.record({
  wait: fc.oneof({ arbitrary: small(3), weight: 3 }, { arbitrary: small(60), weight: 2 }, { arbitrary: small(400), weight: 1 }),
  kind: fc.constantFrom(1, 1, 1, 0, 0, 2),
  activity: small(60),
  base: fc.oneof({ arbitrary: fc.constant(0), weight: 3 }, { arbitrary: small(12), weight: 2 }),
  host: fc.oneof({ arbitrary: fc.constant(0), weight: 3 }, { arbitrary: small(3), weight: 1 }),
  move: fc.oneof({ arbitrary: fc.constant(0), weight: 2 }, { arbitrary: fc.constant(1), weight: 2 }, { arbitrary: small(6), weight: 1 }),
  edits: fc.oneof({ arbitrary: fc.constant([]), weight: 3 }, { arbitrary: fc.array(edit, { maxLength: 3 }), weight: 2 }),
  when: fc.oneof({ arbitrary: fc.constant(0), weight: 5 }, { arbitrary: small(4), weight: 1 }),
  forge: fc.oneof({ arbitrary: fc.constant(0), weight: 1 }, { arbitrary: small(6), weight: 1 }),
});
export const planOf: fc.Arbitrary<Plan> = fc.record({
  acts: fc.array(act, { maxLength: 32, size: 'max' }),
  seed: small(0x7fffffff),
  disorder: fc.oneof(fc.constant(0), small(2000)),
  shuffle: small(1),
  honest: small(4),
  terminate: fc.oneof({ arbitrary: fc.constant(0), weight: 3 }, { arbitrary: small(22), weight: 1 }),
  turned: small(3),
  turnedAt: fc.oneof(fc.constant(0), small(500)),
  isRestarted: fc.boolean(),
});

export async function explore({ tries, seed, watched = Object.keys(INVARIANTS) as InvariantName[], planted, beginning, isShrunk = true }: Exploring): Promise<Found> {
  const from = beginning ?? (await liveThePast());
  const surprises: unknown[] = [];
  const note = (error: unknown) => void surprises.push(error);
  process.on('unhandledRejection', note);
  const takeOut = planted?.plant?.();
  try {
    const property = fc.asyncProperty(planOf, async (drawn) => (await runOnce(drawn, from, watched, planted)).breaches.length === 0);
    const checked = await fc.check(property, { numRuns: tries, seed, endOnFailure: !isShrunk });
    const [smallest] = checked.counterexample ?? [];
    if (!checked.failed || !smallest) return { tried: checked.numRuns, seed, broken: null };
    const { breaches, attacks } = await runOnce(smallest, from, watched, planted);
    return { tried: checked.numRuns, seed, broken: { plan: smallest, breaches, attacks, shrinks: checked.numShrinks } };
  } finally {
    takeOut?.();
    process.off('unhandledRejection', note);
  }
}
