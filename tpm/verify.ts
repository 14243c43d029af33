/**
 * Checks evidence of a TPM with public keys alone: signatures of the AK, quotes, and the
 * certification of a wrapping key. Pure over node:crypto; talks to no TPM.
 *
 * What the quoted values must be is policy (domain/appraisal.ts), not decided here.
 */
import { type KeyObject, createPublicKey, verify } from 'node:crypto';
import type { ParsedQuote } from '../domain/appraisal.js';
import type { AttestationKeyPublic, PcrValues, SignedAttestation, TpmBoot, WrappingKeyEvidence } from '../domain/attestation.js';
import { endorsementNameOf, nameOf, pcrPolicyDigest } from './marshal.js';
import {
  ALGORITHM, type Attest, type EccPublic, OBJECT_ATTRIBUTE, type ObjectAttribute, StructureError,
  TPM_GENERATED_VALUE, TPM_ST_ATTEST_CERTIFY, TPM_ST_ATTEST_QUOTE, parseAttest, parseEccPublic, parseSignature,
} from './structures.js';

declare const verified: unique symbol;

/** A quote whose AK, AK signature, magic, type, signer and qualifying data were checked. PCR values were not. */
export type VerifiedQuote = ParsedQuote & { readonly [verified]: true };

export type QuoteResult = { readonly ok: true; readonly quote: VerifiedQuote } | { readonly ok: false; readonly problem: string };

/** Both structures, strictly. Throws StructureError; callers raise EVIDENCE_MALFORMED. */
export function parseAttestation(signed: SignedAttestation): Attest {
  parseSignature(bytesOf(signed.signature, 'signature'));
  return parseAttest(bytesOf(signed.attest, 'attest'));
}

/**
 * The facts of a quote. An attestation of another type parses too, with no PCR selection and an
 * empty digest, so that the appraisal can say what it is. Throws StructureError.
 */
export function parseQuote(signed: SignedAttestation): ParsedQuote {
  const attest = parseAttestation(signed);
  const quote = attest.attested.kind === 'quote' ? attest.attested : null;
  return {
    magic: hex(attest.magic, 4),
    type: hex(attest.type, 2),
    qualifiedSigner: attest.qualifiedSigner.toString('hex'),
    extraData: attest.extraData.toString('hex'),
    clock: attest.clockInfo.clockMs.toString(),
    resetCount: attest.clockInfo.resetCount,
    restartCount: attest.clockInfo.restartCount,
    isClockSafe: attest.clockInfo.isSafe,
    firmwareVersion: hex(attest.firmwareVersion, 8),
    pcrSelection: (quote?.pcrSelection ?? []).map(({ hashAlgorithm, pcrs }) => ({
      hashAlgorithm: hashAlgorithm === ALGORITHM.sha256 ? 'sha256' : hex(hashAlgorithm, 2),
      pcrs,
    })),
    pcrDigest: quote?.pcrDigest.toString('hex') ?? '',
  };
}

/**
 * Null if this is a key that signs only what its TPM made (restricted, sign, fixedTPM, fixedParent,
 * sensitiveDataOrigin, not decrypt; ECDSA P-256 with SHA-256) and has this name; else the problem.
 */
export function checkAttestationKey(ak: AttestationKeyPublic): string | null {
  return problemIn(() => {
    const publicArea = bytesOf(ak.publicArea, 'AK public area');
    const key = parseEccPublic(publicArea);
    keyObjectOf(ak.publicArea);
    return (
      attributeProblem(key, {
        set: ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'restricted', 'sign'],
        free: ['userWithAuth', 'adminWithPolicy', 'noDA'],
      }) ??
      (isScheme(key, ALGORITHM.ecdsa) ? null : 'its scheme is not ECDSA with SHA-256') ??
      (nameOf(publicArea) === ak.name ? null : 'its name is not that of its public area')
    );
  });
}

/** ECDSA P-256 with SHA-256 over the attest bytes, by a sound AK. False for anything else, malformed input included. */
export function verifySignature(ak: AttestationKeyPublic, signed: SignedAttestation): boolean {
  if (checkAttestationKey(ak) !== null) return false;
  try {
    const { r, s } = parseSignature(bytesOf(signed.signature, 'signature'));
    const key = { key: keyObjectOf(ak.publicArea), dsaEncoding: 'ieee-p1363' as const };
    return verify('sha256', bytesOf(signed.attest, 'attest'), key, Buffer.concat([r, s]));
  } catch {
    return false;
  }
}

/** A quote by this AK over this qualifying data, e.g. of a verdict statement. */
export function verifyQuoteOver(input: {
  readonly ak: AttestationKeyPublic;
  readonly signed: SignedAttestation;
  readonly qualifyingData: Buffer;
}): QuoteResult {
  let quote: ParsedQuote | undefined;
  const problem = problemIn(() => {
    quote = parseQuote(input.signed);
    if (!verifySignature(input.ak, input.signed)) return checkAttestationKey(input.ak) ?? 'the AK did not sign it';
    if (quote.magic !== hex(TPM_GENERATED_VALUE, 4)) return `its magic is ${quote.magic}: no TPM made it`;
    if (quote.type !== hex(TPM_ST_ATTEST_QUOTE, 2)) return `its type is ${quote.type}: not a quote`;
    if (quote.qualifiedSigner !== endorsementNameOf(input.ak.name)) return `it names another signer: ${quote.qualifiedSigner}`;
    if (quote.extraData !== input.qualifyingData.toString('hex')) return 'it is bound to something else';
    return null;
  });
  return quote && problem === null ? { ok: true, quote: quote as VerifiedQuote } : { ok: false, problem: problem ?? 'unreadable' };
}

