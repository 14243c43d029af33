/**
 * TPM 2.0 structures back to bytes, and what is computed over those bytes: object names, PCR digests
 * and PolicyPCR digests. The counterpart of structures.ts; no I/O.
 */
import { createHash } from 'node:crypto';
import type { PcrValues } from '../domain/attestation.js';
import { ALGORITHM, type Attest, type EccPublic, type EcdsaSignature, type PcrSelection, StructureError, parseEccPublic } from './structures.js';

/** Name of an object, hex: nameAlg and SHA-256 of its TPMT_PUBLIC (Part 1 §16). */
export function nameOf(publicArea: Buffer): string {
  const { nameAlgorithm } = parseEccPublic(publicArea);
  if (nameAlgorithm !== ALGORITHM.sha256) throw new StructureError('nameAlg', 2, `0x${nameAlgorithm.toString(16)} is not SHA-256`);
  return `000b${createHash('sha256').update(publicArea).digest('hex')}`;
}

/** Qualified name (hex) of a primary of the endorsement hierarchy, as the AK is: what TPMS_ATTEST says of its signer (Part 1 §16). */
export function endorsementNameOf(name: string): string {
  const TPM_RH_ENDORSEMENT = 0x4000000b;
  return `000b${createHash('sha256').update(uint(TPM_RH_ENDORSEMENT, 4)).update(name, 'hex').digest('hex')}`;
}

/** SHA-256 over the values of `pcrs` in ascending order (Part 4 PCRComputeCurrentDigest), hex. RangeError where a value is missing. */
export function pcrDigestOf(pcrs: readonly number[], values: PcrValues): string {
  const hash = createHash('sha256');
  for (const pcr of [...new Set(pcrs)].sort((a, b) => a - b)) {
    const value = values[pcr];
    if (value === undefined) throw new RangeError(`PCR ${pcr} has no value`);
    hash.update(value, 'hex');
  }
  return hash.digest('hex');
}

/** The policy of a session after one TPM2_PolicyPCR over these PCRs of the SHA-256 bank (Part 3 §23.7), hex. */
export function pcrPolicyDigest(pcrs: readonly number[], values: PcrValues): string {
  const TPM_CC_POLICY_PCR = 0x0000017f;
  return createHash('sha256')
    .update(Buffer.alloc(32))
    .update(uint(TPM_CC_POLICY_PCR, 4))
    .update(marshalPcrSelections([{ hashAlgorithm: ALGORITHM.sha256, pcrs }]))
    .update(pcrDigestOf(pcrs, values), 'hex')
    .digest('hex');
}

export function marshalAttest(attest: Attest): Buffer {
  const { clockInfo, attested } = attest;
  return Buffer.concat([
    uint(attest.magic, 4), uint(attest.type, 2), sized(attest.qualifiedSigner), sized(attest.extraData),
    uint(clockInfo.clockMs, 8), uint(clockInfo.resetCount, 4), uint(clockInfo.restartCount, 4), uint(clockInfo.isSafe ? 1 : 0, 1),
    uint(attest.firmwareVersion, 8),
    ...(attested.kind === 'quote' ? [marshalPcrSelections(attested.pcrSelection), sized(attested.pcrDigest)]
      : attested.kind === 'certify' ? [sized(attested.name), sized(attested.qualifiedName)]
      : [attested.body]),
  ]);
}

export function marshalSignature({ hashAlgorithm, r, s }: EcdsaSignature): Buffer {
  return Buffer.concat([uint(ALGORITHM.ecdsa, 2), uint(hashAlgorithm, 2), sized(r), sized(s)]);
}

export function marshalEccPublic(key: EccPublic): Buffer {
  const { symmetric, scheme, kdf } = key;
  const nothing = uint(ALGORITHM.null, 2);
  return Buffer.concat([
    uint(ALGORITHM.ecc, 2), uint(key.nameAlgorithm, 2), uint(key.objectAttributes, 4), sized(key.authPolicy),
    symmetric ? Buffer.concat([uint(symmetric.algorithm, 2), uint(symmetric.keyBits, 2), uint(symmetric.mode, 2)]) : nothing,
    scheme ? Buffer.concat([uint(scheme.algorithm, 2), uint(scheme.hashAlgorithm, 2)]) : nothing,
    uint(key.curve, 2),
    kdf ? Buffer.concat([uint(kdf.algorithm, 2), uint(kdf.hashAlgorithm, 2)]) : nothing,
    sized(key.x), sized(key.y),
  ]);
}

/** TPM2B_ECC_POINT. */
export function marshalEccPoint({ x, y }: { readonly x: Buffer; readonly y: Buffer }): Buffer {
  return sized(Buffer.concat([sized(x), sized(y)]));
}

/** TPM2B: a 16-bit length and the bytes. */
export function sized(content: Buffer): Buffer {
  return Buffer.concat([uint(content.length, 2), content]);
}

/** TPML_PCR_SELECTION; 24 PCRs a bank, as tpm2-tools and every PC client TPM write it. */
function marshalPcrSelections(selections: readonly PcrSelection[]): Buffer {
  return Buffer.concat([
    uint(selections.length, 4),
    ...selections.map(({ hashAlgorithm, pcrs }) => {
      const bitmap = Buffer.alloc(3);
      for (const pcr of pcrs) {
        if (!Number.isInteger(pcr) || pcr < 0 || pcr > 23) throw new RangeError(`there is no PCR ${pcr}`);
        bitmap[pcr >> 3] = (bitmap[pcr >> 3] ?? 0) | (1 << (pcr & 7));
      }
      return Buffer.concat([uint(hashAlgorithm, 2), uint(bitmap.length, 1), bitmap]);
    }),
  ]);
}

function uint(value: number | bigint, length: 1 | 2 | 4 | 8): Buffer {
  const bytes = Buffer.alloc(length);
  if (length === 8) bytes.writeBigUInt64BE(BigInt(value));
  else bytes.writeUIntBE(Number(value), 0, length);
  return bytes;
}
