/**
 * Enrolment at the operator: from what a host says of itself to an entry of the trust bundle. Believes nothing but the CAs that the
 * operator gives, and whatever the operator says is to be believed without proof. Reaches no host.
 */
import { type X509Certificate, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PcrValues } from '../domain/attestation.js';
import { type BootEvent, eventsBehind } from '../domain/boot-events.js';
import { type AdmissionPaper, type Answer, type Challenge, type ChallengedHost, type Enrolment, answerDigestOf } from '../domain/enrolment.js';
import { problemOf, refuse } from '../domain/failures.js';
import { HostId } from '../domain/ids.js';
import type { HostEntry } from '../domain/trust-bundle.js';
import { createLocalHost } from '../host/local.js';
import { makeCredential } from '../tpm/credential.js';
import { certificatesIn, verifyEkCertificate } from '../tpm/ek-certificate.js';
import { pcrDigestOf } from '../tpm/marshal.js';
import { checkAttestationKey, verifyQuoteOver } from '../tpm/verify.js';
import { bootLogIn } from './boot-log.js';

/** Proven, or to be believed by the operator's word; its `identity` says which. */
export interface AdmittedHost {
  readonly host: HostEntry;
  readonly pcrValues: PcrValues;
  /** Of the boot that these values come from, of those PCRs that its log adds up to; null without a log. */
  readonly events: readonly BootEvent[] | null;
}

/** ENROLMENT_FILE_INVALID. */
export async function readCas(files: readonly string[]): Promise<X509Certificate[]> {
  const certificates = files.map(async (file) => {
    try {
      return certificatesIn(await readFile(file));
    } catch (error) {
      throw refuse('ENROLMENT_FILE_INVALID', { file, problem: problemOf(error) }, error);
    }
  });
  return (await Promise.all(certificates)).flat();
}

/**
 * A challenge that only a TPM can answer that holds the enrolment's AK and the EK of its certificate, the EK being of one of these CAs.
 * The AK must be a key that signs nothing but what its TPM made: an answer proves nothing about another. AK_UNFIT, EK_CERTIFICATE_MISSING,
 * EK_CERTIFICATE_INVALID, EK_CERTIFICATE_UNTRUSTED, EK_CERTIFICATE_EXPIRED (at `at`).
 */
export async function challengeHost(
  enrolment: Enrolment,
  cas: readonly X509Certificate[],
  at = new Date(),
): Promise<{ readonly challenge: Challenge; readonly kept: ChallengedHost }> {
  const { host, pcrValues, ekCertificate } = enrolment;
  const { hostId, attestationKey } = host;
  assertFit(enrolment);
  if (ekCertificate === null) throw refuse('EK_CERTIFICATE_MISSING', { host: hostId });
  const ek = verifyEkCertificate({ host: hostId, certificate: Buffer.from(ekCertificate, 'base64'), cas, at });
  const secret = randomBytes(32);
  const credential = await inFolder((folder) => makeCredential(createLocalHost(OPERATOR), folder, { ekPublicArea: ek.publicArea, name: attestationKey.name, secret }));
  return {
    challenge: { kind: 'korora/enrolment-challenge', version: 1, hostId, pcrs: Object.keys(pcrValues).map(Number), credential: credential.toString('base64') },
    kept: {
      kind: 'korora/challenged-host',
      version: 1,
      enrolment,
      identity: { proof: 'ek-certificate', ekCertificateSha256: ek.certificateSha256, rootSha256: ek.rootSha256 },
      answerDigest: answerDigestOf(hostId, secret),
    },
  };
}

/**
 * The hosts of these papers: each one challenged that answered, and each one only enrolled that `unproven` names.
 * ANSWER_MISSING, ANSWER_WRONG, EK_CERTIFICATE_MISSING, AK_UNFIT, EVENT_LOG_INVALID.
 */
export function admitHosts(papers: readonly AdmissionPaper[], unproven: readonly string[]): AdmittedHost[] {
  const answers = new Map(papers.flatMap((paper) => (paper.kind === 'korora/enrolment-answer' ? [[paper.hostId as string, paper]] : [])));
  return papers.flatMap((paper) => {
    if (paper.kind === 'korora/challenged-host') return [admitProven(paper, answers.get(paper.enrolment.host.hostId))];
    if (paper.kind === 'korora/enrolment') return [admitUnproven(paper, unproven)];
    return [];
  });
}

function admitProven({ enrolment, identity, answerDigest }: ChallengedHost, answer: Answer | undefined): AdmittedHost {
  const { host, pcrValues } = enrolment;
  if (!answer) throw refuse('ANSWER_MISSING', { host: host.hostId });
  const wrong = (problem: string) => refuse('ANSWER_WRONG', { host: host.hostId, problem });
  const result = verifyQuoteOver({ ak: host.attestationKey, signed: answer.quote, qualifyingData: Buffer.from(answerDigest, 'hex') });
  if (!result.ok) throw wrong(result.problem);
  const pcrs = Object.keys(pcrValues).map(Number);
  const [selected, ...others] = result.quote.pcrSelection;
  const isSelection = others.length === 0 && selected?.hashAlgorithm === 'sha256' && selected.pcrs.join() === pcrs.join();
  if (!isSelection || result.quote.pcrDigest !== pcrDigestOf(pcrs, pcrValues)) throw wrong('its PCRs are not those of the enrolment');
  return { host: { ...host, identity }, pcrValues, events: eventsOf(enrolment) };
}

function admitUnproven(enrolment: Enrolment, unproven: readonly string[]): AdmittedHost {
  const { host, pcrValues, ekCertificate } = enrolment;
  if (!unproven.includes(host.hostId)) throw refuse(ekCertificate === null ? 'EK_CERTIFICATE_MISSING' : 'ANSWER_MISSING', { host: host.hostId });
  assertFit(enrolment);
  return { host: { ...host, identity: { proof: 'none' } }, pcrValues, events: eventsOf(enrolment) };
}

function eventsOf({ host: { hostId }, pcrValues, eventLog }: Enrolment): readonly BootEvent[] | null {
  return eventLog === null ? null : eventsBehind(bootLogIn(Buffer.from(eventLog, 'base64'), hostId), pcrValues);
}

function assertFit({ host }: Enrolment): void {
  const problem = checkAttestationKey(host.attestationKey);
  if (problem) throw refuse('AK_UNFIT', { host: host.hostId, problem });
}

const OPERATOR = HostId.parse('this-machine');

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'korora-challenge-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
