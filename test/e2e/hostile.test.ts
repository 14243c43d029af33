/**
 * A short run of the hostile control plane on two hosts with QEMU (`npm run attack -- --only hostile` runs it by the hundreds), with the way back; and that it finds a
 * defect that is put back into the workers.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { explore } from '../../infra/testbed/hostile/on-qemu/explore.js';
import { DEFECTS_ON_QEMU, plant, workersWithDefects } from '../../infra/testbed/hostile/on-qemu/planted.js';
import { type Stage, openStage } from '../../infra/testbed/hostile/on-qemu/stage.js';
import { newRoot, openTestbeds, partsFromEnvironment } from './support.js';

const SEED = 1;
const TRIES = 3;
/** It is found within far fewer, whichever steps of the moves the calls meet: that is the machine's own affair. */
const BOUND = 40;
const DEFECT = 'anyone-settles';

let root: string;
let stage: Stage;

beforeAll(async () => {
  root = await newRoot();
  stage = await openStage({ root, ...partsFromEnvironment(), workerCommands: workersWithDefects(join(root, 'planted')) });
  openTestbeds.add(stage.testbed);
});
afterAll(async () => {
  if (stage) openTestbeds.delete(stage.testbed);
  await stage?.close();
  await rm(root, { recursive: true, force: true });
});

it('breaks nothing, and leaves each VM able to start, move and move back', async () => {
  const { tried, calls, broken } = await explore(stage, { tries: TRIES, seed: SEED });
  expect({ tried, broken }).toEqual({ tried: TRIES, broken: null });
  expect(calls).toBeGreaterThan(TRIES);
});

it.each(DEFECTS_ON_QEMU.filter(({ name }) => name === DEFECT))('finds $name when it is put back: $what', async (defect) => {
  await plant(stage, join(root, 'planted'), defect);
  const { broken } = await explore(stage, { tries: BOUND, seed: SEED, hasWayBack: false, seenAs: defect.seenAs });
  expect(broken?.breaches[0]).toMatch(defect.seenAs);
});
