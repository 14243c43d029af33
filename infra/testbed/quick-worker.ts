/**
 * A worker that counts its peers as silent sooner (quick.ts), and is the product's else.
 *
 *   node quick-worker.js host CONFIG
 *   node quick-worker.js control EVIDENCE-DIR
 */
import { CONTROL_QUEUE } from '../../domain/steps.js';
import { loadHostConfig } from '../../workers/config.js';
import { runControlWorker } from '../../workers/control.js';
import { runHostWorker } from '../../workers/host.js';
import { QUICK_WORKFLOWS, quickChannels } from './quick.js';

const [, , kind, path = ''] = process.argv;
if (kind === 'host') {
  await runHostWorker(await loadHostConfig(path), { services: (built) => ({ ...built, channels: quickChannels(built.channels) }), activities: (built) => built });
} else {
  await runControlWorker({ taskQueue: CONTROL_QUEUE, evidenceDir: path }, { workflowBundle: QUICK_WORKFLOWS });
}