/**
 * Null if the AK certifies that this key lives in its TPM, was made there, can be used for key
 * agreement only, and only while exactly `pcrs` have `pcrValues` (TPM2_PolicyPCR, Part 3 §23.7);
 * else the problem. The certification is not fresh by itself: the quote's binding names the key.
 */
export function checkWrappingKey(input: {
  readonly ak: AttestationKeyPublic;
  readonly evidence: WrappingKeyEvidence;
  readonly pcrs: readonly number[];
  readonly pcrValues: PcrValues;
}): string | null {
  const { ak, evidence, pcrs, pcrValues } = input;
  return problemIn(() => {
    const publicArea = bytesOf(evidence.publicArea, 'public area');
    const key = parseEccPublic(publicArea);
    keyObjectOf(evidence.publicArea);
    if (pcrs.length === 0) return 'no PCR is asked for';
    return (
      certificationProblem(ak, evidence, nameOf(publicArea)) ??
      attributeProblem(key, { set: ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'decrypt'], free: ['noDA'] }) ??
      (isScheme(key, ALGORITHM.ecdh) ? null : 'its scheme is not ECDH with SHA-256') ??
      (key.authPolicy.toString('hex') === pcrPolicyDigest(pcrs, pcrValues) ? null : 'its policy is not the attested PCRs and values')
    );
  });
}

/** Clock, reset and restart counts at the moment of the certification, to compare with those of the quote. Throws StructureError. */
export function certificationCounters(certification: SignedAttestation): TpmBoot {
  const { clockMs, resetCount, restartCount } = parseAttestation(certification).clockInfo;
  return { clock: clockMs.toString(), resetCount, restartCount };
}

/** The P-256 key in a TPMT_PUBLIC (base64). Throws StructureError, also for a point off the curve. */
export function keyObjectOf(publicArea: string): KeyObject {
  const { x, y } = parseEccPublic(bytesOf(publicArea, 'public area'));
  try {
    return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x: x.toString('base64url'), y: y.toString('base64url') }, format: 'jwk' });
  } catch {
    throw new StructureError('unique', 0, 'not a point of P-256');
  }
}

/** Strict base64: one text for one byte string. */
export function bytesOf(base64: string, field: string): Buffer {
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.toString('base64') !== base64) throw new StructureError(field, 0, 'not canonical base64');
  return bytes;
}

function certificationProblem(ak: AttestationKeyPublic, evidence: WrappingKeyEvidence, name: string): string | null {
  const { magic, type, qualifiedSigner, attested } = parseAttestation(evidence.certification);
  if (!verifySignature(ak, evidence.certification)) return checkAttestationKey(ak) ?? 'the AK did not sign its certification';
  if (magic !== TPM_GENERATED_VALUE) return `the magic of its certification is ${hex(magic, 4)}: no TPM made it`;
  if (type !== TPM_ST_ATTEST_CERTIFY || attested.kind !== 'certify') return `the type of its certification is ${hex(type, 2)}: not a certification`;
  if (qualifiedSigner.toString('hex') !== endorsementNameOf(ak.name)) return 'its certification names another signer';
  if (evidence.name !== name) return 'its name is not that of its public area';
  if (attested.name.toString('hex') !== name) return 'its certification is of another key';
  return null;
}

/** Every bit outside `set` and `free` must be clear, reserved ones too. */
function attributeProblem(key: EccPublic, rule: { readonly set: readonly ObjectAttribute[]; readonly free: readonly ObjectAttribute[] }): string | null {
  const bits = (names: readonly ObjectAttribute[]) => names.reduce((mask, name) => mask | OBJECT_ATTRIBUTE[name], 0);
  const missing = rule.set.filter((name) => (key.objectAttributes & OBJECT_ATTRIBUTE[name]) === 0);
  if (missing.length > 0) return `it lacks ${missing.join(', ')}`;
  const surplus = key.objectAttributes & ~bits([...rule.set, ...rule.free]);
  if (surplus === 0) return null;
  const named = (Object.keys(OBJECT_ATTRIBUTE) as ObjectAttribute[]).filter((name) => surplus & OBJECT_ATTRIBUTE[name]);
  return `it has ${named.join(', ') || `reserved attributes 0x${(surplus >>> 0).toString(16)}`}`;
}

function isScheme({ scheme, symmetric }: EccPublic, algorithm: number): boolean {
  return scheme?.algorithm === algorithm && scheme.hashAlgorithm === ALGORITHM.sha256 && symmetric === null;
}

/** A structure that cannot be read, or a PCR without a value, is a problem like any other. */
function problemIn(check: () => string | null): string | null {
  try {
    return check();
  } catch (error) {
    if (error instanceof StructureError || error instanceof RangeError) return error.message;
    throw error;
  }
}

function hex(value: number | bigint, length: number): string {
  return value.toString(16).padStart(length * 2, '0');
}
