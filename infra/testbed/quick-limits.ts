/**
 * workflows/limits.ts for tests that make hosts fall silent: what is waited for is the same, for less time. It stands in the
 * place of that file in the bundle dist/infra/testbed/quick-workflows.js (infra/setup/finish-build.mjs), which only testbeds load.
 */
import type { Limits } from '../../workflows/limits.js';

export const LIMITS: Limits = {
  // Hosts say that they live every second (activities/edge.ts), and may be late where the processors are busy.
  heartbeat: '3 s',
  stepTaken: '3 s',
  copyTaken: '4 s',
  surveyTaken: '2 s',
  retryPause: '1 s',
  silence: '1 s',
  askAgain: '1 s',
};
