/** Builds what the activities of one host work with: the only place that knows every implementation. */
import type { HostServices } from '../activities/services.js';
import { createSessions } from '../activities/session.js';
import { createChannels } from '../channel/relay.js';
import { type InstalledBundle, installBundle } from '../domain/trust-bundle.js';
import { problemOf, refuse } from '../domain/failures.js';
import { createLocalHost } from '../host/local.js';
import { createOwnershipStore } from '../host/ownership-store.js';
import type { HostAccess } from '../host/port.js';
import { createVmStore } from '../host/vm-store.js';
import { createHostTpm } from '../tpm/host-tpm.js';
import { createEvidenceVerifier } from '../tpm/evidence-verifier.js';
import type { HostConfig } from './config.js';
import { createDrivers } from './hypervisors.js';

export function buildHostServices(config: HostConfig): Omit<HostServices, 'findings'> {
  const { hostId, stateDir, runDir, tcti } = config;
  const access = createLocalHost(hostId);
  const vmsDir = `${stateDir}/vms`;
  return {
    hostId,
    access,
    tpm: createHostTpm({ access, hostId, tcti, stateDir: `${stateDir}/tpm` }),
    verifier: createEvidenceVerifier(),
    ...createDrivers(access, config),
    channels: createChannels(),
    ownership: createOwnershipStore(access, hostId, vmsDir),
    vms: createVmStore(access, { vmsDir, runDir }),
    sessions: createSessions(),
    installedBundle: () => readBundle(access, config),
    channelListen: config.channel.listen,
    channelAdvertise: config.channel.advertise ?? config.channel.listen,
  };
}

async function readBundle(access: HostAccess, { hostId, trustBundle }: HostConfig): Promise<InstalledBundle> {
  const content = await access.readFile(trustBundle);
  if (content === null) throw refuse('BUNDLE_INVALID', { host: hostId, problem: `there is none at ${trustBundle}` });
  let value: unknown;
  try {
    value = JSON.parse(content.toString('utf8'));
  } catch (error) {
    throw refuse('BUNDLE_INVALID', { host: hostId, problem: problemOf(error) }, error);
  }
  return installBundle(value, hostId);
}
