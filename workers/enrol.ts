/** Enrolment on a host: what the operator puts into the trust bundle. Creates the AK on the first run. */
import { HostEntry, type HostClass } from '../domain/trust-bundle.js';
import { createLocalHost } from '../host/local.js';
import { createHostTpm } from '../tpm/host-tpm.js';
import type { HostConfig } from './config.js';

export interface Enrolment {
  readonly host: HostEntry;
  /** The values the PCRs have now: a proposal for the class's reference set. */
  readonly pcrValues: HostClass['referenceSets'][number]['pcrValues'];
}

/**
 * Reads the AK, the EK certificate's digest and the PCRs from the host's own TPM. Whoever runs
 * this on the host is trusted; proving AK and EK to a distant operator is not built yet.
 */
export async function enrolHost(config: HostConfig, hostClass: string, pcrs: readonly number[]): Promise<Enrolment> {
  const access = createLocalHost(config.hostId);
  const tpm = createHostTpm({ access, hostId: config.hostId, tcti: config.tcti, stateDir: `${config.stateDir}/tpm` });
  const attestationKey = await tpm.ensureAttestationKey();
  const [ekCertificateSha256, pcrValues] = [await tpm.ekCertificateSha256(), await tpm.readPcrs(pcrs)];
  const host = HostEntry.parse({ hostId: config.hostId, class: hostClass, status: 'active', attestationKey, ekCertificateSha256 });
  return { host, pcrValues };
}
