/**
 * The whole fault matrix with the fake hypervisor in QEMU's place: hosts' TPMs, channel, records, workers and Temporal are real.
 * It guards the orchestration on every test run; no promise rests on it, the same cells on QEMU are `npm run matrix`.
 */
import { afterAll, expect, it } from 'vitest';
import { allCells } from '../../infra/testbed/faults/cells.js';
import { createRigs } from '../../infra/testbed/faults/rigs.js';
import { partsFromEnvironment } from './support.js';

/** A fake cell mostly waits: two of them leave a third of two processors idle. */
const RIGS = 3;
const rigs = createRigs({ ...partsFromEnvironment(), hypervisor: 'fake', isThrifty: true }, RIGS);
afterAll(() => rigs.close());

const cells = allCells().filter(({ notApplicable }) => notApplicable === null);
it.concurrent.each(cells.map((cell) => [cell.name, cell] as const))('%s', async (_, cell) => {
  const { problems, diagnosis } = await rigs.run(cell);
  expect(problems, [...problems, diagnosis].join('\n')).toEqual([]);
});
