/**
 * A signed document: the DSSE envelope (secure-systems-lab/dsse, version 1.0.2) with Ed25519 signatures (RFC 8032). The
 * signature is over the pre-authentication encoding of payload type and payload, so that a document of one kind is never taken for another.
 * What is inside is JSON in its canonical form, in one base64 form: no byte of an envelope can change unnoticed.
 */
import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, concatBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { base64 } from '@scure/base';
import { z } from 'zod';
import { canonicalJson } from './canonical.js';
import { describeIssues } from './documents.js';
import { Base64, Sha256Hex } from './ids.js';

/** A trust bundle of thousands of hosts has some megabytes; what operators sign, a few hundred bytes. */
const MAX_PAYLOAD_CHARACTERS = 8 * 1024 * 1024;
const MAX_OPERATOR_PAYLOAD_CHARACTERS = 64 * 1024;
/** SubjectPublicKeyInfo of an Ed25519 key (RFC 8410 §4) up to the key itself. */
const SPKI_PREFIX = Uint8Array.from([0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00]);
const KEY_BYTES = 32;

/** Of an Ed25519 key: SubjectPublicKeyInfo in DER, base64; what `openssl pkey -pubout -outform DER` writes. */
export const PublicKey = Base64.refine((text) => rawKeyIn(text) !== null, 'the base64 of an Ed25519 public key (SubjectPublicKeyInfo, DER)').brand('PublicKey');
export type PublicKey = z.infer<typeof PublicKey>;

const envelopeOf = (maxPayloadCharacters: number) =>
  z.strictObject({
    payloadType: z.string().min(1).max(100),
    payload: z.string().max(maxPayloadCharacters).pipe(Base64),
    signatures: z.array(z.strictObject({ keyid: Sha256Hex, sig: z.string().length(88).pipe(Base64) })).min(1).max(8),
  });

export const Envelope = envelopeOf(MAX_PAYLOAD_CHARACTERS);
/** Of what operators sign. */
export const OperatorEnvelope = envelopeOf(MAX_OPERATOR_PAYLOAD_CHARACTERS);
export type Envelope = Readonly<z.infer<typeof Envelope>>;

/** Kinds of documents that are signed, and how their payloads are typed. */
export const PAYLOAD_TYPES = {
  'korora/trust-bundle': 'application/vnd.korora.trust-bundle+json',
  'korora/order': 'application/vnd.korora.order+json',
  'korora/start': 'application/vnd.korora.start+json',
  'korora/approval': 'application/vnd.korora.approval+json',
  'korora/limits': 'application/vnd.korora.limits+json',
  'korora/fence': 'application/vnd.korora.fence+json',
  'korora/reinstatement': 'application/vnd.korora.reinstatement+json',
} as const;
export type SignedKind = keyof typeof PAYLOAD_TYPES;

/** Holds a private key, here or in an HSM. */
export interface Signer {
  readonly publicKey: PublicKey;
  /** The Ed25519 signature over `message`: 64 bytes. */
  sign(message: Uint8Array): Promise<Uint8Array>;
}

/** SHA-256 of the key's SubjectPublicKeyInfo. */
export function keyIdOf(key: PublicKey): Sha256Hex {
  return bytesToHex(sha256(base64.decode(key)));
}

export async function signEnvelope(document: { readonly kind: SignedKind }, signer: Signer): Promise<Envelope> {
  return addSignature({ payloadType: PAYLOAD_TYPES[document.kind], payload: base64.encode(utf8ToBytes(canonicalJson(document))), signatures: [] }, signer);
}

/** The same document, with one more signature beside those that are there. */
export async function addSignature({ payloadType, payload, signatures }: Envelope, signer: Signer): Promise<Envelope> {
  const sig = await signer.sign(preAuthenticationEncoding(payloadType, base64.decode(payload)));
  return { payloadType, payload, signatures: [...signatures, { keyid: keyIdOf(signer.publicKey), sig: base64.encode(sig) }] };
}

export type Opened<T> = { readonly document: T } | { readonly problem: string };

/** What an envelope says, whoever signed it: for showing and routing, never for acting on. */
export function readEnvelope<T extends z.ZodType>(schema: T, kind: SignedKind, value: unknown): Opened<z.output<T>> {
  const parsed = Envelope.safeParse(value);
  if (!parsed.success) return { problem: describeIssues(parsed.error) };
  const { payloadType, payload } = parsed.data;
  if (payloadType !== PAYLOAD_TYPES[kind]) return { problem: `payloadType: ${payloadType} instead of ${PAYLOAD_TYPES[kind]}` };
  const json = jsonIn(payload);
  if ('problem' in json) return { problem: `payload: ${json.problem}` };
  const document = schema.safeParse(json.document);
  return document.success ? { document: document.data } : { problem: describeIssues(document.error) };
}

/** Which of these keys signed the envelope; names of keys in it only say which to try. Empty where none did. */
export function signersOf({ payloadType, payload, signatures }: Envelope, keys: readonly PublicKey[]): readonly PublicKey[] {
  const message = preAuthenticationEncoding(payloadType, base64.decode(payload));
  return keys.filter((key) => {
    const publicKey = rawKeyIn(key);
    const keyId = keyIdOf(key);
    return publicKey !== null && signatures.some(({ keyid, sig }) => keyid === keyId && isValid(base64.decode(sig), message, publicKey));
  });
}

/** DSSE, protocol.md: "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body; lengths are of bytes, in decimal. */
export function preAuthenticationEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = utf8ToBytes(payloadType);
  return concatBytes(utf8ToBytes(`DSSEv1 ${type.length} ${payloadType} ${payload.length} `), payload);
}

function isValid(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  // Strict RFC 8032: no other encoding of the same point or scalar passes.
  return attempt(() => ed25519.verify(signature, message, publicKey, { zip215: false })) ?? false;
}

function attempt<T>(work: () => T): T | null {
  try {
    return work();
  } catch {
    return null;
  }
}

function jsonIn(payload: string): Opened<unknown> {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(base64.decode(payload));
    const document: unknown = JSON.parse(text);
    // Else two readers could see two documents: members that are there twice, numbers that are rounded.
    return canonicalJson(document) === text ? { document } : { problem: 'it is not in canonical form (RFC 8785)' };
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}

function rawKeyIn(text: string): Uint8Array | null {
  const spki = attempt(() => base64.decode(text));
  if (!spki || spki.length !== SPKI_PREFIX.length + KEY_BYTES || SPKI_PREFIX.some((byte, i) => spki[i] !== byte)) return null;
  return spki.subarray(SPKI_PREFIX.length);
}
