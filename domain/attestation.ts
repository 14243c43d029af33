/**
 * Evidence that travels between hosts, as documents. The binary TPM structures inside are parsed
 * and checked in tpm/; the rules they must meet are in appraisal.ts.
 */
import { z } from 'zod';
import { EventLog } from './boot-events.js';
import type { Failure } from './failures.js';
import { Base64, Hex, HostId, MigrationId, Role, Sha256Hex, recordOf } from './ids.js';

/** PCR index → value, SHA-256 bank. Keys are decimal without leading zeros. */
export const PcrValues = recordOf(z.string().regex(/^(?:[0-9]|1[0-9]|2[0-3])$/, 'a PCR index, 0 to 23'), Sha256Hex);
export type PcrValues = Readonly<z.infer<typeof PcrValues>>;

/** TPMS_ATTEST and the TPMT_SIGNATURE over it (Part 2 §10.12.12, §11.3.4), base64. */
export const SignedAttestation = z.strictObject({
  attest: Base64.max(4096),
  signature: Base64.max(1024),
});
export type SignedAttestation = Readonly<z.infer<typeof SignedAttestation>>;

/** In which boot a TPM made a statement, and when (TPMS_CLOCK_INFO, Part 2 §10.11.1). */
export const TpmBoot = z.strictObject({
  resetCount: z.int().min(0),
  restartCount: z.int().min(0),
  /** Milliseconds the TPM has been powered, decimal. */
  clock: z.string().regex(/^(?:0|[1-9][0-9]{0,19})$/, 'a decimal number'),
});
export type TpmBoot = Readonly<z.infer<typeof TpmBoot>>;

export const AttestationKeyPublic = z.strictObject({
  /** TPMT_PUBLIC, base64 (Part 2 §12.2.4). */
  publicArea: Base64.max(2048),
  /** TPM name: nameAlg and digest of the public area, hex (Part 1 §16). */
  name: Hex.length(68),
});
export type AttestationKeyPublic = Readonly<z.infer<typeof AttestationKeyPublic>>;

/** The destination's wrapping key and the AK's certification of it. */
export const WrappingKeyEvidence = z.strictObject({
  publicArea: Base64.max(2048),
  name: Hex.length(68),
  certification: SignedAttestation,
});
export type WrappingKeyEvidence = Readonly<z.infer<typeof WrappingKeyEvidence>>;

/** ECIES over P-256: ephemeral ECDH, HKDF-SHA-256, AES-256-GCM. */
export const WrappedSecrets = z.strictObject({
  /** Uncompressed point of the ephemeral key, base64. */
  ephemeralPoint: Base64.max(256),
  iv: Base64.max(32),
  ciphertext: Base64.max(8192),
  tag: Base64.max(32),
});
export type WrappedSecrets = Readonly<z.infer<typeof WrappedSecrets>>;

/** A verifier's nonce: 32 random bytes, hex. */
export const Nonce = Sha256Hex;

/**
 * What a quote is about: its qualifying data is SHA-256 of this document's canonical form. Puts
 * the ephemeral TLS key and the wrapping key under the AK's signature (promises P2 and P3).
 */
export const Binding = z.strictObject({
  protocol: z.literal('korora/1'),
  purpose: z.literal('attest'),
  migrationId: MigrationId,
  orderDigest: Sha256Hex,
  role: Role,
  verifierNonce: Nonce,
  tlsSpkiSha256: Sha256Hex,
  /** Null for the source, which has none. */
  wrappingKeyName: Hex.length(68).nullable(),
});
export type Binding = Readonly<z.infer<typeof Binding>>;

/**
 * What a host quotes over for whoever asks how it is: no move, so it opens nothing. Its purpose tells it from all other
 * statements of the AK.
 */
export const StateStatement = z.strictObject({
  protocol: z.literal('korora/1'),
  purpose: z.literal('state'),
  hostId: HostId,
  nonce: Nonce,
});
export type StateStatement = Readonly<z.infer<typeof StateStatement>>;

/** `pcrs`: those of the class in the bundle that is tried, which need not be the installed one. */
export const StateQuestion = z.strictObject({ nonce: Nonce, pcrs: z.array(z.int().min(0).max(23)).min(1).max(24) });
export type StateQuestion = Readonly<z.infer<typeof StateQuestion>>;

/** As it is put to one host. */
export interface HostQuestion extends StateQuestion {
  readonly hostId: HostId;
}

/** A quote over a StateStatement, with the PCR values it digests. */
export const HostState = z.strictObject({
  statement: StateStatement,
  quote: SignedAttestation,
  pcrValues: PcrValues,
  /** As in HostEvidence, always where the host has one. */
  eventLog: EventLog.nullable(),
});
export type HostState = Readonly<z.infer<typeof HostState>>;

/** What a host says to a StateQuestion, or why it says nothing. */
export type StateReply = HostState | { readonly failures: readonly Failure[] };

/** What a host shows to open a session: its own nonce for the peer, and the TLS key it will be bound to. */
export const SessionOffer = z.strictObject({
  hostId: HostId,
  role: Role,
  nonce: Nonce,
  tlsSpkiSha256: Sha256Hex,
});
export type SessionOffer = Readonly<z.infer<typeof SessionOffer>>;

/** Evidence (RFC 9334 §8.1): a quote over the binding, with the PCR values it digests. */
export const HostEvidence = z.strictObject({
  hostId: HostId,
  binding: Binding,
  quote: SignedAttestation,
  pcrValues: PcrValues,
  wrappingKey: WrappingKeyEvidence.nullable(),
  /** For people, where the values match no reference set of the host's own bundle; null elsewhere. Nothing signs it, and nothing is decided by it. */
  eventLog: EventLog.nullable(),
});
export type HostEvidence = Readonly<z.infer<typeof HostEvidence>>;
