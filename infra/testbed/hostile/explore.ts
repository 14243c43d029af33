/** Draws runs, and makes the first that breaks something as small as it gets (fast-check). */
import fc from 'fast-check';
import { type Breach, INVARIANTS, type InvariantName } from './judge.js';
import { A_LIST, FORGERIES, HOWS, MOMENTS, SHALLOW, TURNED } from './attacker.js';
import { type Beginning, liveThePast } from './past.js';
import { type Plan, SLUGGISH, runOnce } from './run.js';
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
const edit = fc.record({ at: small(40), how: small(HOWS - 1), value: small(30) });
/** Rubbish in the place of a member of the argument itself. */
const misshapen = fc.record({ at: small(3), how: fc.constant(SHALLOW), value: fc.oneof(small(30), fc.constant(A_LIST)) });
const now = fc.constant(0);
const stalled = { after: fc.oneof(small(12), small(60)), stall: fc.oneof({ arbitrary: now, weight: 3 }, { arbitrary: small(60), weight: 1 }, { arbitrary: small(400), weight: 2 }) };
const anything = {
  ...stalled,
  upon: now,
  wait: fc.oneof({ arbitrary: small(3), weight: 3 }, { arbitrary: small(60), weight: 2 }, { arbitrary: small(400), weight: 1 }),
  kind: fc.constantFrom(1, 1, 1, 0, 0, 2, 3),
  activity: small(60),
  base: fc.oneof({ arbitrary: fc.constant(0), weight: 3 }, { arbitrary: small(12), weight: 2 }),
  host: fc.oneof({ arbitrary: fc.constant(0), weight: 3 }, { arbitrary: small(3), weight: 1 }),
  move: fc.oneof({ arbitrary: fc.constant(0), weight: 2 }, { arbitrary: fc.constant(1), weight: 2 }, { arbitrary: small(6), weight: 1 }),
  edits: fc.oneof({ arbitrary: fc.constant([]), weight: 3 }, { arbitrary: fc.array(edit, { maxLength: 3 }), weight: 2 }),
  when: fc.oneof({ arbitrary: fc.constant(0), weight: 5 }, { arbitrary: small(4), weight: 1 }),
  forge: fc.oneof({ arbitrary: now, weight: 1 }, { arbitrary: small(FORGERIES), weight: 1 }),
};
const uponOne = (moment: (typeof MOMENTS)[number]) => fc.constant(MOMENTS.indexOf(moment) + 1);
const ofAMove = fc.oneof({ arbitrary: fc.constant(1), weight: 1 }, { arbitrary: small(12), weight: 1 });
/** What a host in his hands would say of a move, to those who may believe it. */
const lie = { ...anything, upon: uponOne(TURNED), kind: fc.constant(2), base: small(3), host: now, move: ofAMove, edits: fc.constant([]), forge: fc.integer({ min: 1, max: FORGERIES }) };
/** The end of any move that he has an order of. */
const ending = { ...anything, kind: fc.constant(3), base: small(3), host: now, move: ofAMove, edits: fc.oneof(fc.constant([]), fc.array(fc.oneof(misshapen, edit), { minLength: 1, maxLength: 2 })), when: fc.oneof(now, small(4)) };
/** Two or three at once of the move that is under way, as it takes a step. */
const burst = fc.oneof(uponOne('copyMemory'), uponOne('prepareDestination'), fc.integer({ min: 1, max: MOMENTS.length })).chain((upon) => fc.array(fc.record({ ...ending, upon: fc.constant(upon), wait: fc.oneof(small(2), small(12), small(80)), move: fc.constant(1), kind: fc.constantFrom(3, 3, 3, 0), activity: fc.constantFrom(0, 0, 1, 2, 3), edits: fc.constant([]) }), { minLength: 1, maxLength: 3 }));
/** One that looks at something as memory begins to go over, and acts by it later. */
const late = { ...ending, upon: uponOne('copyMemory'), wait: small(12), move: fc.constant(1), activity: fc.constantFrom(0, 0, 0, 1, 2), edits: fc.constant([]), when: now, after: small(9), stall: small(40) };
const part = fc.oneof(
  { arbitrary: fc.record(anything).map((one) => [one]), weight: 3 },
  { arbitrary: fc.record(lie).map((one) => [one]), weight: 3 },
  { arbitrary: fc.record(ending).map((one) => [one]), weight: 3 },
  { arbitrary: burst, weight: 3 },
  { arbitrary: fc.record(late).map((one) => [one]), weight: 1 },
);
/** Many, or so few that they seldom spoil each other. */
const acts = fc.oneof(fc.array(part, { maxLength: 24, size: 'max' }), fc.array(part, { maxLength: 3 })).map((parts) => parts.flat());
const anyScene = fc.record({ honest: small(4), turned: small(3), turnedAt: fc.oneof(fc.constant(0), small(500)) });
/** A VM is handed over to host-c, which turns. */
const takenOver = fc.record({ honest: fc.constant(1), turned: fc.integer({ min: 1, max: 3 }), turnedAt: fc.constant(0) });
const ofAWorld = {
  seed: small(0x7fffffff),
  disorder: fc.oneof({ arbitrary: now, weight: 1 }, { arbitrary: small(4000), weight: 2 }),
  shuffle: small(1),
  sluggish: small(SLUGGISH.length),
  terminate: fc.oneof({ arbitrary: fc.constant(0), weight: 3 }, { arbitrary: small(22), weight: 1 }),
  isRestarted: fc.boolean(),
};
const fight = fc.tuple(fc.record({ ...ofAWorld, acts }), fc.oneof(anyScene, takenOver)).map(([drawn, scene]) => ({ ...drawn, ...scene }));
/** An undisturbed move, and one that comes late beside it; a worker that starts anew would put right what they leave. */
const race = fc.record({ ...ofAWorld, acts: fc.record(late).map((one) => [one]), disorder: now, isRestarted: fc.constant(false), terminate: now, honest: now, turned: now, turnedAt: now });
export const planOf: fc.Arbitrary<Plan> = fc.oneof({ arbitrary: fight, weight: 4 }, { arbitrary: race, weight: 1 });

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
