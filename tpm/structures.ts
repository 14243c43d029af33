/**
 * Codec of the TPM 2.0 structures that Kororā exchanges (TPM 2.0 Library, Part 2): TPMS_ATTEST,
 * TPMT_SIGNATURE, TPMT_PUBLIC, for ECC and SHA-256: types and parsers. marshal.ts has the way back.
 *
 * Strict: a missing byte, a byte too many or an algorithm that Kororā does not use is a
 * StructureError with its field and offset. Judges nothing (verify.ts does); no I/O.
 */

export const TPM_GENERATED_VALUE = 0xff544347;
export const TPM_ST_ATTEST_CERTIFY = 0x8017;
export const TPM_ST_ATTEST_QUOTE = 0x8018;

/** Part 2 §6.3. */
export const ALGORITHM = { aes: 0x0006, sha256: 0x000b, null: 0x0010, ecdsa: 0x0018, ecdh: 0x0019, ecc: 0x0023 } as const;
/** TPM_ECC_NIST_P256, Part 2 §6.4. */
export const CURVE_P256 = 0x0003;

/** TPMA_OBJECT, Part 2 §8.3. */
export const OBJECT_ATTRIBUTE = {
  fixedTPM: 1 << 1,
  stClear: 1 << 2,
  fixedParent: 1 << 4,
  sensitiveDataOrigin: 1 << 5,
  userWithAuth: 1 << 6,
  adminWithPolicy: 1 << 7,
  noDA: 1 << 10,
  encryptedDuplication: 1 << 11,
  restricted: 1 << 16,
  decrypt: 1 << 17,
  sign: 1 << 18,
  x509sign: 1 << 19,
} as const;
export type ObjectAttribute = keyof typeof OBJECT_ATTRIBUTE;

/** TPMS_CLOCK_INFO, Part 2 §10.11.1. */
export interface ClockInfo {
  readonly clockMs: bigint;
  readonly resetCount: number;
  readonly restartCount: number;
  readonly isSafe: boolean;
}

/** TPMS_PCR_SELECTION, Part 2 §10.6.2. */
export interface PcrSelection {
  readonly hashAlgorithm: number;
  /** Ascending. */
  readonly pcrs: readonly number[];
}

export type Attested =
  | { readonly kind: 'quote'; readonly pcrSelection: readonly PcrSelection[]; readonly pcrDigest: Buffer }
  | { readonly kind: 'certify'; readonly name: Buffer; readonly qualifiedName: Buffer }
  /** A type that Kororā asks for nowhere; its body stays unread. */
  | { readonly kind: 'other'; readonly body: Buffer };

/** TPMS_ATTEST, Part 2 §10.12.12. */
export interface Attest {
  readonly magic: number;
  readonly type: number;
  readonly qualifiedSigner: Buffer;
  readonly extraData: Buffer;
  readonly clockInfo: ClockInfo;
  readonly firmwareVersion: bigint;
  readonly attested: Attested;
}

/** TPMT_SIGNATURE with TPMS_SIGNATURE_ECDSA, Part 2 §11.3.2. */
export interface EcdsaSignature {
  readonly hashAlgorithm: number;
  /** 32 bytes each, big-endian. */
  readonly r: Buffer;
  readonly s: Buffer;
}

/** TPMT_PUBLIC of an ECC key, Part 2 §12.2.4. `null` stands for TPM_ALG_NULL. */
export interface EccPublic {
  readonly nameAlgorithm: number;
  readonly objectAttributes: number;
  readonly authPolicy: Buffer;
  readonly symmetric: { readonly algorithm: number; readonly keyBits: number; readonly mode: number } | null;
  readonly scheme: { readonly algorithm: number; readonly hashAlgorithm: number } | null;
  readonly curve: number;
  readonly kdf: { readonly algorithm: number; readonly hashAlgorithm: number } | null;
  /** 32 bytes each, big-endian. */
  readonly x: Buffer;
  readonly y: Buffer;
}

/** Bytes that are not the structure they should be. */
export class StructureError extends Error {
  override readonly name = 'StructureError';
  constructor(
    readonly field: string,
    readonly offset: number,
    problem: string,
  ) {
    super(`${field} at byte ${offset}: ${problem}`);
  }
}

