/** As host-worker.ts, for the control worker: `node control-worker.js EVIDENCE-DIR SOCKET [quick]`. */
import { CONTROL_QUEUE } from '../../../domain/steps.js';
import { runControlWorker } from '../../../workers/control.js';
import { QUICK_WORKFLOWS } from '../quick.js';
import { connectToHarness } from './ask.js';
import { wrapActivities } from './wrap-activities.js';

const [, , evidenceDir = '', socketPath = '', pace] = process.argv;
const ask = await connectToHarness(socketPath);
await runControlWorker({ taskQueue: CONTROL_QUEUE, evidenceDir }, {
  activities: (built) => wrapActivities(built, 'control', ask),
  ...(pace === 'quick' ? { workflowBundle: QUICK_WORKFLOWS } : {}),
});
