import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { marshalAttest, marshalEccPoint, marshalEccPublic, marshalSignature, nameOf, pcrDigestOf, pcrPolicyDigest, sized } from '../../tpm/marshal.js';
import {
  ALGORITHM, type Attest, CURVE_P256, type EccPublic, type EcdsaSignature, StructureError, TPM_GENERATED_VALUE, TPM_ST_ATTEST_CERTIFY, TPM_ST_ATTEST_QUOTE,
  parseAttest, parseEccPoint, parseEccPublic, parseSignature, parseSizedBuffers, splitAttestation,
} from '../../tpm/structures.js';

const bytes = (minLength: number, maxLength = minLength) => fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array));
const uint32 = fc.integer({ min: 0, max: 0xffffffff });
const uint64 = fc.bigInt({ min: 0n, max: 0xffffffffffffffffn });

const attest: fc.Arbitrary<Attest> = fc
  .oneof(
    fc.record({
      type: fc.constant(TPM_ST_ATTEST_QUOTE),
      attested: fc.record({
        kind: fc.constant('quote' as const),
        pcrSelection: fc.array(
          fc.record({ hashAlgorithm: fc.constantFrom(0x0004, 0x000b, 0x000c), pcrs: fc.uniqueArray(fc.integer({ min: 0, max: 23 })).map((pcrs) => pcrs.sort((a, b) => a - b)) }),
          { maxLength: 4 },
        ),
        pcrDigest: bytes(0, 64),
      }),
    }),
    fc.record({
      type: fc.constant(TPM_ST_ATTEST_CERTIFY),
      attested: fc.record({ kind: fc.constant('certify' as const), name: bytes(0, 66), qualifiedName: bytes(0, 66) }),
    }),
  )
  .chain(({ type, attested }) =>
    fc.record({
      magic: fc.constantFrom(TPM_GENERATED_VALUE, 0),
      type: fc.constant(type),
      qualifiedSigner: bytes(0, 66),
      extraData: bytes(0, 64),
      clockInfo: fc.record({ clockMs: uint64, resetCount: uint32, restartCount: uint32, isSafe: fc.boolean() }),
      firmwareVersion: uint64,
      attested: fc.constant(attested),
    }),
  );

const signature: fc.Arbitrary<EcdsaSignature> = fc.record({ hashAlgorithm: fc.constant(ALGORITHM.sha256), r: bytes(32), s: bytes(32) });

const eccPublic: fc.Arbitrary<EccPublic> = fc.record({
  nameAlgorithm: fc.constant(ALGORITHM.sha256),
  objectAttributes: uint32,
  authPolicy: bytes(0, 64),
  symmetric: fc.option(fc.record({ algorithm: fc.constant(ALGORITHM.aes), keyBits: fc.constantFrom(128, 256), mode: fc.constant(0x43) })),
  scheme: fc.option(fc.record({ algorithm: fc.constantFrom(ALGORITHM.ecdsa, ALGORITHM.ecdh), hashAlgorithm: fc.constant(ALGORITHM.sha256) })),
  curve: fc.constant(CURVE_P256),
  kdf: fc.constant(null),
  x: bytes(32),
  y: bytes(32),
});

const codecs = [
  { name: 'TPMS_ATTEST', values: attest as fc.Arbitrary<unknown>, marshal: (v: unknown) => marshalAttest(v as Attest), parse: parseAttest as (b: Buffer) => unknown },
  { name: 'TPMT_SIGNATURE', values: signature as fc.Arbitrary<unknown>, marshal: (v: unknown) => marshalSignature(v as EcdsaSignature), parse: parseSignature as (b: Buffer) => unknown },
  { name: 'TPMT_PUBLIC', values: eccPublic as fc.Arbitrary<unknown>, marshal: (v: unknown) => marshalEccPublic(v as EccPublic), parse: parseEccPublic as (b: Buffer) => unknown },
];

