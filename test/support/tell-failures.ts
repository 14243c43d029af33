/** Prints what every open testbed looks like after an end-to-end test that failed, a timeout included. */
import { afterEach } from 'vitest';
import { diagnose } from '../../infra/testbed/diagnosis.js';
import { openTestbeds } from '../e2e/support.js';

afterEach(async ({ task }) => {
  if (task.result?.state !== 'fail') return;
  for (const testbed of openTestbeds) console.error(`after "${task.name}", ${testbed.root}:\n${await diagnose(testbed)}`);
});
