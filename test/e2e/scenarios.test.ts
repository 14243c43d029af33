/** Every scenario of `npm run demo`, with the checks that the demo itself makes, each on hosts of its own. */
import { rm } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { SCENARIOS } from '../../infra/testbed/scenarios.js';
import { createStage } from '../../infra/testbed/stage.js';
import { startTestbed } from '../../infra/testbed/testbed.js';
import { newRoot, partsFromEnvironment } from './support.js';

it.each(SCENARIOS)('$name: $summary', async (scenario) => {
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
