/** domain/envelope.ts: what is a public key and what is none, which signatures are strict, and what is said of an envelope that cannot be read. */
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { describeIssues } from '../../domain/documents.js';
import { type Envelope, PublicKey, type Signer, addSignature, keyIdOf, preAuthenticationEncoding, readEnvelope, signEnvelope, signersOf } from '../../domain/envelope.js';

const PREFIX = '302a300506032b6570032100';
const key = (hex: string) => Buffer.from(hex, 'hex').toString('base64');
const ONE = key(PREFIX + 'ab'.repeat(32));

describe('a public key', () => {
  it.each<[string, string, boolean]>([
    ['of Ed25519', ONE, true],
    ['one byte short', key(PREFIX + 'ab'.repeat(31)), false],
    ['one byte long', key(PREFIX + 'ab'.repeat(33)), false],
    ['without its SubjectPublicKeyInfo', key('ab'.repeat(32)), false],
    ['of X25519', key(PREFIX.replace('6570', '656e') + 'ab'.repeat(32)), false],
    ['whose first byte is another', key(`31${PREFIX.slice(2)}${'ab'.repeat(32)}`), false],
    ['whose prefix ends otherwise', key(`${PREFIX.slice(0, -2)}01${'ab'.repeat(32)}`), false],
    ['that is empty', '', false],
  ])('%s', (_, text, isOne) => {
    const { error } = PublicKey.safeParse(text);
    expect(error ? describeIssues(error) : null).toBe(isOne ? null : 'document: the base64 of an Ed25519 public key (SubjectPublicKeyInfo, DER)');
  });

  it('that is no base64 is refused as such', () => {
    const { error } = PublicKey.safeParse('no base64!');
    expect(error && describeIssues(error)).toContain('document: base64 with padding');
  });

  it('is named by its digest', () => {
    expect(keyIdOf(PublicKey.parse(ONE))).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe('a signature', () => {
  /** Of order eight, and the signature that cofactored verification takes over any message whatever. */
  const SMALL = 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa';
  const ANY_MESSAGE = `c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a${'00'.repeat(32)}`;

  it('by a key of small order is by nobody', () => {
    const publicKey = PublicKey.parse(key(PREFIX + SMALL));
    const envelope: Envelope = { payloadType: 'text', payload: 'AAAA', signatures: [{ keyid: keyIdOf(publicKey), sig: Buffer.from(ANY_MESSAGE, 'hex').toString('base64') }] };
    expect(signersOf(envelope, [publicKey])).toEqual([]);
  });

  it('that is none, or by a key that is no point, is by nobody', () => {
    const publicKey = PublicKey.parse(key(PREFIX + 'ff'.repeat(32)));
    const envelope: Envelope = { payloadType: 'text', payload: 'AAAA', signatures: [{ keyid: keyIdOf(publicKey), sig: Buffer.alloc(64, 0xff).toString('base64') }] };
    expect(signersOf(envelope, [publicKey])).toEqual([]);
  });

  it('that is too long is by nobody', () => {
    const publicKey = PublicKey.parse(ONE);
    expect(signersOf({ payloadType: 'text', payload: 'AAAA', signatures: [{ keyid: keyIdOf(publicKey), sig: 'A'.repeat(88) }] }, [publicKey])).toEqual([]);
  });
});

describe('an envelope', () => {
  const signer: Signer = { publicKey: PublicKey.parse(ONE), sign: (message) => Promise.resolve(Uint8Array.from(message).slice(0, 64)) };
  const schema = z.strictObject({ kind: z.literal('korora/order'), b: z.number(), a: z.number() });
  const document = { kind: 'korora/order', b: 1, a: 2 } as const;

  it('has its document in canonical form, under its type, signed over both', async () => {
    const envelope = await signEnvelope(document, signer);
    const text = '{"a":2,"b":1,"kind":"korora/order"}';
    const type = 'application/vnd.korora.order+json';
    expect(envelope).toEqual({
      payloadType: type,
      payload: Buffer.from(text).toString('base64'),
      signatures: [{ keyid: keyIdOf(signer.publicKey), sig: Buffer.from(`DSSEv1 ${type.length} ${type} ${text.length} ${text}`).subarray(0, 64).toString('base64') }],
    });
    expect((await addSignature(envelope, signer)).signatures).toEqual([...envelope.signatures, ...envelope.signatures]);
    expect(Buffer.from(preAuthenticationEncoding('ä', Buffer.from('ö'))).toString()).toBe('DSSEv1 2 ä 2 ö');
  });

  const readable = async (changes: Partial<Record<keyof Envelope, unknown>>) => readEnvelope(schema, 'korora/order', { ...(await signEnvelope(document, signer)), ...changes });
  const payloadOf = (bytes: string | Uint8Array) => ({ payload: Buffer.from(bytes as string).toString('base64') });

  it('is read as it is', async () => {
    expect(await readable({})).toEqual({ document });
  });

  it.each<[string, Partial<Record<keyof Envelope, unknown>>, string | RegExp]>([
    ['no envelope', { signatures: [] }, /^signatures: Too small/],
    ['of another kind', { payloadType: 'application/vnd.korora.start+json' }, 'payloadType: application/vnd.korora.start+json instead of application/vnd.korora.order+json'],
    ['no JSON', payloadOf('no JSON'), /^payload: .*JSON/],
    ['no UTF-8', payloadOf(Uint8Array.from([0x22, 0xff, 0x22])), /^payload: .*not valid/],
    ['behind a byte order mark', payloadOf('\uFEFF{}'), /^payload: /],
    ['not in canonical form', payloadOf('{"kind":"korora/order","b":1,"a":2}'), 'payload: it is not in canonical form (RFC 8785)'],
    ['of a member twice', payloadOf('{"a":1,"a":2,"b":1,"kind":"korora/order"}'), 'payload: it is not in canonical form (RFC 8785)'],
    ['no such document', payloadOf('{"a":"2","b":1,"kind":"korora/order"}'), /^a: Invalid input: expected number/],
  ])('%s is told', async (_, changes, problem) => {
    expect(await readable(changes)).toEqual({ problem: typeof problem === 'string' ? problem : expect.stringMatching(problem) });
  });
});
