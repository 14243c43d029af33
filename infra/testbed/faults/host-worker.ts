/**
 * A host worker that asks the fault matrix at every point what is to happen there. A program of its own, which only the
 * testbed starts: nothing that `korora` can reach imports this folder (test/unit/faults-out-of-reach.test.ts).
 *
 *   node host-worker.js CONFIG SOCKET [quick]
 *
 * `quick`: with the shorter limits of infra/testbed/quick.ts. At SIGALRM sessions end as they do at their limit, which nobody sits out.
 */
import { loadHostConfig } from '../../../workers/config.js';
import { runHostWorker } from '../../../workers/host.js';
import { quickChannels } from '../quick.js';
import { connectToHarness } from './ask.js';
import { endedBySignal } from './session-limit.js';
import { wrapActivities } from './wrap-activities.js';
import { wrapServices } from './wrap-services.js';

const [, , configFile = '', socketPath = '', pace] = process.argv;
const config = await loadHostConfig(configFile);
const ask = await connectToHarness(socketPath);
await runHostWorker(config, {
  services: (built) => endedBySignal(wrapServices(pace === 'quick' ? { ...built, channels: quickChannels(built.channels) } : built, ask)),
  activities: (built) => wrapActivities(built, config.hostId, ask),
});
