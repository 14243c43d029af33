/**
 * The checks against evidence forged with a software AK, which may sign anything: every attribute,
 * the policy, magic, type and names one by one. Evidence of a real TPM is in tpm-host.test.ts.
 */
import { type KeyObject, createHash, generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { AttestationKeyPublic, PcrValues, SignedAttestation, WrappingKeyEvidence } from '../../domain/attestation.js';
import { marshalAttest, marshalEccPublic, marshalSignature, nameOf, pcrPolicyDigest } from '../../tpm/marshal.js';
import {
  ALGORITHM, type Attest, CURVE_P256, type EccPublic, OBJECT_ATTRIBUTE, type ObjectAttribute, StructureError, TPM_GENERATED_VALUE, TPM_ST_ATTEST_CERTIFY, TPM_ST_ATTEST_QUOTE,
} from '../../tpm/structures.js';
import { certificationCounters, checkAttestationKey, checkWrappingKey, keyObjectOf, parseAttestation, parseQuote, verifyQuoteOver, verifySignature } from '../../tpm/verify.js';

const attributes = (...names: ObjectAttribute[]) => names.reduce((mask, name) => mask | OBJECT_ATTRIBUTE[name], 0);
const AK_ATTRIBUTES = attributes('fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'userWithAuth', 'restricted', 'sign');
const WRAPPING_ATTRIBUTES = attributes('fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'decrypt');
const pcrs = [0, 7];
const pcrValues: PcrValues = { '0': '11'.repeat(32), '7': '22'.repeat(32) };
const qualifyingData = createHash('sha256').update('binding').digest();

function makeKey(changes: Partial<EccPublic> = {}) {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x = '', y = '' } = pair.publicKey.export({ format: 'jwk' });
  const publicArea = marshalEccPublic({
    nameAlgorithm: ALGORITHM.sha256, objectAttributes: AK_ATTRIBUTES, authPolicy: Buffer.alloc(0), symmetric: null,
    scheme: { algorithm: ALGORITHM.ecdsa, hashAlgorithm: ALGORITHM.sha256 }, curve: CURVE_P256, kdf: null,
    x: Buffer.from(x, 'base64url'), y: Buffer.from(y, 'base64url'), ...changes,
  });
  return { privateKey: pair.privateKey, publicArea: publicArea.toString('base64'), name: nameOfLoosely(publicArea) };
}

function nameOfLoosely(publicArea: Buffer): string {
  return `000b${createHash('sha256').update(publicArea).digest('hex')}`;
}

const akPair = makeKey();
const ak: AttestationKeyPublic = { publicArea: akPair.publicArea, name: akPair.name };

const quoteFacts: Attest = {
  magic: TPM_GENERATED_VALUE,
  type: TPM_ST_ATTEST_QUOTE,
  qualifiedSigner: Buffer.alloc(34),
  extraData: qualifyingData,
  clockInfo: { clockMs: 12_345n, resetCount: 3, restartCount: 1, isSafe: true },
  firmwareVersion: 0x2019102300163636n,
  attested: { kind: 'quote', pcrSelection: [{ hashAlgorithm: ALGORITHM.sha256, pcrs }], pcrDigest: Buffer.alloc(32, 9) },
};

function signedBy(privateKey: KeyObject, attest: Attest): SignedAttestation {
  const bytes = marshalAttest(attest);
  const raw = sign('sha256', bytes, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  const signature = marshalSignature({ hashAlgorithm: ALGORITHM.sha256, r: raw.subarray(0, 32), s: raw.subarray(32) });
  return { attest: bytes.toString('base64'), signature: signature.toString('base64') };
}

const wrappingPublic: Partial<EccPublic> = {
  objectAttributes: WRAPPING_ATTRIBUTES,
  authPolicy: Buffer.from(pcrPolicyDigest(pcrs, pcrValues), 'hex'),
  scheme: { algorithm: ALGORITHM.ecdh, hashAlgorithm: ALGORITHM.sha256 },
};

function wrappingKey(changes: Partial<EccPublic> = {}, facts: Partial<Attest> = {}, signer = akPair): WrappingKeyEvidence {
  const key = makeKey({ ...wrappingPublic, ...changes });
  const attested = { kind: 'certify' as const, name: Buffer.from(key.name, 'hex'), qualifiedName: Buffer.alloc(34) };
  return { publicArea: key.publicArea, name: key.name, certification: signedBy(signer.privateKey, { ...quoteFacts, type: TPM_ST_ATTEST_CERTIFY, attested, ...facts }) };
}

const problemOf = (evidence: WrappingKeyEvidence, changes: Partial<Parameters<typeof checkWrappingKey>[0]> = {}) => checkWrappingKey({ ak, evidence, pcrs, pcrValues, ...changes });

describe('parseQuote', () => {
  it('gives the facts in plain words', () => {
    expect(parseQuote(signedBy(akPair.privateKey, quoteFacts))).toEqual({
      magic: 'ff544347', type: '8018', extraData: qualifyingData.toString('hex'), clock: '12345', resetCount: 3, restartCount: 1, isClockSafe: true,
      firmwareVersion: '2019102300163636', pcrSelection: [{ hashAlgorithm: 'sha256', pcrs }], pcrDigest: '09'.repeat(32),
    });
  });
  it('shows another bank and another type as they are', () => {
    const sha384 = { ...quoteFacts, attested: { kind: 'quote' as const, pcrSelection: [{ hashAlgorithm: 0x000c, pcrs: [1] }], pcrDigest: Buffer.alloc(32) } };
    expect(parseQuote(signedBy(akPair.privateKey, sha384)).pcrSelection).toEqual([{ hashAlgorithm: '000c', pcrs: [1] }]);
    expect(parseQuote(wrappingKey().certification)).toMatchObject({ type: '8017', pcrSelection: [], pcrDigest: '' });
  });
  it('refuses text that is not the one base64 of its bytes', () => {
    const signed = signedBy(akPair.privateKey, quoteFacts);
    expect(() => parseAttestation({ ...signed, attest: `${signed.attest}!` })).toThrow(StructureError);
    expect(() => parseAttestation({ ...signed, signature: '' })).toThrow(StructureError);
  });
});

describe('the AK', () => {
  const asAk = (changes: Partial<EccPublic>) => {
    const { publicArea, name } = makeKey(changes);
    return { publicArea, name };
  };

  it('is sound', () => expect(checkAttestationKey(ak)).toBeNull());

  const free: readonly ObjectAttribute[] = ['userWithAuth', 'adminWithPolicy', 'noDA'];
  it.each(Array.from({ length: 32 }, (_, bit) => bit))('attribute bit %i the other way round', (bit) => {
    const problem = checkAttestationKey(asAk({ objectAttributes: (AK_ATTRIBUTES ^ (1 << bit)) >>> 0 }));
    if (free.some((name) => OBJECT_ATTRIBUTE[name] === 1 << bit)) expect(problem).toBeNull();
    else expect(problem).toMatch(/^it (lacks|has) /);
  });

  it('is refused with another scheme, name or a point off the curve', () => {
    expect(checkAttestationKey(asAk({ scheme: { algorithm: ALGORITHM.ecdh, hashAlgorithm: ALGORITHM.sha256 } }))).toMatch(/scheme/);
    expect(checkAttestationKey(asAk({ scheme: { algorithm: ALGORITHM.ecdsa, hashAlgorithm: 0x0004 } }))).toMatch(/scheme/);
    expect(checkAttestationKey(asAk({ scheme: null }))).toMatch(/scheme/);
    expect(checkAttestationKey({ ...ak, name: makeKey().name })).toMatch(/name/);
    expect(checkAttestationKey(asAk({ x: Buffer.alloc(32, 1) }))).toMatch(/not a point/);
    expect(checkAttestationKey(asAk({ nameAlgorithm: 0x0004 }))).toMatch(/nameAlg/);
    expect(() => keyObjectOf(asAk({ x: Buffer.alloc(32, 1) }).publicArea)).toThrow(StructureError);
    expect(nameOf(Buffer.from(ak.publicArea, 'base64'))).toBe(ak.name);
  });

  it('unsound, verifies no signature, not even its own', () => {
    const unrestricted = makeKey({ objectAttributes: AK_ATTRIBUTES & ~OBJECT_ATTRIBUTE.restricted });
    const signed = signedBy(unrestricted.privateKey, quoteFacts);
    expect(verifySignature(unrestricted, signed)).toBe(false);
    expect(verifySignature({ ...ak, name: unrestricted.name }, signedBy(akPair.privateKey, quoteFacts))).toBe(false);
    expect(verifySignature(ak, signedBy(akPair.privateKey, quoteFacts))).toBe(true);
  });
});

describe('verifyQuoteOver', () => {
  const check = (attest: Partial<Attest>, signer = akPair) => verifyQuoteOver({ ak, signed: signedBy(signer.privateKey, { ...quoteFacts, ...attest }), qualifyingData });

  it('accepts a quote over this data', () => expect(check({})).toMatchObject({ ok: true, quote: { resetCount: 3 } }));
  it('refuses the rest, and says why', () => {
    expect(check({}, makeKey())).toEqual({ ok: false, problem: 'the AK did not sign it' });
    expect(check({ magic: 0xff544348 })).toMatchObject({ ok: false, problem: expect.stringMatching(/magic is ff544348/) });
    expect(check({ type: TPM_ST_ATTEST_CERTIFY, attested: { kind: 'certify', name: Buffer.alloc(34), qualifiedName: Buffer.alloc(34) } })).toMatchObject({ ok: false, problem: expect.stringMatching(/type is 8017/) });
    expect(check({ extraData: Buffer.alloc(32) })).toMatchObject({ ok: false, problem: expect.stringMatching(/something else/) });
    expect(verifyQuoteOver({ ak, signed: { attest: 'AAAA', signature: 'AAAA' }, qualifyingData })).toMatchObject({ ok: false, problem: expect.stringMatching(/sigAlg/) });
  });
});

describe('checkWrappingKey', () => {
  it('accepts a certified key under these PCRs', () => {
    expect(problemOf(wrappingKey())).toBeNull();
    expect(certificationCounters(wrappingKey().certification)).toEqual({ resetCount: 3, restartCount: 1 });
  });

  it.each(Array.from({ length: 32 }, (_, bit) => bit))('attribute bit %i the other way round', (bit) => {
    const problem = problemOf(wrappingKey({ objectAttributes: (WRAPPING_ATTRIBUTES ^ (1 << bit)) >>> 0 }));
    if (OBJECT_ATTRIBUTE.noDA === 1 << bit) expect(problem).toBeNull();
    else expect(problem).toMatch(/^it (lacks|has) /);
  });

  it('refuses another policy', () => {
    const policy = (...args: Parameters<typeof pcrPolicyDigest>) => ({ authPolicy: Buffer.from(pcrPolicyDigest(...args), 'hex') });
    expect(problemOf(wrappingKey({ authPolicy: Buffer.alloc(0) }))).toMatch(/policy/);
    expect(problemOf(wrappingKey(policy([0], pcrValues)))).toMatch(/policy/);
    expect(problemOf(wrappingKey(policy([0, 7, 8], { ...pcrValues, '8': '00'.repeat(32) })))).toMatch(/policy/);
    expect(problemOf(wrappingKey(policy(pcrs, { ...pcrValues, '7': '23'.repeat(32) })))).toMatch(/policy/);
    expect(problemOf(wrappingKey(), { pcrs: [] })).toMatch(/no PCR/);
    expect(problemOf(wrappingKey(), { pcrs: [0, 7, 9] })).toMatch(/PCR 9 has no value/);
  });

  it('refuses another scheme and names that do not fit', () => {
    expect(problemOf(wrappingKey({ scheme: null }))).toMatch(/scheme/);
    expect(problemOf({ ...wrappingKey(), name: ak.name })).toMatch(/its name/);
    expect(problemOf({ ...wrappingKey(), certification: wrappingKey().certification })).toMatch(/another key/);
    const { publicArea, name } = wrappingKey();
    expect(problemOf({ ...wrappingKey(), publicArea, name })).toMatch(/another key/);
  });

  it('refuses a certification that is none', () => {
    expect(problemOf(wrappingKey({}, {}, makeKey()))).toMatch(/did not sign/);
    expect(problemOf(wrappingKey({}, { magic: 0 }))).toMatch(/magic/);
    expect(problemOf(wrappingKey({}, { type: TPM_ST_ATTEST_QUOTE, attested: quoteFacts.attested }))).toMatch(/not a certification/);
    expect(problemOf(wrappingKey(), { ak: { ...ak, name: makeKey().name } })).toMatch(/name/);
    expect(problemOf({ ...wrappingKey(), publicArea: 'AAAA' })).toMatch(/at byte/);
  });
});
