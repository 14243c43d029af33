/**
 * workflows/limits.ts for tests that make hosts fall silent: what is waited for is the same, for less time. It stands in the
 * place of that file in the bundle dist/infra/testbed/quick-workflows.js (infra/setup/finish-build.mjs), which only testbeds load.
 */
import type { Limits } from '../../workflows/limits.js';

export const LIMITS: Limits = {
  // Hosts say that they live every second (activities/edge.ts), and may be late where the processors are busy.
  heartbeat: '3 s',
  // As in the product: a worker that was killed needs seconds to start again, and no test sits these out but those of a host that stays away.
  stepTaken: '10 s',
  copyTaken: '15 s',
  surveyTaken: '3 s',
  retryPause: '1 s',
  silence: '1 s',
  askAgain: '1 s',
};
