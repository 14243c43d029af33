/**
 * The checks against evidence forged with a software AK, which may sign anything: every attribute,
 * the policy, magic, type and names one by one. Evidence of a real TPM is in tpm-host.test.ts.
 */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { PcrValues, WrappingKeyEvidence } from '../../domain/attestation.js';
import { endorsementNameOf, nameOf, pcrPolicyDigest } from '../../tpm/marshal.js';
import {
  ALGORITHM, type Attest, type EccPublic, OBJECT_ATTRIBUTE, type ObjectAttribute, StructureError, TPM_ST_ATTEST_CERTIFY, TPM_ST_ATTEST_QUOTE,
} from '../../tpm/structures.js';
import { certificationCounters, checkAttestationKey, checkWrappingKey, keyObjectOf, parseAttestation, parseQuote, verifyQuoteOver, verifySignature } from '../../tpm/verify.js';
import { AK_ATTRIBUTES, WRAPPING_ATTRIBUTES, certifiedBy, makeSoftwareKey, quoteBy, wrappingKeyUnder } from '../../infra/testbed/software-ak.js';

const pcrs = [0, 7];
const pcrValues: PcrValues = { '0': '11'.repeat(32), '7': '22'.repeat(32) };
const qualifyingData = createHash('sha256').update('binding').digest();

const ak = makeSoftwareKey();
const quoteFacts = quoteBy(ak, { extraData: qualifyingData, pcrs, pcrDigest: Buffer.alloc(32, 9) });

function wrappingKey(changes: Partial<EccPublic> = {}, facts: Partial<Attest> = {}, signer = ak): WrappingKeyEvidence {
  return certifiedBy(signer, wrappingKeyUnder(pcrs, pcrValues, changes), facts);
}

const problemOf = (evidence: WrappingKeyEvidence, changes: Partial<Parameters<typeof checkWrappingKey>[0]> = {}) => checkWrappingKey({ ak, evidence, pcrs, pcrValues, ...changes });

describe('parseQuote', () => {
  it('gives the facts in plain words', () => {
    expect(parseQuote(ak.sign(quoteFacts))).toEqual({
      magic: 'ff544347', type: '8018', qualifiedSigner: endorsementNameOf(ak.name), extraData: qualifyingData.toString('hex'), clock: '12345', resetCount: 3, restartCount: 1, isClockSafe: true,
      firmwareVersion: '2019102300163636', pcrSelection: [{ hashAlgorithm: 'sha256', pcrs }], pcrDigest: '09'.repeat(32),
    });
  });
  it('shows another bank and another type as they are', () => {
    const sha384 = { ...quoteFacts, attested: { kind: 'quote' as const, pcrSelection: [{ hashAlgorithm: 0x000c, pcrs: [1] }], pcrDigest: Buffer.alloc(32) } };
    expect(parseQuote(ak.sign(sha384)).pcrSelection).toEqual([{ hashAlgorithm: '000c', pcrs: [1] }]);
    expect(parseQuote(wrappingKey().certification)).toMatchObject({ type: '8017', pcrSelection: [], pcrDigest: '' });
  });
  it('refuses text that is not the one base64 of its bytes', () => {
    const signed = ak.sign(quoteFacts);
    expect(() => parseAttestation({ ...signed, attest: `${signed.attest}!` })).toThrow(StructureError);
    expect(() => parseAttestation({ ...signed, signature: '' })).toThrow(StructureError);
  });
});

