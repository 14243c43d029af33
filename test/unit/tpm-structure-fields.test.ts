/** tpm/structures.ts and tpm/marshal.ts: of bytes that are cut off or too many, the field is named that they are not enough for. */
import { expect, it } from 'vitest';
import { endorsementNameOf, marshalAttest, marshalEccPoint, marshalEccPublic, marshalSignature, nameOf, pcrDigestOf, sized } from '../../tpm/marshal.js';
import { type Attest, ALGORITHM, CURVE_P256, type EccPublic, StructureError, TPM_GENERATED_VALUE, TPM_ST_ATTEST_CERTIFY, TPM_ST_ATTEST_QUOTE, parseAttest, parseEccPoint, parseEccPublic, parseSignature, parseSizedBuffers, splitAttestation } from '../../tpm/structures.js';

const [FOUR, THIRTY_TWO] = [Buffer.alloc(4, 4), Buffer.alloc(32, 32)];
const head = { magic: TPM_GENERATED_VALUE, qualifiedSigner: FOUR, extraData: FOUR, clockInfo: { clockMs: 5n, resetCount: 6, restartCount: 7, isSafe: true }, firmwareVersion: 8n };
const quote: Attest = { ...head, type: TPM_ST_ATTEST_QUOTE, attested: { kind: 'quote', pcrSelection: [{ hashAlgorithm: ALGORITHM.sha256, pcrs: [0, 23] }], pcrDigest: THIRTY_TWO } };
const certification: Attest = { ...head, type: TPM_ST_ATTEST_CERTIFY, attested: { kind: 'certify', name: FOUR, qualifiedName: FOUR } };
const key: EccPublic = {
  nameAlgorithm: ALGORITHM.sha256, objectAttributes: 1, authPolicy: FOUR, symmetric: { algorithm: ALGORITHM.aes, keyBits: 128, mode: 0x43 }, scheme: { algorithm: ALGORITHM.ecdsa, hashAlgorithm: ALGORITHM.sha256 }, curve: CURVE_P256, kdf: null, x: THIRTY_TWO, y: THIRTY_TWO,
};
const signature = marshalSignature({ hashAlgorithm: ALGORITHM.sha256, r: THIRTY_TWO, s: THIRTY_TWO });

function problemWith(read: () => unknown): StructureError {
  try {
    read();
  } catch (error) {
    if (error instanceof StructureError) return error;
    throw error;
  }
  throw new Error('nothing was wrong with it');
}

/** Which field it is that every shorter piece lacks, and of how many pieces. */
function lackingOf(bytes: Buffer, read: (piece: Buffer) => unknown): readonly string[] {
  const fields = Array.from({ length: bytes.length }, (_, length) => problemWith(() => read(bytes.subarray(0, length))).field);
  return [...new Set(fields)].map((field) => `${field} ${fields.filter((one) => one === field).length}`);
}

const HEAD = ['magic 4', 'type 2', 'qualifiedSigner 6', 'extraData 6', 'clock 8', 'resetCount 4', 'restartCount 4', 'safe 1', 'firmwareVersion 8'];

it.each([
  ['TPMS_ATTEST', marshalAttest(quote), parseAttest, [...HEAD, 'pcrSelect 4', 'pcrSelect.hash 2', 'pcrSelect.sizeofSelect 1', 'pcrSelect.pcrSelect 3', 'pcrDigest 34']],
  ['TPMS_ATTEST', marshalAttest(certification), parseAttest, [...HEAD, 'name 6', 'qualifiedName 6']],
  ['TPMT_SIGNATURE', signature, parseSignature, ['sigAlg 2', 'signature.hash 2', 'signatureR 34', 'signatureS 34']],
  ['TPMT_PUBLIC', marshalEccPublic(key), parseEccPublic, ['type 2', 'nameAlg 2', 'objectAttributes 4', 'authPolicy 6', 'symmetric 2', 'symmetric.keyBits 2', 'symmetric.mode 2', 'scheme 2', 'scheme.hash 2', 'curveID 2', 'kdf 2', 'unique.x 34', 'unique.y 34']],
  ['TPM2B', sized(FOUR), (bytes: Buffer) => parseSizedBuffers(bytes, 1), ['TPM2B 6']],
  ['TPMS_ECC_POINT', marshalEccPoint({ x: FOUR, y: FOUR }).subarray(2), (bytes: Buffer) => parseEccPoint(sized(bytes)), ['x 6', 'y 6']],
] as const)('%s names what it lacks, and itself where there is more', (name, bytes, read, fields) => {
  expect(lackingOf(bytes, read)).toEqual(fields);
  expect(problemWith(() => read(Buffer.concat([bytes, Buffer.alloc(3)])))).toMatchObject({ name: 'StructureError', message: `${name} at byte ${bytes.length}: 3 bytes too many` });
});