export function parseAttest(bytes: Buffer): Attest {
  return whole(bytes, 'TPMS_ATTEST', readAttest);
}

export function parseSignature(bytes: Buffer): EcdsaSignature {
  return whole(bytes, 'TPMT_SIGNATURE', readSignature);
}

export function parseEccPublic(bytes: Buffer): EccPublic {
  return whole(bytes, 'TPMT_PUBLIC', readEccPublic);
}

/** The content of each TPM2B in a row of `count` of them, to the last byte. */
export function parseSizedBuffers(bytes: Buffer, count: number): Buffer[] {
  return whole(bytes, 'TPM2B', (reader) => Array.from({ length: count }, () => reader.sized('TPM2B', 0xffff)));
}

/** TPM2B_ECC_POINT, Part 2 §11.2.5.3. Coordinates come back padded to 32 bytes. */
export function parseEccPoint(bytes: Buffer): { readonly x: Buffer; readonly y: Buffer } {
  const [point] = parseSizedBuffers(bytes, 1) as [Buffer];
  return whole(point, 'TPMS_ECC_POINT', (reader) => ({ x: reader.scalar('x'), y: reader.scalar('y') }));
}

/** What tpm2-tools write side by side: TPMT_SIGNATURE and TPMS_ATTEST in the given order, then `tailBytes` more. */
export function splitAttestation(
  bytes: Buffer,
  order: 'signature-first' | 'attest-first',
  tailBytes = 0,
): { readonly signature: Buffer; readonly attest: Buffer; readonly tail: Buffer } {
  return whole(bytes, 'attestation', (reader) => {
    const parts: { signature?: Buffer; attest?: Buffer } = {};
    for (const part of order === 'signature-first' ? (['signature', 'attest'] as const) : (['attest', 'signature'] as const)) {
      const start = reader.offset;
      if (part === 'signature') readSignature(reader);
      else readAttest(reader);
      parts[part] = bytes.subarray(start, reader.offset);
    }
    return { signature: parts.signature as Buffer, attest: parts.attest as Buffer, tail: reader.bytes('tail', tailBytes) };
  });
}

/** Big-endian, as TPM structures are; event-log.ts adds the other way. */
export class Reader {
  offset = 0;
  constructor(private readonly source: Buffer) {}

  get left(): number {
    return this.source.length - this.offset;
  }
  bytes(field: string, length: number): Buffer {
    if (length > this.left) throw new StructureError(field, this.offset, `${length} bytes wanted, ${this.left} left`);
    this.offset += length;
    return this.source.subarray(this.offset - length, this.offset);
  }
  uint(field: string, length: 1 | 2 | 4): number {
    return this.bytes(field, length).readUIntBE(0, length);
  }
  uint64(field: string): bigint {
    return this.bytes(field, 8).readBigUInt64BE();
  }
  sized(field: string, atMost: number): Buffer {
    const start = this.offset;
    const length = this.uint(field, 2);
    if (length > atMost) throw new StructureError(field, start, `${length} bytes, at most ${atMost} expected`);
    return this.bytes(field, length);
  }
  /** A P-256 coordinate or scalar; TPMs may leave out leading zeros. */
  scalar(field: string): Buffer {
    const content = this.sized(field, 32);
    return Buffer.concat([Buffer.alloc(32 - content.length), content]);
  }
  oneOf(field: string, length: 1 | 2 | 4, allowed: readonly number[]): number {
    const start = this.offset;
    const value = this.uint(field, length);
    if (!allowed.includes(value)) throw new StructureError(field, start, `unexpected value 0x${value.toString(16)}`);
    return value;
  }
  rest(): Buffer {
    return this.bytes('rest', this.left);
  }
  end(field: string): void {
    if (this.left !== 0) throw new StructureError(field, this.offset, `${this.left} bytes too many`);
  }
}

export function whole<T>(bytes: Buffer, field: string, read: (reader: Reader) => T): T {
  const reader = new Reader(bytes);
  const value = read(reader);
  reader.end(field);
  return value;
}

