/** The session's key and certificate, judged by OpenSSL through node:crypto. */
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { expect, it } from 'vitest';
import type { TLSSocket } from 'node:tls';
import { createIdentity, peerSpkiSha256 } from '../../channel/identity.js';
import { isAttestedPeer } from '../../channel/tls.js';
import type { ChannelTerms } from '../../channel/port.js';

it('is a P-256 key with a certificate that OpenSSL reads and whose own key signed it', async () => {
  // Signatures differ in length from run to run; many runs meet every length.
  for (let i = 0; i < 40; i++) {
    const { certificate, privateKey, spkiSha256 } = await createIdentity();
    const x509 = new X509Certificate(certificate);
    expect(x509.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    expect(x509.verify(x509.publicKey)).toBe(true);
    expect(x509.checkPrivateKey(createPrivateKey(privateKey))).toBe(true);
    expect(createHash('sha256').update(x509.publicKey.export({ type: 'spki', format: 'der' })).digest('hex')).toBe(spkiSha256);
  }
});

it('says nothing of whom it is for: one name, no end, a serial number that DER allows', async () => {
  const { certificate, privateKey } = await createIdentity();
  const x509 = new X509Certificate(certificate);
  expect([x509.subject, x509.issuer]).toEqual(['CN=korora channel', 'CN=korora channel']);
  expect([x509.validFrom, x509.validTo]).toEqual(['Jan  1 00:00:00 2000 GMT', 'Dec 31 23:59:59 9999 GMT']);
  expect(x509.serialNumber).toMatch(/^4B[0-9A-F]{30}$/);
  // [0] { INTEGER 2 }: version 3, right behind the two lengths (RFC 5280 §4.1).
  expect(x509.raw.subarray(7, 12).toString('hex')).toBe('a003020102');
  // ecdsa-with-SHA256 (RFC 5758 §3.2), in what is signed and beside the signature.
  expect(x509.raw.toString('hex').split('300a06082a8648ce3d040302')).toHaveLength(3);
  expect(certificate).toMatch(/^-----BEGIN CERTIFICATE-----\n[^]*\n-----END CERTIFICATE-----\n$/);
  expect(privateKey).toMatch(/^-----BEGIN PRIVATE KEY-----\n[^]*\n-----END PRIVATE KEY-----\n$/);
});

it('is DER: every length in as few bytes as there are (X.690 §10.1), to the last byte', async () => {
  const { raw } = new X509Certificate((await createIdentity()).certificate);
  const tags: number[] = [];
  const walk = (at: number, end: number): void => {
    while (at < end) {
      const tag = raw.readUInt8(at);
      const first = raw.readUInt8(at + 1);
      const more = first < 0x80 ? 0 : first & 0x7f;
      const length = more === 0 ? first : raw.readUIntBE(at + 2, more);
      expect([tag, first, more]).toEqual([tag, length < 0x80 ? length : length < 0x100 ? 0x81 : 0x82, length < 0x80 ? 0 : length < 0x100 ? 1 : 2]);
      const start = at + 2 + more;
      tags.push(tag);
      if ((tag & 0x20) !== 0) walk(start, start + length);
      at = start + length;
    }
    expect(at).toBe(end);
  };
  walk(0, raw.length);
  expect(tags).toHaveLength(28);
});

it('is what the peer proved to hold: nothing where it showed none, where it cannot be read, or where an older connection is taken up again', async () => {
  const { certificate, spkiSha256 } = await createIdentity();
  const x509 = new X509Certificate(certificate);
  const socketWith = (getPeerX509Certificate: () => X509Certificate | undefined, isReused = false) => ({ getPeerX509Certificate, isSessionReused: () => isReused }) as unknown as TLSSocket;
  const terms = { peerSpkiSha256: spkiSha256 } as ChannelTerms;
  expect([peerSpkiSha256(socketWith(() => x509)), isAttestedPeer(socketWith(() => x509), terms)]).toEqual([spkiSha256, true]);
  expect(peerSpkiSha256(socketWith(() => undefined))).toBeUndefined();
  expect(peerSpkiSha256(socketWith(() => { throw new Error('of a kind that OpenSSL does not know'); }))).toBeUndefined();
  // A session that is taken up again proves no key.
  expect(isAttestedPeer(socketWith(() => x509, true), terms)).toBe(false);
  expect(isAttestedPeer(socketWith(() => x509), { ...terms, peerSpkiSha256: 'ab'.repeat(32) })).toBe(false);
});

it('is another one every time', async () => {
  const [a, b] = await Promise.all([createIdentity(), createIdentity()]);
  expect(a.spkiSha256).not.toBe(b.spkiSha256);
  expect(new X509Certificate(a.certificate).serialNumber).not.toBe(new X509Certificate(b.certificate).serialNumber);
});