it('says what is too long, too many, or none of what is known', () => {
  const long = marshalAttest({ ...quote, extraData: Buffer.alloc(65) });
  expect(problemWith(() => parseAttest(long)).message).toBe('extraData at byte 12: 65 bytes, at most 64 expected');
  expect(parseAttest(marshalAttest({ ...quote, extraData: Buffer.alloc(64) })).extraData).toHaveLength(64);
  const banks = (count: number) => marshalAttest({ ...quote, attested: { kind: 'quote', pcrSelection: Array.from({ length: count }, () => ({ hashAlgorithm: ALGORITHM.sha256, pcrs: [1] })), pcrDigest: FOUR } });
  expect(problemWith(() => parseAttest(banks(17))).message).toBe('pcrSelect at byte 43: 17 banks, at most 16 expected');
  expect(parseAttest(banks(16)).attested).toMatchObject({ pcrSelection: { length: 16 } });
  expect(problemWith(() => parseSignature(Buffer.concat([Buffer.of(0, 0x14), signature.subarray(2)]))).message).toBe('sigAlg at byte 0: unexpected value 0x14');
});

it('takes no key whose KDF is any', () => {
  expect(problemWith(() => parseEccPublic(marshalEccPublic({ ...key, kdf: { algorithm: ALGORITHM.aes, hashAlgorithm: ALGORITHM.sha256 } })))).toMatchObject({ field: 'kdf', message: `kdf at byte 26: unexpected value 0x${ALGORITHM.aes.toString(16)}` });
});

it('leaves what it does not know as it is', () => {
  const time: Attest = { ...head, type: 0x8019, attested: { kind: 'other', body: FOUR } };
  expect(parseAttest(marshalAttest(time))).toEqual(time);
});

it('names what of an attestation is missing, and what is too many', () => {
  const both = Buffer.concat([signature, marshalAttest(quote)]);
  expect(problemWith(() => splitAttestation(both, 'signature-first', 1)).field).toBe('tail');
  expect(problemWith(() => splitAttestation(Buffer.concat([both, FOUR]), 'signature-first', 1)).message).toBe(`attestation at byte ${both.length + 1}: 3 bytes too many`);
});

it.each([-1, 24, 1.5])('writes no selection of PCR %s', (pcr) => {
  expect(() => marshalAttest({ ...quote, attested: { kind: 'quote', pcrSelection: [{ hashAlgorithm: ALGORITHM.sha256, pcrs: [pcr] }], pcrDigest: FOUR } })).toThrow(new RangeError(`there is no PCR ${pcr}`));
});

it('has a digest of PCRs that have values alone', () => {
  expect(() => pcrDigestOf([1], {})).toThrow(RangeError);
});

it('names objects by SHA-256 alone, and a primary of the endorsement hierarchy by that of its name', () => {
  expect(problemWith(() => nameOf(marshalEccPublic({ ...key, nameAlgorithm: 0x0c }))).message).toBe('nameAlg at byte 2: 0xc is not SHA-256');
  expect(endorsementNameOf(`000b${'11'.repeat(32)}`)).toBe('000ba4d4b9c7fc355222c7dc07e6154bd47d7fc31806e9a5ba49999d15aa94fac168');
});
