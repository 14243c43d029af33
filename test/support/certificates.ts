/** X.509 certificates (RFC 5280 §4.1) byte by byte, for tests that need one without another program. test/support/pki.ts has those that openssl makes. */
import { type KeyObject, X509Certificate, sign } from 'node:crypto';

/** Names as [['CN', 'maker root'], ['O', 'maker']]; none is an empty name. */
export type Name = readonly (readonly [keyof typeof ATTRIBUTES, string])[];

export interface CertificateSpec {
  readonly subject: Name;
  readonly issuer: Name;
  /** Public; DER of a SubjectPublicKeyInfo for a key that Node does not know. */
  readonly key: KeyObject | Buffer;
  /** Private, of P-256. */
  readonly signedBy: KeyObject;
  /** To the second. */
  readonly from: Date;
  readonly to: Date;
  readonly isCa: boolean;
  /** Bits as they stand in the certificate; neither extension is there unless it is said. */
  readonly keyUsage?: number;
  readonly extendedKeyUsage?: readonly (keyof typeof USAGES)[] | null;
}

/** Bits of keyUsage. */
export const KEY_CERT_SIGN = 0x04;
export const CRL_SIGN = 0x02;

const [BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OBJECT_IDENTIFIER, UTF8_STRING, GENERALIZED_TIME, SEQUENCE, SET] = [0x01, 0x02, 0x03, 0x04, 0x06, 0x0c, 0x18, 0x30, 0x31] as const;
const [VERSION, EXTENSIONS] = [0xa0, 0xa3] as const;
const ATTRIBUTES = { CN: '550403', O: '55040a' } as const;
/** tcg-kp-EKCertificate and tcg-kp-AIKCertificate. */
const USAGES = { '2.23.133.8.1': '6781050801', '2.23.133.8.3': '6781050803' } as const;
const [BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE] = ['551d13', '551d0f', '551d25'] as const;

export function certificateOf({ subject, issuer, key, signedBy, from, to, isCa, keyUsage, extendedKeyUsage }: CertificateSpec): X509Certificate {
  const algorithm = der(SEQUENCE, oid('2a8648ce3d040302')); // ecdsa-with-SHA256
  const spki = Buffer.isBuffer(key) ? key : key.export({ type: 'spki', format: 'der' });
  const extensions = [
    extension(BASIC_CONSTRAINTS, der(SEQUENCE, ...(isCa ? [der(BOOLEAN, Buffer.from([0xff]))] : []))),
    ...(keyUsage === undefined ? [] : [extension(KEY_USAGE, der(BIT_STRING, Buffer.from([0, keyUsage])))]),
    ...(extendedKeyUsage ? [extension(EXTENDED_KEY_USAGE, der(SEQUENCE, ...extendedKeyUsage.map((usage) => oid(USAGES[usage]))))] : []),
  ];
  const toBeSigned = der(
    SEQUENCE,
    der(VERSION, der(INTEGER, Buffer.from([2]))),
    der(INTEGER, Buffer.from([1])),
    algorithm,
    nameOf(issuer),
    der(SEQUENCE, time(from), time(to)),
    nameOf(subject),
    spki,
    der(EXTENSIONS, der(SEQUENCE, ...extensions)),
  );
  return new X509Certificate(der(SEQUENCE, toBeSigned, algorithm, der(BIT_STRING, Buffer.from([0]), sign('sha256', toBeSigned, signedBy))));
}

/** A SubjectPublicKeyInfo of a kind that nobody has given a meaning to. */
export function unknownKey(): Buffer {
  return der(SEQUENCE, der(SEQUENCE, oid('2a0304')), der(BIT_STRING, Buffer.from([0, 1, 2, 3])));
}

function nameOf(name: Name): Buffer {
  return der(SEQUENCE, ...name.map(([attribute, value]) => der(SET, der(SEQUENCE, oid(ATTRIBUTES[attribute]), der(UTF8_STRING, Buffer.from(value))))));
}

function extension(id: string, content: Buffer): Buffer {
  return der(SEQUENCE, oid(id), der(OCTET_STRING, content));
}

function time(at: Date): Buffer {
  return der(GENERALIZED_TIME, Buffer.from(`${at.toISOString().slice(0, 19).replace(/[-T:]/g, '')}Z`));
}

function oid(hex: string): Buffer {
  return der(OBJECT_IDENTIFIER, Buffer.from(hex, 'hex'));
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length < 0x80 ? [content.length] : content.length < 0x100 ? [0x81, content.length] : [0x82, content.length >> 8, content.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}
