/** Builds what the activities of one host work with: the only place that knows every implementation. */
import type { HostServices } from '../activities/services.js';
import { createSessions } from '../activities/session.js';
import { createChannels } from '../channel/relay.js';
import { createLocalHost } from '../host/local.js';
import { createOwnershipStore } from '../host/ownership-store.js';
import { createVmStore } from '../host/vm-store.js';
import { createHostTpm } from '../tpm/host-tpm.js';
import { createEvidenceVerifier } from '../tpm/evidence-verifier.js';
import type { HostConfig } from './config.js';
import { createDrivers } from './hypervisors.js';
import { createTrust } from './trust.js';

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
    installedBundle: createTrust(access, config).installedBundle,
    channelListen: config.channel.listen,
  };
}
