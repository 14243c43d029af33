/**
 * The cells of the fault matrix in `npm test`: which are tried at this commit, and how they become tests. Each is as in `npm run matrix`,
 * but for two things: the next cell may stand in for the move that follows a cell, and hosts count as silent sooner (infra/testbed/quick.ts).
 */
import { afterAll, expect, it } from 'vitest';
import { STEPS } from '../../domain/steps.js';
import { type Button, HANDOVER, allButtons } from '../../infra/testbed/faults/buttons.js';
import { type Cell, allCells } from '../../infra/testbed/faults/cells.js';
import { type Death, deaths } from '../../infra/testbed/faults/orchestrator.js';
import { type Trial, isToMove } from '../../infra/testbed/faults/rig.js';
import { createRigs } from '../../infra/testbed/faults/rigs.js';
import type { RigParts } from '../../infra/testbed/faults/stage.js';
import { SHARES, partOf, shareAskedFor } from '../plan.mjs';
import { partsFromEnvironment } from './support.js';

const share = shareAskedFor(process.env);
const cells = allCells().filter(({ notApplicable }) => notApplicable === null);
const buttons = allButtons().filter(({ notApplicable }) => notApplicable === null);

/** The cells of this commit's share; all of them where everything is asked for. */
export const CELLS: readonly Cell[] = partOf(share, cells);

/** Of what people may do to the workflow of a move past Kororā, likewise. */
export const BUTTONS: readonly Button[] = partOf(share, buttons);

/** Those of the handover, and after a move, which are tried on QEMU, too: of each so many one in each share. At every commit the workflow of a move that moved is reset. */
export const HANDOVER_BUTTONS: readonly Button[] = [...new Set([...buttons.filter(isLastButton), ...partOf(share, buttons.filter(({ place }) => HANDOVER.includes(place)))])];

/** At every commit: of each step one, a different one in each share; and a destination that is lost and fenced, in which a source could come back twice. */
export const STEP_CELLS: readonly Cell[] = [
  ...Object.keys(STEPS).map((step) => {
    const [first, ...others] = cells.filter((cell) => cell.step === step);
    if (!first) throw new Error(`the fault matrix has no cell of ${step}`);
    return [first, ...others][((share ?? 1) * Math.ceil((others.length + 1) / SHARES)) % (others.length + 1)] ?? first;
  }),
  ...cells.filter(({ kind, place, fault }) => kind === 'write' && place === 'fence' && fault === 'killed-after'),
];

/** Where the orchestrator dies at a random moment, of each kind: KORORA_SEED has the same ones again. */
export function deathsOfThisRun(count: number): readonly Death[] {
  return deaths(count, Number(process.env['KORORA_SEED'] ?? Date.now() % 1_000_000));
}

/** The largest button of Temporal's web UI, on a move that is over. */
function isLastButton({ moment, press, cause }: Button): boolean {
  return moment === 'ended' && press === 'reset' && cause === null;
}

/** `rigs`: testbeds at once. */
export function triesEach(trials: readonly Trial[], hypervisor: RigParts['hypervisor'], rigs: number): void {
  const tried = createRigs({ ...partsFromEnvironment(), hypervisor, isThrifty: true, pace: 'quick' }, Math.min(rigs, trials.length));
  afterAll(() => tried.close());
  it.concurrent.each(inGoodOrder(trials, rigs).map((trial) => [trial.name, trial] as const))('%s', async (_, trial) => {
    const { problems, diagnosis } = await tried.run(trial);
    expect(problems, [...problems, diagnosis].join('\n')).toEqual([]);
  });
}

/**
 * After each trial in which the VM stays, one in which it moves: that one is the move which is due after the other (infra/testbed/faults/rig.ts),
 * where there would be a move without a fault in between. By as many as there are rigs.
 */
function inGoodOrder(trials: readonly Trial[], rigs: number): readonly Trial[] {
  const [staying, moving] = [trials.filter((trial) => !isToMove(trial)), trials.filter(isToMove)];
  const ordered: Trial[] = [];
  while (staying.length > 0 || moving.length > 0) ordered.push(...staying.splice(0, rigs), ...moving.splice(0, rigs));
  return ordered;
}
