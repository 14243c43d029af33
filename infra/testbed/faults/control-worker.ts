/** As host-worker.ts, for the control worker: `node control-worker.js EVIDENCE-DIR SOCKET`. */
import { CONTROL_QUEUE } from '../../../domain/steps.js';
import { runControlWorker } from '../../../workers/control.js';
import { connectToHarness } from './ask.js';
import { wrapActivities } from './wrap-activities.js';

const [, , evidenceDir = '', socketPath = ''] = process.argv;
const ask = await connectToHarness(socketPath);
await runControlWorker({ taskQueue: CONTROL_QUEUE, evidenceDir }, (built) => wrapActivities(built, 'control', ask));
