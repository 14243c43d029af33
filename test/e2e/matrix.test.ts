/**
 * A part of the fault matrix on real QEMU on every test run: each step and each undo with its worker killed after its effect, each undo
 * with its reply lost; and a few deaths of the orchestrator at random moments (the name says how to have the same again).
 * All of it: `npm run matrix`. What is asserted of each: infra/testbed/faults/checks.ts.
 */
import { afterAll, expect, it } from 'vitest';
import { deaths } from '../../infra/testbed/faults/orchestrator.js';
import type { Trial } from '../../infra/testbed/faults/rig.js';
import { createRigs } from '../../infra/testbed/faults/rigs.js';
import { QEMU_CELLS } from './cells.js';
import { partsFromEnvironment } from './support.js';

const rigs = createRigs({ ...partsFromEnvironment(), hypervisor: 'qemu', isThrifty: true }, 2);
afterAll(() => rigs.close());

const DEATHS_EACH = 3;
const trials: readonly Trial[] = [...QEMU_CELLS, ...deaths(DEATHS_EACH, Date.now() % 1_000_000)];
it.concurrent.each(trials.map((trial) => [trial.name, trial] as const))('%s', async (_, trial) => {
  const { problems, diagnosis } = await rigs.run(trial);
  expect(problems, [...problems, diagnosis].join('\n')).toEqual([]);
});
