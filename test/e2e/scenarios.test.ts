/**
 * The scenarios of `npm run demo`, with the checks that the demo itself makes, each on hosts of its own: those in which a promise is
 * attacked at every commit (P1, P3, P4), the others in their share (the same is in move.test.ts, and in the fault matrix).
 */
import { rm } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { SCENARIOS } from '../../infra/testbed/scenarios.js';
import { createStage } from '../../infra/testbed/stage.js';
import { startTestbed } from '../../infra/testbed/testbed.js';
import { partOf, shareAskedFor } from '../plan.mjs';
import { newRoot, partsFromEnvironment } from './support.js';

const AT_EVERY_COMMIT = ['untrusted-destination', 'changed-after-quote', 'tampered-stream'];
const inShare = partOf(shareAskedFor(process.env), SCENARIOS);

it.each(SCENARIOS.filter((scenario) => AT_EVERY_COMMIT.includes(scenario.name) || inShare.includes(scenario)))('$name: $summary', async (scenario) => {
  const root = await newRoot();
  const lines: string[] = [];
  const stage = createStage({ line: (text) => void lines.push(text), passing: () => undefined });
  const testbed = await startTestbed({ root, ...partsFromEnvironment(), ...scenario.taps?.(root) });
  try {
    await scenario.run(testbed, stage);
  } catch (error) {
    throw new Error(`${String(error)}\n${lines.join('\n')}`, { cause: error });
  } finally {
    await testbed.stop();
    await rm(root, { recursive: true, force: true });
  }
  expect(lines.filter((line) => line.startsWith('✓')).length).toBeGreaterThan(4);
});
