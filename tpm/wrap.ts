/**
 * ECIES to a wrapping key inside a TPM: ephemeral ECDH over P-256, HKDF-SHA-256, AES-256-GCM. The
 * source wraps with public data alone; the destination's TPM does its half of the key agreement
 * (TPM2_ECDH_ZGen, Part 3 §14.5) and `openWrapped` does the rest.
 *
 * Says nothing about whose key it is: check it first (verify.ts).
 */
import { createCipheriv, createDecipheriv, createECDH, createHash, hkdfSync, randomBytes } from 'node:crypto';
import type { WrappedSecrets } from '../domain/attestation.js';
import { parseEccPublic } from './structures.js';
import { bytesOf, keyObjectOf } from './verify.js';

/**
 * `publicArea`: TPMT_PUBLIC, base64. `context` is authenticated (AAD and key derivation), not
 * carried along: both sides must know it. Throws StructureError.
 */
export function wrapSecrets(publicArea: string, secret: Buffer, context: Buffer): WrappedSecrets {
  keyObjectOf(publicArea);
  const recipientPoint = pointOf(publicArea);
  const ephemeral = createECDH('prime256v1');
  const ephemeralPoint = ephemeral.generateKeys();
  const z = ephemeral.computeSecret(recipientPoint);
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', derivedKey(z, { recipientPoint, ephemeralPoint, context }), iv);
  cipher.setAAD(context);
  const ciphertext = Buffer.concat([cipher.update(secret), cipher.final()]);
  return {
    ephemeralPoint: ephemeralPoint.toString('base64'),
    iv: iv.toString('base64'),
    ciphertext: ciphertext.toString('base64'),
    tag: cipher.getAuthTag().toString('base64'),
  };
}

/** The ephemeral point as the TPM takes it; null if it is no point of P-256. Coordinates are 32 bytes. */
export function ephemeralPointOf(wrapped: WrappedSecrets): { readonly x: Buffer; readonly y: Buffer } | null {
  const point = Buffer.from(wrapped.ephemeralPoint, 'base64');
  if (point.length !== 65 || point[0] !== 4) return null;
  try {
    const probe = createECDH('prime256v1');
    probe.generateKeys();
    probe.computeSecret(point);
  } catch {
    return null;
  }
  return { x: point.subarray(1, 33), y: point.subarray(33) };
}

/** `z`: x coordinate of the shared point (32 bytes), from the TPM. Null if the ciphertext does not authenticate. */
export function openWrapped(
  z: Buffer,
  { publicArea, wrapped, context }: { readonly publicArea: string; readonly wrapped: WrappedSecrets; readonly context: Buffer },
): Buffer | null {
  const ephemeralPoint = Buffer.from(wrapped.ephemeralPoint, 'base64');
  const iv = Buffer.from(wrapped.iv, 'base64');
  const tag = Buffer.from(wrapped.tag, 'base64');
  if (iv.length !== 12 || tag.length !== 16) return null;
  const key = derivedKey(z, { recipientPoint: pointOf(publicArea), ephemeralPoint, context });
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: 16 });
  decipher.setAAD(context).setAuthTag(tag);
  try {
    return Buffer.concat([decipher.update(Buffer.from(wrapped.ciphertext, 'base64')), decipher.final()]);
  } catch {
    return null;
  }
}

/** Uncompressed, 65 bytes. */
function pointOf(publicArea: string): Buffer {
  const { x, y } = parseEccPublic(bytesOf(publicArea, 'public area'));
  return Buffer.concat([Buffer.of(4), x, y]);
}

/** All parts of `info` have fixed lengths, so that no two inputs share one. */
function derivedKey(
  z: Buffer,
  { recipientPoint, ephemeralPoint, context }: { readonly recipientPoint: Buffer; readonly ephemeralPoint: Buffer; readonly context: Buffer },
): Buffer {
  const contextDigest = createHash('sha256').update(context).digest();
  const info = Buffer.concat([Buffer.from('korora/1 wrap'), contextDigest, recipientPoint, ephemeralPoint]);
  return Buffer.from(hkdfSync('sha256', z, Buffer.alloc(0), info, 32));
}
