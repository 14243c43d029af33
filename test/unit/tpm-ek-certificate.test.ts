/** tpm/ek-certificate.ts to the letter, over certificates made in memory; test/parts has those of openssl and of software TPMs. */
import { type KeyObject, type X509Certificate, createHash, generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { certificatesIn, readEkCertificate, verifyEkCertificate } from '../../tpm/ek-certificate.js';
import { CRL_SIGN, type CertificateSpec, KEY_CERT_SIGN, type Name, certificateOf, unknownKey } from '../support/certificates.js';

const keys = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
const [ROOT, ISSUING, EK] = [keys(), keys(), keys()];
const named = (name: string): Name => [['CN', name]];
const at = (date: string) => new Date(`${date}.000Z`);
const [FROM, TO] = [at('2026-01-01T00:00:00'), at('2027-01-01T00:00:00')];
const IN_TIME = at('2026-06-01T00:00:00');

const made = (spec: Partial<CertificateSpec> & Pick<CertificateSpec, 'subject' | 'issuer' | 'key' | 'signedBy'>) => certificateOf({ from: FROM, to: TO, isCa: true, keyUsage: KEY_CERT_SIGN, ...spec });
const root = (changes: Partial<CertificateSpec> = {}) => made({ subject: named('root'), issuer: named('root'), key: ROOT.publicKey, signedBy: ROOT.privateKey, ...changes });
const issuing = (changes: Partial<CertificateSpec> = {}) => made({ subject: named('issuing'), issuer: named('root'), key: ISSUING.publicKey, signedBy: ROOT.privateKey, ...changes });
const ofEk = (changes: Partial<CertificateSpec> = {}) =>
  certificateOf({ subject: named('an EK'), issuer: named('issuing'), key: EK.publicKey, signedBy: ISSUING.privateKey, from: FROM, to: TO, isCa: false, extendedKeyUsage: ['2.23.133.8.1'], ...changes });

const GIVEN = root();
const verify = (certificate: X509Certificate, cas: readonly X509Certificate[] = [GIVEN, issuing()], when = IN_TIME) => verifyEkCertificate({ host: 'host-a', certificate: certificate.raw, cas, at: when });
const sha256 = ({ raw }: X509Certificate) => createHash('sha256').update(raw).digest('hex');
/** Its first sentence; "accepted" where there is no refusal. */
function told(work: () => unknown): string {
  try {
    work();
    return 'accepted';
  } catch (error) {
    return (error as Error).message;
  }
}
const UNTRUSTED = 'EK_CERTIFICATE_UNTRUSTED: the EK certificate of host-a, issued by CN=issuing, does not lead to the root of a CA that was given';

describe('an EK certificate', () => {
  it.each<[string, () => KeyObject]>([
    ['ecc', () => EK.publicKey],
    ['ecc384', () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey],
    ['rsa', () => generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey],
  ])('of a key of %s gives the EK, its own fingerprint and that of its root', (algorithm, key) => {
    const certificate = ofEk({ key: key() });
    const found = verify(certificate);
    expect(found.template.algorithm).toBe(algorithm);
    expect(found.publicArea.subarray(0, found.template.head.length)).toEqual(found.template.head);
    expect([found.certificateSha256, found.rootSha256]).toEqual([sha256(certificate), sha256(GIVEN)]);
  });

  it('is read with the EK that it names, whoever signed it', () => {
    const certificate = ofEk();
    const read = readEkCertificate(certificate.raw, 'host-a');
    expect(read.certificate.fingerprint256).toBe(certificate.fingerprint256);
    expect(read.ek.template.algorithm).toBe('ecc');
  });

  it.each<[string, Partial<CertificateSpec>, string]>([
    ['of a CA', { isCa: true }, 'it is of a CA'],
    ['without extended key usage', { extendedKeyUsage: null }, 'its extended key usage lacks 2.23.133.8.1 (EK certificate)'],
    ['of an AK', { extendedKeyUsage: ['2.23.133.8.3'] }, 'its extended key usage lacks 2.23.133.8.1 (EK certificate)'],
    ['of another kind of key', { key: generateKeyPairSync('ed25519').publicKey }, 'its key is neither RSA 2048 nor ECC P-256 nor ECC P-384'],
  ])('%s is refused', (_, changes, problem) => {
    expect(told(() => verify(ofEk(changes)))).toBe(`EK_CERTIFICATE_INVALID: the EK certificate of host-a cannot be used: ${problem}`);
  });

  it('for AKs and EKs is one for EKs', () => {
    expect(told(() => verify(ofEk({ extendedKeyUsage: ['2.23.133.8.3', '2.23.133.8.1'] })))).toBe('accepted');
  });

  it.each<[string, Buffer]>([
    ['that is none', Buffer.from('no certificate')],
    ['of a key of no known kind', ofEk({ key: unknownKey() }).raw],
  ])('%s is refused with what OpenSSL says', (_, der) => {
    const refused = () => readEkCertificate(der, 'host-a');
    expect(refused).toThrow(/^EK_CERTIFICATE_INVALID: the EK certificate of host-a cannot be used: \S.*$/);
    expect(refused).toThrow(expect.objectContaining({ cause: expect.any(Error) as Error }));
  });
});

describe('a chain', () => {
  it('ends at a root that was given', () => {
    expect(told(() => verify(ofEk()))).toBe('accepted');
    expect(told(() => verify(ofEk({ issuer: named('root'), signedBy: ROOT.privateKey }), [GIVEN]))).toBe('accepted');
  });

  it.each<[string, () => readonly X509Certificate[]]>([
    ['nothing', () => []],
    ['no intermediate', () => [root()]],
    ['no root', () => [issuing()]],
    ['another root of that name', () => [root({ key: EK.publicKey, signedBy: EK.privateKey }), issuing()]],
    ['another intermediate of that name', () => [root(), issuing({ key: EK.publicKey })]],
    ['an intermediate that is no CA', () => [root(), issuing({ isCa: false })]],
    ['an intermediate that signs no certificates', () => [root(), issuing({ keyUsage: CRL_SIGN })]],
    ['an intermediate of another name with that key', () => [root(), issuing({ subject: named('renamed') })]],
    ['an intermediate with a key of no known kind', () => [root(), issuing({ key: unknownKey() })]],
    ['intermediates that certify each other', () => [issuing({ issuer: named('two'), signedBy: EK.privateKey }), made({ subject: named('two'), issuer: named('issuing'), key: EK.publicKey, signedBy: ISSUING.privateKey })]],
  ])('is refused where it is over %s', (_, cas) => {
    expect(told(() => verify(ofEk(), cas()))).toBe(UNTRUSTED);
  });

  it('names an issuer in one line', () => {
    const issuer: Name = [['CN', 'issuing'], ['O', 'maker']];
    expect(told(() => verify(ofEk({ issuer })))).toBe('EK_CERTIFICATE_UNTRUSTED: the EK certificate of host-a, issued by CN=issuing, O=maker, does not lead to the root of a CA that was given');
  });

  it('goes over several intermediates, in whatever order they are given', () => {
    const [middle, low] = [keys(), keys()];
    const cas = [
      made({ subject: named('low'), issuer: named('middle'), key: low.publicKey, signedBy: middle.privateKey }),
      root(),
      made({ subject: named('middle'), issuer: named('root'), key: middle.publicKey, signedBy: ROOT.privateKey }),
    ];
    for (const given of [cas, cas.toReversed()]) expect(told(() => verify(ofEk({ issuer: named('low'), signedBy: low.privateKey }), given))).toBe('accepted');
  });
});

describe('the dates of a chain', () => {
  const [early, late] = [at('2026-03-01T00:00:00'), at('2026-09-01T00:00:00')];

  it.each<[string, Date, boolean]>([
    ['a millisecond too early', new Date(early.getTime() - 1), false],
    ['at the first moment', early, true],
    ['at the last moment', late, true],
    ['a millisecond too late', new Date(late.getTime() + 1), false],
  ])('are of the certificate and of each CA: %s', (_, when, isGood) => {
    const ways: readonly [string, X509Certificate, readonly X509Certificate[]][] = [
      ['an EK', ofEk({ from: early, to: late }), [root(), issuing()]],
      ['issuing', ofEk(), [root(), issuing({ from: early, to: late })]],
      ['root', ofEk(), [root({ from: early, to: late }), issuing()]],
    ];
    for (const [subject, certificate, cas] of ways) {
      expect(told(() => verify(certificate, cas, when))).toBe(
        isGood
          ? 'accepted'
          : `EK_CERTIFICATE_EXPIRED: a certificate between the EK of host-a and its root, that of CN=${subject}, is good from Mar  1 00:00:00 2026 GMT to Sep  1 00:00:00 2026 GMT; it is ${when.toISOString()}`,
      );
    }
  });

  it('are told of a certificate without a name, too', () => {
    expect(told(() => verify(ofEk({ subject: [], to: late }), undefined, at('2026-10-01T00:00:00')))).toContain('that of a certificate without a name, is good from Jan  1 00:00:00 2026 GMT');
  });

  it('are right where one of several chains has them right', () => {
    const over = issuing({ to: early });
    expect(told(() => verify(ofEk(), [root(), over], IN_TIME))).toMatch(/^EK_CERTIFICATE_EXPIRED: /);
    for (const cas of [[root(), over, issuing()], [root(), issuing(), over]]) expect(told(() => verify(ofEk(), cas, IN_TIME))).toBe('accepted');
  });
});

describe('a file of certificates', () => {
  const all = () => [root(), issuing(), ofEk()];

  it('may be several in PEM, with words between them', () => {
    const certificates = all();
    const file = certificates.map((certificate, i) => `The certificate ${i}:\n${certificate.toString()}`).join('\n');
    expect(certificatesIn(Buffer.from(file)).map(({ fingerprint256 }) => fingerprint256)).toEqual(certificates.map(({ fingerprint256 }) => fingerprint256));
  });

  it('may be one in DER', () => {
    const certificate = ofEk();
    expect(certificatesIn(certificate.raw).map(({ fingerprint256 }) => fingerprint256)).toEqual([certificate.fingerprint256]);
  });

  it('without any is refused', () => {
    expect(() => certificatesIn(Buffer.from('no certificate'))).toThrow();
  });
});
