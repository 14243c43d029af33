/** EK certificates and their chains, made by openssl; no TPM. test/parts/enrolment.test.ts has those of real software TPMs. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { certificatesIn, verifyEkCertificate } from '../../tpm/ek-certificate.js';
import { EK_EXTENSIONS, type TestCa, createTestCa } from '../support/pki.js';

const p384 = () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey;
const key = p384();
const inDays = (days: number) => new Date(Date.now() + days * 86_400_000);

let folder: string;
let root: TestCa;
let issuing: TestCa;
let certificate: Buffer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'korora-pki-'));
  root = await createTestCa(folder, 'maker root');
  issuing = await root.issueCa('maker issuing');
  certificate = await issuing.issue({ name: 'an EK', key, extensions: EK_EXTENSIONS });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const cas = (...authorities: readonly TestCa[]) => authorities.flatMap((ca) => certificatesIn(ca.certificate));
const verify = (der: Buffer, authorities: readonly TestCa[] = [root, issuing], at = inDays(1)) => verifyEkCertificate({ host: 'host-a', certificate: der, cas: cas(...authorities), at });
/** Code and message of a refusal; "accepted" where there is none. */
const told = (...args: Parameters<typeof verify>): string => {
  try {
    verify(...args);
    return 'accepted';
  } catch (error) {
    return (error as Error).message;
  }
};
const ek = (changes: { readonly from?: TestCa; readonly of?: typeof key; readonly days?: number; readonly extensions?: readonly string[] } = {}) =>
  (changes.from ?? issuing).issue({ name: 'an EK', key: changes.of ?? key, extensions: changes.extensions ?? EK_EXTENSIONS, ...(changes.days ? { days: changes.days } : {}) });

describe('an EK certificate', () => {
  it.each([
    ['ecc384', () => p384()],
    ['ecc', () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey],
    ['rsa', () => generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey],
  ] as const)('for a key of %s gives the EK, and its own and its root’s fingerprint', async (algorithm, make) => {
    const der = await ek({ of: make() });
    const fingerprint = (pem: Buffer) => certificatesIn(pem)[0]?.fingerprint256.replaceAll(':', '').toLowerCase();
    const found = verify(Buffer.concat([der, Buffer.alloc(50, 0xff)])); // as in an NV index that is larger
    expect(found.template.algorithm).toBe(algorithm);
    expect([found.certificateSha256, found.rootSha256]).toEqual([fingerprint(der), fingerprint(root.certificate)]);
  });

  it.each([
    ['another curve', () => ek({ of: generateKeyPairSync('ec', { namedCurve: 'P-521' }).publicKey })],
    ['another size of RSA', () => ek({ of: generateKeyPairSync('rsa', { modulusLength: 3072 }).publicKey })],
    ['another exponent', () => ek({ of: generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }).publicKey })],
    ['another kind of key', () => ek({ of: generateKeyPairSync('ed25519').publicKey })],
  ])('for %s is refused', async (_, make) => {
    expect(told(await make())).toMatch(/^EK_CERTIFICATE_INVALID: .*host-a.*neither RSA 2048/);
  });

  it.each([
    ['without extended key usage', ['basicConstraints=critical,CA:FALSE'], /lacks 2\.23\.133\.8\.1/],
    ['for AKs (tcg-kp-AIKCertificate)', ['basicConstraints=critical,CA:FALSE', 'extendedKeyUsage=2.23.133.8.3'], /lacks 2\.23\.133\.8\.1/],
    ['of a CA', ['basicConstraints=critical,CA:TRUE', 'extendedKeyUsage=2.23.133.8.1'], /it is of a CA/],
  ])('%s is refused', async (_, extensions, problem) => {
    expect(told(await ek({ extensions }))).toMatch(problem);
    expect(told(await ek({ extensions }))).toMatch(/^EK_CERTIFICATE_INVALID/);
  });

  it('that is none is refused', () => {
    expect(told(Buffer.from('no certificate'))).toMatch(/^EK_CERTIFICATE_INVALID/);
    expect(told(certificate.subarray(0, -1))).toMatch(/^EK_CERTIFICATE_INVALID/);
  });
});

