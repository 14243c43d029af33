/** The host worker: drives one host's hypervisor, TPM and channel, on task queue `host-<hostId>`. */
import { Worker } from '@temporalio/worker';
import { createHostActivities } from '../activities/index.js';
import { createReconciliation } from '../activities/reconcile.js';
import type { HostServices } from '../activities/services.js';
import { createSettlement } from '../activities/settle.js';
import { hostQueue } from '../domain/steps.js';
import type { HostConfig } from './config.js';
import { lockHost } from './lock.js';
import { buildHostServices } from './services.js';
import { connectWorker, runWorker } from './temporal.js';

/** Cancellations arrive on heartbeat replies: an abort must reach the host in under half a second. */
const HEARTBEAT_THROTTLE = '200 ms';

export async function runHostWorker(config: HostConfig): Promise<void> {
  const built = buildHostServices(config);
  await built.access.ensureDirectory(config.stateDir);
  await built.access.ensureDirectory(config.runDir);
  const lock = await lockHost(config.hostId, `${config.runDir}/worker.sock`);
  try {
    await built.installedBundle();
    // With the lock, nobody else drives this host's VMs; before the first step of any move.
    const services = await reconciled(built);
    const place = await connectWorker();
    const worker = await Worker.create({
      ...place,
      taskQueue: hostQueue(config.hostId),
      activities: createHostActivities(services),
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

async function reconciled(built: Omit<HostServices, 'findings'>): Promise<HostServices> {
  const services = { ...built, findings: [] };
  const findings = await createReconciliation(services, createSettlement(services)).reconcile();
  for (const { vmId, found, done } of findings) process.stdout.write(`reconciled VM ${vmId}: ${found}; ${done}\n`);
  return { ...built, findings };
}
