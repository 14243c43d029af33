/** The session's key and certificate, judged by OpenSSL through node:crypto. */
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { expect, it } from 'vitest';
import { createIdentity } from '../../channel/identity.js';

it('is a P-256 key with a certificate that OpenSSL reads and whose own key signed it', async () => {
  // Signatures and serials differ in length from run to run; many runs meet every length.
  for (let i = 0; i < 40; i++) {
    const { certificate, privateKey, spkiSha256 } = await createIdentity();
    const x509 = new X509Certificate(certificate);
    expect(x509.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    expect(x509.verify(x509.publicKey)).toBe(true);
    expect(x509.checkPrivateKey(createPrivateKey(privateKey))).toBe(true);
    expect(createHash('sha256').update(x509.publicKey.export({ type: 'spki', format: 'der' })).digest('hex')).toBe(spkiSha256);
  }
});

it('is another one every time', async () => {
  const [a, b] = await Promise.all([createIdentity(), createIdentity()]);
  expect(a.spkiSha256).not.toBe(b.spkiSha256);
  expect(new X509Certificate(a.certificate).serialNumber).not.toBe(new X509Certificate(b.certificate).serialNumber);
});
