/**
 * The fault matrix, but for the cells of matrix.test.ts, with the fake hypervisor in QEMU's place: hosts' TPMs, channel, records, workers
 * and Temporal are real. It guards the orchestration on every test run; no promise rests on it, the same cells on QEMU are `npm run matrix`.
 */
import { afterAll, expect, it } from 'vitest';
import { createRigs } from '../../infra/testbed/faults/rigs.js';
import { FAKE_CELLS } from './cells.js';
import { partsFromEnvironment } from './support.js';

/** A fake cell mostly waits: two of them leave a third of two processors idle. */
const RIGS = 3;
const rigs = createRigs({ ...partsFromEnvironment(), hypervisor: 'fake', isThrifty: true }, RIGS);
afterAll(() => rigs.close());

it.concurrent.each(FAKE_CELLS.map((cell) => [cell.name, cell] as const))('%s', async (_, cell) => {
  const { problems, diagnosis } = await rigs.run(cell);
  expect(problems, [...problems, diagnosis].join('\n')).toEqual([]);
});