/** Largest digest, and largest name (algorithm and digest), of any TPM: SHA-512. */
const DIGEST_BYTES_MAX = 64;
const NAME_BYTES_MAX = 66;

function readAttest(reader: Reader): Attest {
  const magic = reader.uint('magic', 4);
  const type = reader.uint('type', 2);
  const qualifiedSigner = reader.sized('qualifiedSigner', NAME_BYTES_MAX);
  const extraData = reader.sized('extraData', DIGEST_BYTES_MAX);
  const clockInfo = {
    clockMs: reader.uint64('clock'),
    resetCount: reader.uint('resetCount', 4),
    restartCount: reader.uint('restartCount', 4),
    isSafe: reader.oneOf('safe', 1, [0, 1]) === 1,
  };
  const firmwareVersion = reader.uint64('firmwareVersion');
  return { magic, type, qualifiedSigner, extraData, clockInfo, firmwareVersion, attested: readAttested(reader, type) };
}

function readAttested(reader: Reader, type: number): Attested {
  switch (type) {
    case TPM_ST_ATTEST_QUOTE:
      return { kind: 'quote', pcrSelection: readPcrSelections(reader), pcrDigest: reader.sized('pcrDigest', DIGEST_BYTES_MAX) };
    case TPM_ST_ATTEST_CERTIFY:
      return { kind: 'certify', name: reader.sized('name', NAME_BYTES_MAX), qualifiedName: reader.sized('qualifiedName', NAME_BYTES_MAX) };
    default:
      return { kind: 'other', body: reader.rest() };
  }
}

/** TPML_PCR_SELECTION. */
function readPcrSelections(reader: Reader): PcrSelection[] {
  const start = reader.offset;
  const count = reader.uint('pcrSelect', 4);
  if (count > 16) throw new StructureError('pcrSelect', start, `${count} banks, at most 16 expected`);
  return Array.from({ length: count }, () => {
    const hashAlgorithm = reader.uint('pcrSelect.hash', 2);
    const bitmap = reader.bytes('pcrSelect.pcrSelect', reader.oneOf('pcrSelect.sizeofSelect', 1, [1, 2, 3, 4]));
    const pcrs = Array.from({ length: bitmap.length * 8 }, (_, pcr) => pcr).filter((pcr) => ((bitmap[pcr >> 3] ?? 0) >> (pcr & 7)) & 1);
    return { hashAlgorithm, pcrs };
  });
}

function readSignature(reader: Reader): EcdsaSignature {
  reader.oneOf('sigAlg', 2, [ALGORITHM.ecdsa]);
  return { hashAlgorithm: reader.oneOf('signature.hash', 2, [ALGORITHM.sha256]), r: reader.scalar('signatureR'), s: reader.scalar('signatureS') };
}

function readEccPublic(reader: Reader): EccPublic {
  reader.oneOf('type', 2, [ALGORITHM.ecc]);
  return {
    nameAlgorithm: reader.uint('nameAlg', 2),
    objectAttributes: reader.uint('objectAttributes', 4),
    authPolicy: reader.sized('authPolicy', DIGEST_BYTES_MAX),
    symmetric: readUnlessNull(reader, 'symmetric', [ALGORITHM.aes], (algorithm) => ({
      algorithm,
      keyBits: reader.uint('symmetric.keyBits', 2),
      mode: reader.uint('symmetric.mode', 2),
    })),
    scheme: readUnlessNull(reader, 'scheme', [ALGORITHM.ecdsa, ALGORITHM.ecdh], (algorithm) => ({ algorithm, hashAlgorithm: reader.uint('scheme.hash', 2) })),
    curve: reader.oneOf('curveID', 2, [CURVE_P256]),
    kdf: readUnlessNull(reader, 'kdf', [], (algorithm) => ({ algorithm, hashAlgorithm: reader.uint('kdf.hash', 2) })),
    x: reader.scalar('unique.x'),
    y: reader.scalar('unique.y'),
  };
}

function readUnlessNull<T>(reader: Reader, field: string, allowed: readonly number[], read: (algorithm: number) => T): T | null {
  const algorithm = reader.oneOf(field, 2, [ALGORITHM.null, ...allowed]);
  return algorithm === ALGORITHM.null ? null : read(algorithm);
}