describe('a chain', () => {
  it('ends at a given root: not at an intermediate, nor over one that was not given', async () => {
    expect(told(certificate)).toBe('accepted');
    expect(told(await ek({ from: root }), [root])).toBe('accepted');
    for (const given of [[], [root], [issuing]]) expect(told(certificate, given)).toMatch(/^EK_CERTIFICATE_UNTRUSTED: .*host-a, issued by CN=maker issuing/);
  });

  it('is one of signatures, not of names', async () => {
    const impostor = await createTestCa(folder, 'maker root');
    const theirs = await impostor.issueCa('maker issuing');
    expect(told(await ek({ from: theirs }))).toMatch(/^EK_CERTIFICATE_UNTRUSTED/);
    expect(told(certificate, [impostor, theirs])).toMatch(/^EK_CERTIFICATE_UNTRUSTED/);
    expect(told(certificate, [impostor, theirs, root, issuing])).toBe('accepted');
  });

  it('goes over CAs that may sign certificates only', async () => {
    const noCa = await root.issueCa('no CA', { extensions: ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,keyCertSign'] });
    expect(told(await ek({ from: noCa }), [root, noCa])).toMatch(/^EK_CERTIFICATE_UNTRUSTED/);
    const noSigner = await root.issueCa('no signer', { extensions: ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,cRLSign'] });
    expect(told(await ek({ from: noSigner }), [root, noSigner])).toMatch(/^EK_CERTIFICATE_UNTRUSTED/);
  });

  it('is one of names, too: a CA that has another’s key is not that other', async () => {
    const renamed = await root.issueCa('maker renamed', { keyOf: issuing });
    expect(told(certificate, [root, renamed])).toMatch(/^EK_CERTIFICATE_UNTRUSTED/);
    expect(told(await ek({ from: renamed }), [root, renamed])).toBe('accepted');
  });

  it('changed in one bit of its signature is refused', () => {
    const changed = Buffer.from(certificate);
    changed[changed.length - 1] = (changed.at(-1) as number) ^ 1;
    expect(told(changed)).toMatch(/^EK_CERTIFICATE_UNTRUSTED/);
  });

  it('whose certificate is over, or not begun, is refused, whichever it is', async () => {
    const brief = await root.issueCa('brief issuing', { days: 10 });
    const longer = await ek({ from: brief, days: 20 });
    expect(told(longer, [root, brief], inDays(9))).toBe('accepted');
    expect(told(longer, [root, brief], inDays(15))).toMatch(/^EK_CERTIFICATE_EXPIRED: .*that of CN=brief issuing, is good/);
    expect(told(await ek({ days: 10 }), [root, issuing], inDays(15))).toMatch(/^EK_CERTIFICATE_EXPIRED: .*that of CN=an EK, is good/);
    const briefRoot = await createTestCa(folder, 'brief root', { days: 10 });
    expect(told(await ek({ from: briefRoot }), [briefRoot], inDays(15))).toMatch(/^EK_CERTIFICATE_EXPIRED: .*that of CN=brief root, is good/);
    expect(told(certificate, [root, issuing], inDays(-1))).toMatch(/^EK_CERTIFICATE_EXPIRED/);
  });

  it('is looked for further where one is over: a CA may have been certified again', async () => {
    const old = await root.issueCa('renewed', { days: 10 });
    const renewed = await root.issueCa('renewed', { keyOf: old });
    const der = await ek({ from: old });
    expect(told(der, [root, old], inDays(15))).toMatch(/^EK_CERTIFICATE_EXPIRED/);
    expect(told(der, [root, old, renewed], inDays(15))).toBe('accepted');
    expect(told(der, [renewed, old, root], inDays(15))).toBe('accepted');
  });

  it('ends where two CAs certify each other', async () => {
    const one = await root.issueCa('one');
    const two = await one.issueCa('two');
    const oneByTwo = await two.issueCa('one', { keyOf: one });
    expect(told(await ek({ from: one }), [oneByTwo, two, one])).toMatch(/^EK_CERTIFICATE_UNTRUSTED/);
    expect(told(await ek({ from: one }), [oneByTwo, two, one, root])).toBe('accepted');
  });
});

describe('a file of certificates', () => {
  it('holds several in PEM, with words between them, or one in DER', () => {
    const [subject, issuer] = [certificatesIn(issuing.certificate)[0], certificatesIn(root.certificate)[0]];
    expect(certificatesIn(Buffer.concat([Buffer.from('Issuing:\n'), issuing.certificate, Buffer.from('\nRoot:\n'), root.certificate])).map((c) => c.fingerprint256)).toEqual([subject?.fingerprint256, issuer?.fingerprint256]);
    expect(certificatesIn(issuer?.raw as Buffer).map((c) => c.fingerprint256)).toEqual([issuer?.fingerprint256]);
    expect(() => certificatesIn(Buffer.from('no certificate'))).toThrow();
  });
});
