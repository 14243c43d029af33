/** An AK whose private half the test holds: it signs whatever a compromised TPM, or its thief, could. */
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import type { AttestationKeyPublic, PcrValues, SignedAttestation, WrappingKeyEvidence } from '../../domain/attestation.js';
import { endorsementNameOf, marshalAttest, marshalEccPublic, marshalSignature, pcrPolicyDigest } from '../../tpm/marshal.js';
import { ALGORITHM, type Attest, CURVE_P256, type EccPublic, OBJECT_ATTRIBUTE, type ObjectAttribute, TPM_GENERATED_VALUE, TPM_ST_ATTEST_CERTIFY, TPM_ST_ATTEST_QUOTE } from '../../tpm/structures.js';

export interface SoftwareKey extends AttestationKeyPublic {
  sign(attest: Attest): SignedAttestation;
}

export const attributes = (...names: readonly ObjectAttribute[]) => names.reduce((mask, name) => mask | OBJECT_ATTRIBUTE[name], 0);
export const AK_ATTRIBUTES = attributes('fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'userWithAuth', 'restricted', 'sign');

/** Sound, but for `changes`. */
export function makeSoftwareKey(changes: Partial<EccPublic> = {}): SoftwareKey {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x = '', y = '' } = pair.publicKey.export({ format: 'jwk' });
  const publicArea = marshalEccPublic({
    nameAlgorithm: ALGORITHM.sha256, objectAttributes: AK_ATTRIBUTES, authPolicy: Buffer.alloc(0), symmetric: null,
    scheme: { algorithm: ALGORITHM.ecdsa, hashAlgorithm: ALGORITHM.sha256 }, curve: CURVE_P256, kdf: null,
    x: Buffer.from(x, 'base64url'), y: Buffer.from(y, 'base64url'), ...changes,
  });
  return {
    publicArea: publicArea.toString('base64'),
    name: `000b${createHash('sha256').update(publicArea).digest('hex')}`,
    sign(attest) {
      const bytes = marshalAttest(attest);
      const raw = sign('sha256', bytes, { key: pair.privateKey, dsaEncoding: 'ieee-p1363' });
      const signature = marshalSignature({ hashAlgorithm: ALGORITHM.sha256, r: raw.subarray(0, 32), s: raw.subarray(32) });
      return { attest: bytes.toString('base64'), signature: signature.toString('base64') };
    },
  };
}

/** As a TPM makes it of these PCRs (SHA-256 bank). */
export function quoteBy(ak: AttestationKeyPublic, { extraData, pcrs, pcrDigest }: { readonly extraData: Buffer; readonly pcrs: readonly number[]; readonly pcrDigest: Buffer }): Attest {
  return {
    magic: TPM_GENERATED_VALUE,
    type: TPM_ST_ATTEST_QUOTE,
    qualifiedSigner: Buffer.from(endorsementNameOf(ak.name), 'hex'),
    extraData,
    clockInfo: { clockMs: 12_345n, resetCount: 3, restartCount: 1, isSafe: true },
    firmwareVersion: 0x2019102300163636n,
    attested: { kind: 'quote', pcrSelection: [{ hashAlgorithm: ALGORITHM.sha256, pcrs }], pcrDigest },
  };
}

export const WRAPPING_ATTRIBUTES = attributes('fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'decrypt');

/** An ECDH key under PolicyPCR over these values; sound, but for `changes`. */
export function wrappingKeyUnder(pcrs: readonly number[], values: PcrValues, changes: Partial<EccPublic> = {}): SoftwareKey {
  return makeSoftwareKey({
    objectAttributes: WRAPPING_ATTRIBUTES,
    authPolicy: Buffer.from(pcrPolicyDigest(pcrs, values), 'hex'),
    scheme: { algorithm: ALGORITHM.ecdh, hashAlgorithm: ALGORITHM.sha256 },
    ...changes,
  });
}

export function certifiedBy(ak: SoftwareKey, { publicArea, name }: AttestationKeyPublic, changes: Partial<Attest> = {}): WrappingKeyEvidence {
  const attested = { kind: 'certify' as const, name: Buffer.from(name, 'hex'), qualifiedName: Buffer.alloc(34) };
  const facts = quoteBy(ak, { extraData: Buffer.alloc(0), pcrs: [], pcrDigest: Buffer.alloc(0) });
  return { publicArea, name, certification: ak.sign({ ...facts, type: TPM_ST_ATTEST_CERTIFY, attested, ...changes }) };
}
