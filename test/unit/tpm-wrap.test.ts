import { createCipheriv, createDecipheriv, createECDH, createHash, hkdfSync, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { WrappedSecrets } from '../../domain/attestation.js';
import { marshalEccPublic } from '../../tpm/marshal.js';
import { ALGORITHM, CURVE_P256, StructureError } from '../../tpm/structures.js';
import { ephemeralPointOf, openWrapped, wrapSecrets } from '../../tpm/wrap.js';

const recipient = createECDH('prime256v1');
const point = recipient.generateKeys();
const publicAreaOf = (x: Buffer, y: Buffer) =>
  marshalEccPublic({ nameAlgorithm: ALGORITHM.sha256, objectAttributes: 0, authPolicy: Buffer.alloc(0), symmetric: null, scheme: null, curve: CURVE_P256, kdf: null, x, y }).toString('base64');
const publicArea = publicAreaOf(point.subarray(1, 33), point.subarray(33));
const context = Buffer.from('{"migrationId":"a"}');

/** What the TPM does, in software. */
const zOf = (wrapped: WrappedSecrets) => recipient.computeSecret(Buffer.from(wrapped.ephemeralPoint, 'base64'));
const open = (wrapped: WrappedSecrets, inContext = context) => openWrapped(zOf(wrapped), { publicArea, wrapped, context: inContext });

describe('wrapping', () => {
  it('opens with the right key and context', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.uint8Array({ maxLength: 200 }), (secret, inContext) => {
        const wrapped = wrapSecrets(publicArea, Buffer.from(secret), Buffer.from(inContext));
        expect(open(wrapped, Buffer.from(inContext))).toEqual(Buffer.from(secret));
      }),
    );
  });

  it('opens in no other context', () => {
    expect(open(wrapSecrets(publicArea, randomBytes(64), context), Buffer.from('{"migrationId":"b"}'))).toBeNull();
  });

  it('opens for no other recipient', () => {
    const other = createECDH('prime256v1').generateKeys();
    const wrapped = wrapSecrets(publicArea, randomBytes(64), context);
    expect(openWrapped(zOf(wrapped), { publicArea: publicAreaOf(other.subarray(1, 33), other.subarray(33)), wrapped, context })).toBeNull();
  });

  it.each(['iv', 'ciphertext', 'tag'] as const)('does not open with any bit of %s changed', (part) => {
    const wrapped = wrapSecrets(publicArea, randomBytes(16), context);
    const bytes = Buffer.from(wrapped[part], 'base64');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(open({ ...wrapped, [part]: changed.toString('base64') })).toBeNull();
    }
    expect(open({ ...wrapped, [part]: bytes.subarray(0, -1).toString('base64') })).toBeNull();
  });

  it('never uses a key pair or an iv twice', () => {
    const [a, b] = [wrapSecrets(publicArea, Buffer.alloc(8), context), wrapSecrets(publicArea, Buffer.alloc(8), context)];
    for (const part of ['ephemeralPoint', 'iv', 'ciphertext', 'tag'] as const) expect(a[part]).not.toBe(b[part]);
  });

  it('refuses points that are not on the curve', () => {
    expect(() => wrapSecrets(publicAreaOf(Buffer.alloc(32, 1), Buffer.alloc(32, 1)), Buffer.alloc(1), context)).toThrow(StructureError);
    const wrapped = wrapSecrets(publicArea, Buffer.alloc(1), context);
    const offCurve = Buffer.concat([Buffer.of(4), Buffer.alloc(64, 1)]).toString('base64');
    expect(ephemeralPointOf({ ...wrapped, ephemeralPoint: offCurve })).toBeNull();
    expect(ephemeralPointOf({ ...wrapped, ephemeralPoint: '' })).toBeNull();
  });

  it('takes a point in the uncompressed form alone, and gives its coordinates', () => {
    const wrapped = wrapSecrets(publicArea, Buffer.alloc(1), context);
    const bytes = Buffer.from(wrapped.ephemeralPoint, 'base64');
    const [x, y] = [bytes.subarray(1, 33), bytes.subarray(33)];
    expect(ephemeralPointOf(wrapped)).toEqual({ x, y });
    const hybrid = Buffer.concat([Buffer.of(6 + ((y[31] as number) & 1)), x, y]);
    const compressed = Buffer.concat([Buffer.of(2 + ((y[31] as number) & 1)), x]);
    for (const other of [hybrid, compressed, Buffer.concat([bytes, Buffer.of(0)])]) expect(ephemeralPointOf({ ...wrapped, ephemeralPoint: other.toString('base64') })).toBeNull();
  });
});

/** The key, by node:crypto and nothing of tpm/wrap.ts: a label or a part that both directions forget would go unseen otherwise. */
function keyOf(z: Buffer, ephemeralPoint: Buffer): Buffer {
  const info = Buffer.concat([Buffer.from('korora/1 wrap'), createHash('sha256').update(context).digest(), point, ephemeralPoint]);
  return Buffer.from(hkdfSync('sha256', z, '', info, 32));
}

describe('what is wrapped', () => {
  const secret = Buffer.from('the key of this move');

  it('is AES-256-GCM over the context, under HKDF of the shared point, label, context and both points', () => {
    const wrapped = wrapSecrets(publicArea, secret, context);
    const [ephemeralPoint, iv, ciphertext, tag] = (['ephemeralPoint', 'iv', 'ciphertext', 'tag'] as const).map((part) => Buffer.from(wrapped[part], 'base64')) as [Buffer, Buffer, Buffer, Buffer];
    expect([iv.length, tag.length]).toEqual([12, 16]);
    const decipher = createDecipheriv('aes-256-gcm', keyOf(zOf(wrapped), ephemeralPoint), iv).setAAD(context).setAuthTag(tag);
    expect(Buffer.concat([decipher.update(ciphertext), decipher.final()])).toEqual(secret);
  });

  it('opens for no public area in another text than its own', () => {
    const wrapped = wrapSecrets(publicArea, secret, context);
    expect(() => openWrapped(zOf(wrapped), { publicArea: ` ${publicArea}`, wrapped, context })).toThrow(/public area.*not canonical base64/);
  });

  it('opens with an iv of 12 bytes alone', () => {
    const { ephemeralPoint } = wrapSecrets(publicArea, secret, context);
    const opened = (ivBytes: number) => {
      const iv = Buffer.alloc(ivBytes, 1);
      const cipher = createCipheriv('aes-256-gcm', keyOf(recipient.computeSecret(Buffer.from(ephemeralPoint, 'base64')), Buffer.from(ephemeralPoint, 'base64')), iv).setAAD(context);
      const ciphertext = Buffer.concat([cipher.update(secret), cipher.final()]).toString('base64');
      return open({ ephemeralPoint, iv: iv.toString('base64'), ciphertext, tag: cipher.getAuthTag().toString('base64') });
    };
    expect(opened(12)).toEqual(secret);
    expect(opened(16)).toBeNull();
  });
});
