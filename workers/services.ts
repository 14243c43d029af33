/** Builds what the activities of one host work with: the only place that knows every implementation. */
import type { HostServices } from '../activities/services.js';
import { createSessions } from '../activities/session.js';
import { createChannels } from '../channel/relay.js';
import { createLocalHost } from '../host/local.js';
import { type OwnershipStore, createOwnershipStore } from '../host/ownership-store.js';
import type { HostAccess } from '../host/port.js';
import { createVmStore } from '../host/vm-store.js';
import { createHostTpm } from '../tpm/host-tpm.js';
import type { HostTpm } from '../tpm/port.js';
import { createEvidenceVerifier } from '../tpm/evidence-verifier.js';
import { readEventLog } from './boot-log.js';
import type { HostConfig } from './config.js';
import { createDrivers } from './hypervisors.js';
import { reservedPlaces } from './reserved.js';
import { createTrust } from './trust.js';

export function buildHostServices(config: HostConfig): Omit<HostServices, 'findings' | 'clock'> {
  const { hostId, runDir } = config;
  const access = createLocalHost(hostId);
  const tpm = createTpm(access, config);
  return {
    hostId,
    access,
    tpm,
    verifier: createEvidenceVerifier(),
    ...createDrivers(access, config),
    channels: createChannels(),
    ownership: createOwnership(access, config, tpm),
    vms: createVmStore(access, { vmsDir: vmsDirOf(config), runDir }),
    sessions: createSessions(hostId),
    installedBundle: createTrust(access, config, tpm.newestBundle).installedBundle,
    eventLog: () => readEventLog(access, config),
    channelListen: config.channel.listen,
    storage: { ...config.storage, reserved: reservedPlaces(config) },
  };
}

export function createTpm(access: HostAccess, { hostId, tcti, stateDir }: HostConfig): HostTpm {
  return createHostTpm({ access, hostId, tcti, stateDir: `${stateDir}/tpm` });
}

export function createOwnership(access: HostAccess, config: HostConfig, { ownershipCounter }: HostTpm): OwnershipStore {
  const { hostId, stateDir } = config;
  return createOwnershipStore(access, { hostId, vmsDir: vmsDirOf(config), ledgerFile: `${stateDir}/ledger.json`, counter: ownershipCounter });
}

function vmsDirOf({ stateDir }: HostConfig): string {
  return `${stateDir}/vms`;
}
