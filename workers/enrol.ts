/** Enrolment on a host: what it says of itself, with the AK made on the first run, and its answer to the challenge that the operator makes of that. */
import type { z } from 'zod';
import { type Answer, type Challenge, Enrolment, answerDigestOf } from '../domain/enrolment.js';
import type { PublicKey } from '../domain/envelope.js';
import { createLocalHost } from '../host/local.js';
import { createEndorsement } from '../tpm/endorsement.js';
import { bootLogIn, readEventLog, unusable } from './boot-log.js';
import type { HostConfig } from './config.js';
import { keepFilesPrivate } from './privacy.js';
import { createOwnership, createTpm } from './services.js';
import { createTrust } from './trust.js';

export interface EnrolmentRequest {
  /** By one of which the host's trust bundles must be signed. */
  readonly signers: readonly PublicKey[];
  readonly hostClass: string;
  readonly pcrs: readonly number[];
}

/** Pins the signers, begins the ledger of its ownership records, and reads the AK, the EK certificate and the PCRs from the host's own TPM, and the log of its boot. SIGNER_PINNED, EVENT_LOG_INVALID. */
export async function enrolHost(config: HostConfig, { signers, hostClass, pcrs }: EnrolmentRequest): Promise<Enrolment> {
  await pinSigners(config, signers, false);
  const { access, tpm, endorsement } = tpmOf(config);
  await createOwnership(access, config, tpm).begin();
  const attestationKey = await tpm.ensureAttestationKey();
  const [ekCertificate, pcrValues] = [await endorsement.certificate(), await tpm.readPcrs(pcrs)];
  const eventLog = await readEventLog(access, config).catch((error: unknown) => Promise.reject(unusable(config.hostId, error)));
  if (eventLog) bootLogIn(eventLog, config.hostId);
  const address = config.channel.advertise ?? config.channel.listen;
  return Enrolment.parse({
    kind: 'korora/enrolment',
    version: 1,
    host: { hostId: config.hostId, class: hostClass, status: 'active', address, attestationKey },
    pcrValues,
    ekCertificate: ekCertificate?.toString('base64') ?? null,
    eventLog: eventLog?.toString('base64') ?? null,
  } satisfies z.input<typeof Enrolment>);
}

/**
 * A quote by the AK over what only the TPM with this AK and this EK could read in the challenge; the secret itself stays here.
 * EK_CERTIFICATE_MISSING, EK_CERTIFICATE_INVALID, EK_DIFFERS, ACTIVATION_REFUSED.
 */
export async function answerChallenge(config: HostConfig, { pcrs, credential }: Challenge): Promise<Answer> {
  keepFilesPrivate();
  const { tpm, endorsement } = tpmOf(config);
  await tpm.ensureAttestationKey();
  const secret = await endorsement.activate(Buffer.from(credential, 'base64'));
  const { attest, signature } = await tpm.quote(pcrs, Buffer.from(answerDigestOf(config.hostId, secret), 'hex'));
  return { kind: 'korora/enrolment-answer', version: 1, hostId: config.hostId, quote: { attest, signature } };
}

/** SIGNER_PINNED where others are pinned and are not to be replaced. */
export async function pinSigners(config: HostConfig, signers: readonly PublicKey[], isReplacement: boolean): Promise<void> {
  keepFilesPrivate();
  const access = createLocalHost(config.hostId);
  await createTrust(access, config, createTpm(access, config).newestBundle).pin(signers, isReplacement);
}

function tpmOf(config: HostConfig) {
  const { hostId, tcti, stateDir } = config;
  const access = createLocalHost(hostId);
  return { access, tpm: createTpm(access, config), endorsement: createEndorsement({ access, hostId, tcti, stateDir: `${stateDir}/tpm` }) };
}
