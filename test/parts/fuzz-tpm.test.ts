/** Whatever bytes come as a TPM structure, an EK certificate or the content of an NV index: a value, or a refusal of the kind that is said for them. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KororaError } from '../../domain/failures.js';
import { certificatesIn, readEkCertificate, verifyEkCertificate } from '../../tpm/ek-certificate.js';
import { createEvidenceVerifier } from '../../tpm/evidence-verifier.js';
import { marshalAttest, marshalEccPoint, sized } from '../../tpm/marshal.js';
import { createNvCounter, createNvMemory } from '../../tpm/nv.js';
import { StructureError, parseAttest, parseEccPoint, parseEccPublic, parseSignature, parseSizedBuffers, splitAttestation } from '../../tpm/structures.js';
import type { TpmTools } from '../../tpm/tools.js';
import { checkAttestationKey, checkWrappingKey, verifyQuoteOver, verifySignature } from '../../tpm/verify.js';
import { ephemeralPointOf } from '../../tpm/wrap.js';
import { hostClassOf } from '../support/documents.js';
import { anyBytes, byteEdits, editBytes } from '../support/mutations.js';
import { EK_EXTENSIONS, type TestCa, createTestCa } from '../support/pki.js';
import { certifiedBy, makeSoftwareKey, quoteBy, wrappingKeyUnder } from '../../infra/testbed/software-ak.js';

const PCRS = [0, 4, 7];
const VALUES = hostClassOf().referenceSets[0]?.pcrValues ?? {};
const ak = makeSoftwareKey();
const attest = quoteBy(ak, { extraData: Buffer.alloc(32, 7), pcrs: PCRS, pcrDigest: Buffer.alloc(32, 9) });
const signed = ak.sign(attest);
const [attestBytes, signatureBytes, publicBytes] = [signed.attest, signed.signature, ak.publicArea].map((text) => Buffer.from(text, 'base64')) as [Buffer, Buffer, Buffer];
const point = { x: Buffer.alloc(32, 1), y: Buffer.alloc(32, 2) };

/** Undefined where it is refused as `kind`; any other error is thrown. */
function orRefused<T>(work: () => T, isRefusal: (error: unknown) => boolean = (error) => error instanceof StructureError): T | undefined {
  try {
    return work();
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}
const hasCode = (...codes: readonly string[]) => (error: unknown) => error instanceof KororaError && codes.includes(error.code);

describe.each<[string, Buffer, (bytes: Buffer) => unknown]>([
  ['TPMS_ATTEST', attestBytes, parseAttest],
  ['TPMT_SIGNATURE', signatureBytes, parseSignature],
  ['TPMT_PUBLIC', publicBytes, parseEccPublic],
  ['TPM2B_ECC_POINT', marshalEccPoint(point), parseEccPoint],
  ['two TPM2B', Buffer.concat([sized(Buffer.of(1)), sized(Buffer.of(2, 3))]), (bytes) => parseSizedBuffers(bytes, 2)],
  ['what tpm2_quote writes', Buffer.concat([signatureBytes, attestBytes, Buffer.alloc(96)]), (bytes) => splitAttestation(bytes, 'signature-first', 96)],
  ['what tpm2_certify writes', Buffer.concat([attestBytes, signatureBytes]), (bytes) => splitAttestation(bytes, 'attest-first')],
])('%s', (_, valid, parse) => {
  it('is a value or a StructureError, whatever the bytes', () => {
    expect(orRefused(() => parse(valid))).toBeDefined();
    fc.assert(fc.property(byteEdits, (edits) => void orRefused(() => parse(editBytes(valid, edits)))), { numRuns: 400 });
    fc.assert(fc.property(anyBytes(200), (bytes) => void orRefused(() => parse(bytes))), { numRuns: 200 });
  });
});

it('an attestation that is read is written as the same bytes', () => {
  fc.assert(
    fc.property(byteEdits, (edits) => {
      const changed = editBytes(attestBytes, edits);
      const read = orRefused(() => parseAttest(changed));
      // A bitmap of another size than 24 PCRs has a form that is read and never written.
      if (read && !(read.attested.kind === 'quote' && read.attested.pcrSelection.some(({ pcrs }) => pcrs.some((pcr) => pcr > 23)))) {
        const written = marshalAttest(read);
        expect(written.equals(changed) || written.length !== changed.length).toBe(true);
      }
    }),
    { numRuns: 400 },
  );
});

describe('a changed statement of a TPM', () => {
  const changedText = (text: string) => byteEdits.map((edits) => editBytes(Buffer.from(text, 'base64'), edits).toString('base64'));
  const text = (original: string) => fc.oneof({ weight: 4, arbitrary: changedText(original) }, { weight: 1, arbitrary: fc.string({ maxLength: 30 }) });
  const qualifyingData = attest.extraData;

  it('is never taken for what the AK signed, and never throws', () => {
    expect(verifyQuoteOver({ ak, signed, qualifyingData }).ok).toBe(true);
    fc.assert(
      fc.property(text(signed.attest), text(signed.signature), fc.nat(2), (attestText, signatureText, which) => {
        const changed = { attest: which === 1 ? signed.attest : attestText, signature: which === 0 ? signed.signature : signatureText };
        if (changed.attest === signed.attest && changed.signature === signed.signature) return;
        expect(verifySignature(ak, changed)).toBe(false);
        expect(verifyQuoteOver({ ak, signed: changed, qualifyingData }).ok).toBe(false);
        orRefused(() => createEvidenceVerifier().parseQuote(changed, 'host-b'), hasCode('EVIDENCE_MALFORMED'));
      }),
      { numRuns: 200 },
    );
  });

  it('about a key has a problem', () => {
    const evidence = certifiedBy(ak, wrappingKeyUnder(PCRS, VALUES));
    const problem = (changes: object) => checkWrappingKey({ ak, evidence: { ...evidence, ...changes }, pcrs: PCRS, pcrValues: VALUES });
    expect([problem({}), checkAttestationKey(ak)]).toEqual([null, null]);
    fc.assert(
      fc.property(text(evidence.publicArea), text(ak.publicArea), (wrapping, area) => {
        if (wrapping !== evidence.publicArea) expect(problem({ publicArea: wrapping })).toEqual(expect.any(String));
        if (area !== ak.publicArea) expect(checkAttestationKey({ ...ak, publicArea: area })).toEqual(expect.any(String));
        ephemeralPointOf({ ephemeralPoint: area, iv: '', ciphertext: '', tag: '' });
      }),
      { numRuns: 200 },
    );
  });
});

describe('an EK certificate', () => {
  let folder: string;
  let ca: TestCa;
  let certificates: readonly Buffer[];
  const keys = [generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey, generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'korora-fuzz-'));
    ca = await createTestCa(folder, 'maker');
    certificates = await Promise.all(keys.map((key) => ca.issue({ name: 'an EK', key, extensions: EK_EXTENSIONS })));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const REFUSALS = hasCode('EK_CERTIFICATE_INVALID', 'EK_CERTIFICATE_UNTRUSTED', 'EK_CERTIFICATE_EXPIRED');

  it('that is changed is refused, unless it is the same EK of the same CA', () => {
    const cas = certificatesIn(ca.certificate);
    const verify = (certificate: Buffer) => orRefused(() => verifyEkCertificate({ host: 'host-a', certificate, cas, at: new Date() }), REFUSALS);
    for (const certificate of certificates) {
      const genuine = verify(certificate);
      expect(genuine).toBeDefined();
      fc.assert(
        fc.property(byteEdits, (edits) => {
          const found = verify(editBytes(certificate, edits));
          if (found) expect(found.publicArea).toEqual(genuine?.publicArea);
        }),
        { numRuns: 300 },
      );
    }
  });

  it('is refused where it is any bytes', () => {
    fc.assert(fc.property(anyBytes(300), (bytes) => orRefused(() => readEkCertificate(bytes, 'host-a'), hasCode('EK_CERTIFICATE_INVALID')) === undefined), { numRuns: 200 });
  });

  /** Of makers whose certificates name the TPM in subjectAltName alone, as the EK Credential Profile allows. */
  it('without a subject that is over is refused as one that is over', async () => {
    const certificate = await ca.issue({ name: '', key: keys[0] as (typeof keys)[number], extensions: EK_EXTENSIONS, days: 2 });
    const at = new Date(Date.now() + 10 * 86_400_000);
    expect(() => verifyEkCertificate({ host: 'host-a', certificate, cas: certificatesIn(ca.certificate), at })).toThrow(/^EK_CERTIFICATE_EXPIRED: .*that of a certificate without a name, is good/);
  });
});

describe('an NV index of Kororā', () => {
  const holding = (stdout: Buffer): TpmTools => ({ exclusive: (work: () => unknown) => work(), attempt: () => Promise.resolve({ ok: true, stdout }) }) as unknown as TpmTools;
  const orFailed = <T>(reading: Promise<T>): Promise<T | undefined> =>
    reading.catch((error: unknown) => {
      if (hasCode('TPM_COMMAND_FAILED')(error)) return undefined;
      throw error;
    });

  it('that holds any bytes is read as what it is to hold, or refused', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(anyBytes(64), fc.constantFrom(8, 40).chain((length) => fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => Buffer.from(bytes)))), async (content) => {
        const counter = await orFailed(createNvCounter(holding(content), 'host-a').read());
        if (counter !== undefined) expect(Number.isSafeInteger(counter) && content.length === 8).toBe(true);
        const memory = await orFailed(createNvMemory(holding(content), 'host-a').read());
        if (memory !== undefined) expect(memory?.length).toBe(40);
      }),
      { numRuns: 200 },
    );
  });
});
