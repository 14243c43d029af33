/** The host worker: drives one host's hypervisor, TPM and channel, on task queue `host-<hostId>`. */
import { Worker } from '@temporalio/worker';
import { type HostActivities, createHostActivities } from '../activities/index.js';
import type { HostServices } from '../activities/services.js';
import { hostQueue } from '../domain/steps.js';
import type { HostConfig } from './config.js';
import { lockHost } from './lock.js';
import { buildHostServices } from './services.js';
import { connectWorker, runWorker } from './temporal.js';

/** Cancellations arrive on heartbeat replies: an abort must reach the host in under half a second. */
const HEARTBEAT_THROTTLE = '200 ms';

/** What stands around the parts of a worker: for whoever starts one from a program; no command, file or environment reaches it. */
export interface HostWrapper {
  readonly services: (built: HostServices) => HostServices;
  readonly activities: (built: HostActivities) => HostActivities;
}

export async function runHostWorker(config: HostConfig, wrapper?: HostWrapper): Promise<void> {
  const built = buildHostServices(config);
  const services = wrapper?.services(built) ?? built;
  const activities = createHostActivities(services);
  await services.access.ensureDirectory(config.stateDir);
  await services.access.ensureDirectory(config.runDir);
  const lock = await lockHost(config.hostId, `${config.runDir}/worker.sock`);
  try {
    await services.tpm.removeLeftovers();
    await services.installedBundle();
    const place = await connectWorker();
    const worker = await Worker.create({
      ...place,
      taskQueue: hostQueue(config.hostId),
      activities: wrapper?.activities(activities) ?? activities,
      identity: `${config.hostId}@${process.pid}`,
      shutdownGraceTime: '60 s',
      maxHeartbeatThrottleInterval: HEARTBEAT_THROTTLE,
      defaultHeartbeatThrottleInterval: HEARTBEAT_THROTTLE,
    });
    // The first questions a move asks; answered now, so that the move need not wait for them.
    await Promise.allSettled([services.hypervisor.facts(), services.tpm.ensureAttestationKey()]);
    await runWorker(worker, place, `korora host worker ready: ${config.hostId} on queue ${hostQueue(config.hostId)}`);
  } finally {
    await lock.release();
  }
}