describe.each(codecs)('$name', ({ values, marshal, parse }) => {
  it('comes back as it went', () => {
    fc.assert(
      fc.property(values, (value) => {
        expect(parse(marshal(value))).toEqual(value);
      }),
    );
  });

  it('is refused when cut off at any byte, or one byte too long', () => {
    fc.assert(
      fc.property(values, (value) => {
        const marshalled = marshal(value);
        for (let length = 0; length < marshalled.length; length++) expect(() => parse(marshalled.subarray(0, length))).toThrow(StructureError);
        expect(() => parse(Buffer.concat([marshalled, Buffer.of(0)]))).toThrow(/1 bytes too many/);
      }),
      { numRuns: 30 },
    );
  });

  it('gives a value or a StructureError for any bytes', () => {
    fc.assert(
      fc.property(values, fc.array(fc.record({ at: fc.nat(400), byte: fc.integer({ min: 0, max: 255 }) }), { minLength: 1, maxLength: 6 }), (value, edits) => {
        const marshalled = marshal(value);
        for (const { at, byte } of edits) marshalled[at % marshalled.length] = byte;
        try {
          parse(marshalled);
        } catch (error) {
          expect(error).toBeInstanceOf(StructureError);
        }
      }),
    );
  });
});

describe('an error', () => {
  it('names field and offset', () => {
    const wrongCurve = marshalEccPublic({ nameAlgorithm: 11, objectAttributes: 0, authPolicy: Buffer.alloc(0), symmetric: null, scheme: null, curve: 4, kdf: null, x: Buffer.alloc(32), y: Buffer.alloc(32) });
    expect(() => parseEccPublic(wrongCurve)).toThrow(expect.objectContaining({ field: 'curveID', offset: 14 }));
  });
});

describe('side by side', () => {
  it('splits signature, attest and PCR values in the order of the tool', () => {
    fc.assert(
      fc.property(attest, signature, (a, s) => {
        const [left, right] = [marshalSignature(s), marshalAttest(a)];
        const tail = Buffer.alloc(64, 7);
        expect(splitAttestation(Buffer.concat([left, right, tail]), 'signature-first', 64)).toEqual({ signature: left, attest: right, tail });
        expect(splitAttestation(Buffer.concat([right, left]), 'attest-first')).toEqual({ signature: left, attest: right, tail: Buffer.alloc(0) });
        expect(() => splitAttestation(Buffer.concat([left, right, tail]), 'signature-first', 32)).toThrow(StructureError);
      }),
    );
  });

  it('pads short coordinates', () => {
    const point = sized(Buffer.concat([sized(Buffer.of(5)), sized(Buffer.alloc(32, 1))]));
    expect(parseEccPoint(point).x).toEqual(Buffer.concat([Buffer.alloc(31), Buffer.of(5)]));
    expect(parseEccPoint(marshalEccPoint(parseEccPoint(point)))).toEqual(parseEccPoint(point));
    expect(parseSizedBuffers(Buffer.concat([sized(Buffer.of(1)), sized(Buffer.of(2))]), 2)).toEqual([Buffer.of(1), Buffer.of(2)]);
  });
});

/** Values that swtpm 0.7.1 and tpm2-tools 5.4 computed. */
describe('known answers', () => {
  const zero = '00'.repeat(32);
  const pcrValues = { '0': zero, '7': zero, '11': zero };

  it('PCR digest (tpm2_quote, calcDigest)', () => {
    expect(pcrDigestOf([11, 0, 7], pcrValues)).toBe('2ea9ab9198d1638007400cd2c3bef1cc745b864b76011a0e1bc52180ac6452d4');
  });
  it('PolicyPCR digest (tpm2_createpolicy --policy-pcr)', () => {
    expect(pcrPolicyDigest([7, 11, 0], pcrValues)).toBe('b1c154ba375893f1faed015fb71978167e3e7f43e6425ba6c65d2e783d2eebac');
  });
  it('PCR values count in ascending order, once each', () => {
    const [zeroth, ninth] = ['01'.repeat(32), '02'.repeat(32)];
    const expected = createHash('sha256').update(zeroth + ninth, 'hex').digest('hex');
    for (const pcrs of [[0, 9], [9, 0], [9, 0, 9]]) expect(pcrDigestOf(pcrs, { '0': zeroth, '9': ninth })).toBe(expected);
  });
  it('name of an AK (tpm2_createak)', () => {
    const publicArea = Buffer.from(
      '0023000b00050072000000100018000b00030010002062106f005bf3eec94074ab90ccdbf570d799cf3da08e294fc9fd12d3d494ca2e0020398b1fd276210b74dfd8822c0bbca86b86d58442a1316103b7c3aa71acce95f2',
      'hex',
    );
    expect(nameOf(publicArea)).toBe('000bac008d017a00dbf2780a2779f97ebeeae5eed0d5aa81651df3e9bc16933e9245');
  });
  it('a missing PCR value is refused', () => {
    expect(() => pcrDigestOf([0, 1], { '0': zero })).toThrow(RangeError);
  });
});
