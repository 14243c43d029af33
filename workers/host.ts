/** The host worker: drives one host's hypervisor, TPM and channel, on task queue `host-<hostId>`. */
import { Worker } from '@temporalio/worker';
import { type HostActivities, createHostActivities } from '../activities/index.js';
import { createReconciliation } from '../activities/reconcile.js';
import type { HostServices } from '../activities/services.js';
import { createSettlement } from '../activities/settle.js';
import { hostQueue } from '../domain/steps.js';
import { startClock } from './clock.js';
import type { HostConfig } from './config.js';
import { keepConsolesShort } from './consoles.js';
import { lockHost } from './lock.js';
import { logLine } from './log.js';
import { assertPrivate, keepFilesPrivate } from './privacy.js';
import { buildHostServices } from './services.js';
import { connectWorker, runWorker } from './temporal.js';

/** Cancellations arrive on heartbeat replies: an abort must reach the host in under half a second. */
const HEARTBEAT_THROTTLE = '200 ms';

/** A host before anybody looked at what an earlier worker left. */
export type HostParts = Omit<HostServices, 'findings' | 'clock'>;

/** What stands around the parts of a worker: for whoever starts one from a program; no command, file or environment reaches it. */
export interface HostWrapper {
  readonly services: (built: HostParts) => HostParts;
  readonly activities: (built: HostActivities) => HostActivities;
}

export async function runHostWorker(config: HostConfig, wrapper?: HostWrapper): Promise<void> {
  keepFilesPrivate();
  const parts = buildHostServices(config);
  const built = wrapper?.services(parts) ?? parts;
  await built.access.ensureDirectory(config.stateDir);
  await built.access.ensureDirectory(config.runDir);
  await assertPrivate(config.hostId, [config.stateDir, config.runDir]);
  const lock = await lockHost(config.hostId, `${config.runDir}/worker.lock`);
  const consoles = keepConsolesShort(built.access, config.runDir);
  try {
    await built.tpm.removeLeftovers();
    await built.installedBundle();
    // With the lock, nobody else drives this host's VMs; before the first step of any move.
    const clock = await startClock({ access: built.access, tpm: built.tpm, file: `${config.stateDir}/clock.json` });
    const services = await reconciled({ ...built, clock });
    const activities = createHostActivities(services);
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
    await consoles.stop();
    await lock.release();
  }
}

async function reconciled(built: Omit<HostServices, 'findings'>): Promise<HostServices> {
  const services = { ...built, findings: [] };
  const findings = await createReconciliation(services, createSettlement(services)).reconcile();
  for (const { vmId, found, done } of findings) logLine(`reconciled VM ${vmId}: ${found}; ${done}`);
  return { ...built, findings };
}
