/**
 * The default templates of endorsement keys (TCG EK Credential Profile for TPM 2.0, annex B): from one a TPM makes the same EK
 * again and again. So the public key in an EK certificate gives the EK's whole public area, and nobody need be believed about it.
 */
import type { KeyObject } from 'node:crypto';
import { sized } from './marshal.js';

export interface EkTemplate {
  /** As `tpm2_createek -G` takes it. */
  readonly algorithm: 'rsa' | 'ecc' | 'ecc384';
  /** NV index of the certificate of the EK that it makes (profile, §2.2.1.4). */
  readonly certificateIndex: string;
  /** Whether that EK is used by PolicySecret of the endorsement hierarchy (no userWithAuth); else by its empty auth value. */
  readonly isUsedByPolicy: boolean;
  /** TPMT_PUBLIC (Part 2 §12.2.4) up to `unique`. */
  readonly head: Buffer;
}

/** Type, nameAlg and objectAttributes; authPolicy; symmetric (AES-CFB), scheme (none) and the parameters of RSA or ECC. */
const head = (start: string, authPolicy: string, parameters: string) => Buffer.concat([Buffer.from(start, 'hex'), sized(Buffer.from(authPolicy, 'hex')), Buffer.from(parameters, 'hex')]);

/** PolicyA for SHA-256 and PolicyB for SHA-384 (profile, annex B.6). */
const POLICY_A = '837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa';
const POLICY_B = 'b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12';

/** H-3 (P-384), L-2 (P-256) and L-1 (RSA 2048), in order of preference. */
export const EK_TEMPLATES: readonly EkTemplate[] = [
  { algorithm: 'ecc384', certificateIndex: '0x1C00016', isUsedByPolicy: false, head: head('0023000c000300f2', POLICY_B, '000601000043' + '0010' + '0004' + '0010') },
  { algorithm: 'ecc', certificateIndex: '0x1C0000A', isUsedByPolicy: true, head: head('0023000b000300b2', POLICY_A, '000600800043' + '0010' + '0003' + '0010') },
  { algorithm: 'rsa', certificateIndex: '0x1C00002', isUsedByPolicy: true, head: head('0001000b000300b2', POLICY_A, '000600800043' + '0010' + '0800' + '00000000') },
];

export interface EkPublic {
  readonly template: EkTemplate;
  /** TPMT_PUBLIC. */
  readonly publicArea: Buffer;
}

/** Null for a key of a kind that no template here makes. */
export function ekPublicOf(key: KeyObject): EkPublic | null {
  const { kty, crv, n = '', e, x = '', y = '' } = key.export({ format: 'jwk' });
  const bytes = (coordinate: string) => Buffer.from(coordinate, 'base64url');
  const algorithm = kty === 'EC' && crv === 'P-384' ? 'ecc384' : kty === 'EC' && crv === 'P-256' ? 'ecc' : kty === 'RSA' && e === 'AQAB' && bytes(n).length === 256 ? 'rsa' : null;
  const template = EK_TEMPLATES.find((candidate) => candidate.algorithm === algorithm);
  if (!template) return null;
  const unique = algorithm === 'rsa' ? [sized(bytes(n))] : [sized(bytes(x)), sized(bytes(y))];
  return { template, publicArea: Buffer.concat([template.head, ...unique]) };
}
