/**
 * The papers by which a host comes into a trust bundle. They are carried as files; nothing of it is online.
 *
 *   on the host                        at the operator
 *   korora host enrol  ── Enrolment ──►  korora trust challenge: AK fit? EK certificate of a known maker?
 *                      ◄─ Challenge ──     keeps ChallengedHost
 *   korora host answer ─── Answer ────►  korora trust init, admit: the right answer, of this AK?
 *
 * The challenge holds a secret that only the TPM with both that EK and that AK gives out (TPM 2.0 Part 1 §24); the answer is a quote
 * by the AK over a statement with the secret. So it shows too that the PCR values of the enrolment were that TPM's.
 */
import { base64 } from '@scure/base';
import { z } from 'zod';
import { PcrValues, SignedAttestation } from './attestation.js';
import { EventLog } from './boot-events.js';
import { digestOf } from './canonical.js';
import { Base64, HostId, Sha256Hex } from './ids.js';
import { HostEntry, ProvenIdentity } from './trust-bundle.js';

/** What a host says of itself; nothing of it is proven. */
export const Enrolment = z.strictObject({
  kind: z.literal('korora/enrolment'),
  version: z.literal(1),
  host: HostEntry.omit({ identity: true }),
  /** The values the PCRs have now: a proposal for the class's reference set. */
  pcrValues: PcrValues.refine((values) => Object.keys(values).length > 0, 'no PCR'),
  /** As its NV index holds it, base64: DER, maybe with bytes to spare after it; null where the TPM has none. */
  ekCertificate: Base64.max(16_384).nullable(),
  /** Of the boot that these values come from; null where none was read. */
  eventLog: EventLog.nullable(),
});
export type Enrolment = Readonly<z.infer<typeof Enrolment>>;

export const Challenge = z.strictObject({
  kind: z.literal('korora/enrolment-challenge'),
  version: z.literal(1),
  hostId: HostId,
  /** Which PCRs the answer is to quote. */
  pcrs: z.array(z.int().min(0).max(23)).min(1).max(24),
  /** TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET in the file format of tpm2-tools, base64. */
  credential: Base64.max(4096),
});
export type Challenge = Readonly<z.infer<typeof Challenge>>;

/** What the operator keeps of a challenge, for the answer. Not secret; to be kept from others' hands all the same. */
export const ChallengedHost = z.strictObject({
  kind: z.literal('korora/challenged-host'),
  version: z.literal(1),
  enrolment: Enrolment,
  /** What the right answer shows. */
  identity: ProvenIdentity,
  /** Qualifying data of the right answer. */
  answerDigest: Sha256Hex,
});
export type ChallengedHost = Readonly<z.infer<typeof ChallengedHost>>;

export const Answer = z.strictObject({
  kind: z.literal('korora/enrolment-answer'),
  version: z.literal(1),
  hostId: HostId,
  /** Over `answerDigestOf`, of the PCRs that the challenge names. */
  quote: SignedAttestation,
});
export type Answer = Readonly<z.infer<typeof Answer>>;

/** What `korora trust init` and `admit` take. */
export const AdmissionPaper = z.discriminatedUnion('kind', [Enrolment, ChallengedHost, Answer]);
export type AdmissionPaper = Readonly<z.infer<typeof AdmissionPaper>>;

/** Its purpose tells this statement from all others that an AK quotes over, whatever the secret is that a stranger lets a host open. */
export function answerDigestOf(hostId: string, secret: Uint8Array): Sha256Hex {
  return digestOf({ protocol: 'korora/1', purpose: 'enrolment', hostId, secret: base64.encode(secret) });
}
