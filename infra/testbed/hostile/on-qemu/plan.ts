/** What he does beside one move, drawn: the same numbers for the same seed and run. When his calls meet which step of the move is the machine's own affair. */
import { randomFrom } from '../../random.js';
import { A_LIST, type Act, type Edit, HOWS, MOMENTS, SHALLOW, TURNED } from '../attacker.js';

/** A step of the move that he lies in wait for; null: he does not, and goes by the clock. */
type Moment = Exclude<(typeof MOMENTS)[number], typeof TURNED> | null;

export interface Burst {
  readonly upon: Moment;
  /** Since then; else since he began the burst before. */
  readonly waitMs: number;
  /** Called at once. */
  readonly acts: readonly Act[];
  /** Each is cancelled after so long; 0: never. */
  readonly cancelAfterMs: number;
}

/** Beside the calls. `lose`: the step of the move that is under way counts as failed, and is tried again beside itself. */
export interface Accident {
  readonly what: 'terminate' | 'abort' | 'lose' | 'restart-source' | 'restart-destination';
  readonly upon: Exclude<Moment, null>;
  readonly waitMs: number;
}

export interface Plan {
  readonly bursts: readonly Burst[];
  readonly accident: Accident | null;
}

const STEPS = MOMENTS.filter((one) => one !== TURNED);
const [FEWEST, MOST] = [6, 20];
const AT_ONCE = 3;
/** Of all runs: he looks for what takes a call badly, and leaves the move to itself where he can. */
const QUIET = 0.5;
const HOSTS = 2;
const ACCIDENTS: readonly (readonly [share: number, what: Accident['what']])[] = [[0.1, 'lose'], [0.04, 'abort'], [0.04, 'terminate'], [0.02, 'restart-source'], [0.02, 'restart-destination']];
const PRIME = 7919;

export function planOf(seed: number, run: number): Plan {
  const random = randomFrom(seed * PRIME + run);
  const below = (n: number) => Math.floor(random() * n);
  const oneOf = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  const either = <T>(weight: number, first: () => T, second: () => T): T => (random() < weight ? first() : second());
  const edit = (): Edit => ({ at: below(41), how: below(HOWS), value: below(31) });
  const misshapen = (): Edit => ({ at: below(4), how: SHALLOW, value: either(0.5, () => below(31), () => A_LIST) });
  const edits = (most: number, one: () => Edit): Edit[] => Array.from({ length: 1 + below(most) }, one);
  /** Which host and which moves, he draws as in memory; nobody here forges statements, or tells hosts another time. */
  const act = (drawn: Partial<Act>): Act => ({ upon: 0, wait: 0, kind: 0, activity: below(61), base: 0, host: 0, move: 0, edits: [], forge: 0, after: 0, stall: 0, when: 0, ...drawn });
  const anything = () => act({
    kind: oneOf([1, 1, 1, 0, 0, 2, 3]), base: either(0.6, () => 0, () => below(13)), host: either(0.75, () => 0, () => 1 + below(HOSTS)),
    move: oneOf([0, 0, 1, 1, below(7)]), edits: either(0.6, () => [], () => edits(3, edit)),
  });
  const looking = () => act({ kind: 1, base: below(13), host: either(0.5, () => 0, () => 1 + below(HOSTS)), move: oneOf([0, 1, 2 + below(5)]), edits: edits(3, edit) });
  const ending = () => act({ kind: 3, base: below(4), move: either(0.5, () => 1, () => below(13)), edits: either(0.5, () => [], () => edits(2, () => either(0.5, misshapen, edit))) });
  const together = () => act({ kind: oneOf([3, 3, 3, 0]), activity: oneOf([0, 0, 1, 2, 3]), base: below(4), move: 1 });

  const isQuiet = random() < QUIET;
  const kinds = isQuiet ? [looking, looking, anything] : [anything, anything, ending, together];
  const wanted = FEWEST + below(MOST - FEWEST + 1);
  const bursts: Burst[] = [];
  for (let calls = 0; calls < wanted; ) {
    const made = oneOf(kinds);
    const acts = Array.from({ length: 1 + below(AT_ONCE) }, made);
    calls += acts.length;
    const upon: Moment = either(0.5, () => null, () => oneOf(STEPS));
    bursts.push({ upon, waitMs: either(0.6, () => below(60), () => below(700)), acts, cancelAfterMs: either(0.85, () => 0, () => 1 + below(1_500)) });
  }
  const drawn = random();
  let share = 0;
  const what = ACCIDENTS.find(([own]) => drawn < (share += own))?.[1];
  return { bursts, accident: what ? { what, upon: oneOf(STEPS), waitMs: below(400) } : null };
}