describe('the AK', () => {
  const asAk = (changes: Partial<EccPublic>) => {
    const { publicArea, name } = makeSoftwareKey(changes);
    return { publicArea, name };
  };

  it('is sound', () => expect(checkAttestationKey(ak)).toBeNull());

  const free: readonly ObjectAttribute[] = ['userWithAuth', 'adminWithPolicy', 'noDA'];
  it.each(Array.from({ length: 32 }, (_, bit) => bit))('attribute bit %i the other way round', (bit) => {
    const problem = checkAttestationKey(asAk({ objectAttributes: (AK_ATTRIBUTES ^ (1 << bit)) >>> 0 }));
    const [name] = (Object.keys(OBJECT_ATTRIBUTE) as ObjectAttribute[]).filter((one) => OBJECT_ATTRIBUTE[one] === 1 << bit);
    if (name && free.includes(name)) expect(problem).toBeNull();
    else expect(problem).toBe(`it ${AK_ATTRIBUTES & (1 << bit) ? 'lacks' : 'has'} ${name ?? `reserved attributes 0x${((1 << bit) >>> 0).toString(16)}`}`);
  });

  it('names all attributes that it lacks, or has too many', () => {
    expect(checkAttestationKey(asAk({ objectAttributes: 0 }))).toBe('it lacks fixedTPM, fixedParent, sensitiveDataOrigin, restricted, sign');
    const more = OBJECT_ATTRIBUTE.decrypt | OBJECT_ATTRIBUTE.encryptedDuplication;
    expect(checkAttestationKey(asAk({ objectAttributes: AK_ATTRIBUTES | more }))).toMatch(/^it has (?:decrypt, encryptedDuplication|encryptedDuplication, decrypt)$/);
  });

  it('is no key of a parent, and signs nothing that is no signature', () => {
    expect(checkAttestationKey(asAk({ symmetric: { algorithm: ALGORITHM.aes, keyBits: 128, mode: 0x43 } }))).toBe('its scheme is not ECDSA with SHA-256');
    const signed = ak.sign(quoteFacts);
    for (const signature of ['', 'AAAA', '!', signed.attest]) expect(verifySignature(ak, { ...signed, signature })).toBe(false);
    expect(verifySignature(ak, { ...signed, attest: '!' })).toBe(false);
    expect(() => parseAttestation({ ...signed, signature: '!' })).toThrow('signature at byte 0: not canonical base64');
    expect(() => parseAttestation({ ...signed, attest: '!' })).toThrow('attest at byte 0: not canonical base64');
    expect(() => keyObjectOf('!')).toThrow(/^public area at byte 0: not canonical base64$/);
    expect(checkAttestationKey({ ...ak, publicArea: '!' })).toBe('AK public area at byte 0: not canonical base64');
  });

  it('is refused with another scheme, name or a point off the curve', () => {
    expect(checkAttestationKey(asAk({ scheme: { algorithm: ALGORITHM.ecdh, hashAlgorithm: ALGORITHM.sha256 } }))).toMatch(/scheme/);
    expect(checkAttestationKey(asAk({ scheme: { algorithm: ALGORITHM.ecdsa, hashAlgorithm: 0x0004 } }))).toMatch(/scheme/);
    expect(checkAttestationKey(asAk({ scheme: null }))).toMatch(/scheme/);
    expect(checkAttestationKey({ ...ak, name: makeSoftwareKey().name })).toMatch(/name/);
    expect(checkAttestationKey(asAk({ x: Buffer.alloc(32, 1) }))).toBe('unique at byte 0: not a point of P-256');
    expect(checkAttestationKey(asAk({ nameAlgorithm: 0x0004 }))).toMatch(/nameAlg/);
    expect(() => keyObjectOf(asAk({ x: Buffer.alloc(32, 1) }).publicArea)).toThrow(StructureError);
    expect(nameOf(Buffer.from(ak.publicArea, 'base64'))).toBe(ak.name);
  });

  it('unsound, verifies no signature, not even its own', () => {
    const unrestricted = makeSoftwareKey({ objectAttributes: AK_ATTRIBUTES & ~OBJECT_ATTRIBUTE.restricted });
    const signed = unrestricted.sign(quoteFacts);
    expect(verifySignature(unrestricted, signed)).toBe(false);
    expect(verifySignature({ ...ak, name: unrestricted.name }, ak.sign(quoteFacts))).toBe(false);
    expect(verifySignature(ak, ak.sign(quoteFacts))).toBe(true);
  });
});

describe('verifyQuoteOver', () => {
  const check = (attest: Partial<Attest>, signer = ak) => verifyQuoteOver({ ak, signed: signer.sign({ ...quoteFacts, ...attest }), qualifyingData });

  it('accepts a quote over this data', () => expect(check({})).toMatchObject({ ok: true, quote: { resetCount: 3 } }));
  it('refuses the rest, and says why', () => {
    expect(check({}, makeSoftwareKey())).toEqual({ ok: false, problem: 'the AK did not sign it' });
    expect(check({ magic: 0xff544348 })).toMatchObject({ ok: false, problem: expect.stringMatching(/magic is ff544348/) });
    expect(check({ type: TPM_ST_ATTEST_CERTIFY, attested: { kind: 'certify', name: Buffer.alloc(34), qualifiedName: Buffer.alloc(34) } })).toMatchObject({ ok: false, problem: expect.stringMatching(/type is 8017/) });
    expect(check({ qualifiedSigner: Buffer.alloc(34) })).toMatchObject({ ok: false, problem: expect.stringMatching(/another signer/) });
    expect(check({ extraData: Buffer.alloc(32) })).toMatchObject({ ok: false, problem: expect.stringMatching(/something else/) });
    expect(verifyQuoteOver({ ak, signed: { attest: 'AAAA', signature: 'AAAA' }, qualifyingData })).toMatchObject({ ok: false, problem: expect.stringMatching(/sigAlg/) });
  });
});

describe('checkWrappingKey', () => {
  it('accepts a certified key under these PCRs', () => {
    expect(problemOf(wrappingKey())).toBeNull();
    expect(certificationCounters(wrappingKey().certification)).toEqual({ clock: '12345', resetCount: 3, restartCount: 1 });
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
    expect(problemOf(wrappingKey({}, {}, makeSoftwareKey()))).toMatch(/did not sign/);
    expect(problemOf(wrappingKey({}, { magic: 0 }))).toMatch(/magic/);
    expect(problemOf(wrappingKey({}, { qualifiedSigner: Buffer.alloc(34) }))).toMatch(/another signer/);
    expect(problemOf(wrappingKey({}, { type: TPM_ST_ATTEST_QUOTE, attested: quoteFacts.attested }))).toMatch(/not a certification/);
    expect(problemOf(wrappingKey(), { ak: { ...ak, name: makeSoftwareKey().name } })).toMatch(/name/);
    expect(problemOf({ ...wrappingKey(), publicArea: 'AAAA' })).toMatch(/at byte/);
    expect(problemOf({ ...wrappingKey(), publicArea: '!' })).toBe('public area at byte 0: not canonical base64');
  });
});
