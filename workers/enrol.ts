/** Enrolment on a host: what the operator puts into the trust bundle. Creates the AK on the first run. */
import type { PublicKey } from '../domain/envelope.js';
import { HostEntry, type HostClass } from '../domain/trust-bundle.js';
import { createLocalHost } from '../host/local.js';
import type { HostConfig } from './config.js';
import { createOwnership, createTpm } from './services.js';
import { createTrust } from './trust.js';

export interface Enrolment {
  readonly host: HostEntry;
  /** The values the PCRs have now: a proposal for the class's reference set. */
  readonly pcrValues: HostClass['referenceSets'][number]['pcrValues'];
}

export interface EnrolmentRequest {
  /** By one of which the host's trust bundles must be signed. */
  readonly signers: readonly PublicKey[];
  readonly hostClass: string;
  readonly pcrs: readonly number[];
}

/**
 * Pins the signers, begins the ledger of its ownership records, and reads the AK, the EK certificate's digest and the PCRs from the host's own TPM. Whoever runs
 * this on the host is trusted; proving AK and EK to a distant operator is not built yet. SIGNER_PINNED.
 */
export async function enrolHost(config: HostConfig, { signers, hostClass, pcrs }: EnrolmentRequest): Promise<Enrolment> {
  await pinSigners(config, signers, false);
  const access = createLocalHost(config.hostId);
  const tpm = createTpm(access, config);
  await createOwnership(access, config, tpm).begin();
  const attestationKey = await tpm.ensureAttestationKey();
  const [ekCertificateSha256, pcrValues] = [await tpm.ekCertificateSha256(), await tpm.readPcrs(pcrs)];
  const address = config.channel.advertise ?? config.channel.listen;
  const host = HostEntry.parse({ hostId: config.hostId, class: hostClass, status: 'active', address, attestationKey, ekCertificateSha256 });
  return { host, pcrValues };
}

/** SIGNER_PINNED where others are pinned and are not to be replaced. */
export async function pinSigners(config: HostConfig, signers: readonly PublicKey[], isReplacement: boolean): Promise<void> {
  const access = createLocalHost(config.hostId);
  await createTrust(access, config, createTpm(access, config).newestBundle).pin(signers, isReplacement);
}
