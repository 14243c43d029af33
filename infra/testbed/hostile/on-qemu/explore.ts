/** So many runs, one after the other on one testbed, and the way back; the first that breaks something is the last. */
import { type RunResult, runOnce } from './run.js';
import { planOf } from './plan.js';
import type { Stage } from './stage.js';
import { wayBackProblems } from './way-back.js';

export interface Found {
  /** Runs that were begun. */
  readonly tried: number;
  readonly calls: number;
  readonly outcomes: ReadonlyMap<string, number>;
  /** Of his calls, by code; `done` where a host did as it was asked. */
  readonly replies: ReadonlyMap<string, number>;
  readonly helped: ReadonlyMap<string, number>;
  /** Null where nothing broke. `run`: 0 on the way back. */
  readonly broken: { readonly run: number; readonly breaches: readonly string[]; readonly attacks: readonly string[] } | null;
}

export interface Exploring {
  readonly tries: number;
  readonly seed: number;
  readonly hasWayBack?: boolean;
  /** Breaches that are none of these do not end it: of a defect that was put back, what it is to be found by. */
  readonly seenAs?: RegExp;
  readonly onRun?: (run: number, result: RunResult) => void;
}

export async function explore(stage: Stage, { tries, seed, hasWayBack = true, seenAs = /^/, onRun = () => undefined }: Exploring): Promise<Found> {
  const [outcomes, replies, helped] = [new Map<string, number>(), new Map<string, number>(), new Map<string, number>()];
  let calls = 0;
  const found = (tried: number, broken: Found['broken']): Found => ({ tried, calls, outcomes, replies, helped, broken });
  for (let run = 1; run <= tries; run++) {
    const result = await runOnce(stage, planOf(seed, run));
    count(outcomes, [result.outcome]);
    count(replies, result.replies);
    count(helped, result.helped);
    calls += result.replies.length;
    onRun(run, result);
    const breaches = result.breaches.filter((breach) => seenAs.test(breach));
    if (breaches.length > 0) return found(run, { run, breaches, attacks: result.attacks });
  }
  const problems = hasWayBack ? await wayBackProblems(stage) : [];
  return found(tries, problems.length > 0 ? { run: 0, breaches: problems, attacks: [] } : null);
}

function count(counts: Map<string, number>, names: readonly string[]): void {
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
}
