/** All that the activities of one host work with. Built by workers/host.ts, by tests with the same parts. */
import type { InstalledBundle } from '../domain/trust-bundle.js';
import type { StorageRules } from '../domain/resources.js';
import type { Finding } from '../domain/status.js';
import type { HostId, NetworkAddress } from '../domain/ids.js';
import type { Channels } from '../channel/port.js';
import type { HostAccess } from '../host/port.js';
import type { OwnershipStore } from '../host/ownership-store.js';
import type { VmStore } from '../host/vm-store.js';
import type { Hypervisor } from '../hypervisor/port.js';
import type { EvidenceVerifier, HostTpm, VtpmManager } from '../tpm/port.js';
import type { Sessions } from './session.js';

/** What time it is at the least, ms since the epoch. Source: workers/clock.ts. */
export interface Clock {
  now(): number;
}

export interface HostServices {
  readonly hostId: HostId;
  readonly access: HostAccess;
  readonly tpm: HostTpm;
  readonly verifier: EvidenceVerifier;
  readonly vtpms: VtpmManager;
  readonly hypervisor: Hypervisor;
  readonly channels: Channels;
  readonly ownership: OwnershipStore;
  readonly vms: VmStore;
  readonly sessions: Sessions;
  /** What the worker found when it started. */
  readonly findings: readonly Finding[];
  readonly clock: Clock;
  /** The bundle that is installed on this host now. BUNDLE_INVALID. */
  readonly installedBundle: () => Promise<InstalledBundle>;
  /** The boot event log as the firmware wrote it; null where the host has none. HOST_COMMAND_FAILED. */
  readonly eventLog: () => Promise<Buffer | null>;
  /** Where the channel listens (port 0: one that is free). Where peers reach it is in the bundle. */
  readonly channelListen: NetworkAddress;
  readonly storage: StorageRules;
}
