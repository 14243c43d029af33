/**
 * The key pair of one session and the certificate that carries it through TLS. The certificate is
 * only a container: nobody signs it, nobody checks its names or dates. What counts is SHA-256 of
 * its SubjectPublicKeyInfo, which stands in the quote of the host (docs/theory-of-operation.md).
 *
 * The few DER bytes are written here by hand (RFC 5280 §4.1, X.690): a certificate that carries
 * no statement needs no certificate library.
 */
import { type KeyObject, X509Certificate, createHash, generateKeyPair, randomBytes, sign } from 'node:crypto';
import { promisify } from 'node:util';
import type { TLSSocket } from 'node:tls';
import type { Sha256Hex } from '../domain/ids.js';
import type { ChannelIdentity } from './port.js';

/** A fresh P-256 key with its self-signed certificate. */
export async function createIdentity(): Promise<ChannelIdentity> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return {
    spkiSha256: sha256Hex(spki),
    certificate: new X509Certificate(selfSignedCertificate(spki, privateKey)).toString(),
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

/**
 * SHA-256 of the SPKI whose private key the peer proved to hold in the handshake
 * (CertificateVerify, RFC 8446 §4.4.3); undefined when it presented none that can be read.
 */
export function peerSpkiSha256(socket: TLSSocket): Sha256Hex | undefined {
  try {
    const key = socket.getPeerX509Certificate()?.publicKey;
    return key && sha256Hex(key.export({ type: 'spki', format: 'der' }));
  } catch {
    return undefined;
  }
}

function sha256Hex(bytes: Buffer): Sha256Hex {
  return createHash('sha256').update(bytes).digest('hex');
}

const SEQUENCE = 0x30;
const SET = 0x31;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OBJECT_IDENTIFIER = 0x06;
const UTF8_STRING = 0x0c;
const GENERALIZED_TIME = 0x18;
const VERSION_FIELD = 0xa0;
const ECDSA_WITH_SHA256 = Buffer.from('2a8648ce3d040302', 'hex');
const COMMON_NAME = Buffer.from('550403', 'hex');

function selfSignedCertificate(spki: Buffer, privateKey: KeyObject): Buffer {
  const algorithm = der(SEQUENCE, der(OBJECT_IDENTIFIER, ECDSA_WITH_SHA256));
  const name = der(
    SEQUENCE,
    der(SET, der(SEQUENCE, der(OBJECT_IDENTIFIER, COMMON_NAME), der(UTF8_STRING, Buffer.from('korora channel')))),
  );
  const version3 = der(VERSION_FIELD, der(INTEGER, Buffer.from([2])));
  // Positive and without a leading zero byte, as DER wants it.
  const serial = der(INTEGER, Buffer.concat([Buffer.from([0x4b]), randomBytes(15)]));
  // RFC 5280 §4.1.2.5: 99991231235959Z says that there is no expiration date. The session ends sooner.
  const validity = der(SEQUENCE, der(GENERALIZED_TIME, Buffer.from('20000101000000Z')), der(GENERALIZED_TIME, Buffer.from('99991231235959Z')));
  const toBeSigned = der(SEQUENCE, version3, serial, algorithm, name, validity, name, spki);
  const signature = sign('sha256', toBeSigned, privateKey);
  return der(SEQUENCE, toBeSigned, algorithm, der(BIT_STRING, Buffer.from([0]), signature));
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length < 0x80 ? [content.length] : content.length < 0x100 ? [0x81, content.length] : [0x82, content.length >> 8, content.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}
