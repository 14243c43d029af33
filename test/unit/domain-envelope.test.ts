/**
 * domain/envelope.ts and domain/authority.ts: what is signed is what is read, by whom the bundle says, and for what; anything else
 * is refused. The signatures are made and checked with OpenSSL too, so that both sides are not wrong in one way.
 */
import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type OperatorKind, authorize, openAuthorized, openSigned } from '../../domain/authority.js';
import { canonicalJson } from '../../domain/canonical.js';
import { type Envelope, PAYLOAD_TYPES, PublicKey, type SignedKind, type Signer, keyIdOf, preAuthenticationEncoding, readEnvelope, signEnvelope, signersOf } from '../../domain/envelope.js';
import { Order } from '../../domain/order.js';
import { ADA, DESTINATION, GRACE, POLICY_SIGNER, SOURCE, approvalOf, fenceOf, limitsChangeOf, orderOf, reinstatementOf, samples, startOrderOf, trustBundleOf } from '../support/documents.js';
import { installBundle } from '../../domain/trust-bundle.js';
import { testSigner } from '../support/signers.js';

const order = orderOf();
const bundle = trustBundleOf();
const base64 = (text: string) => Buffer.from(text, 'utf8').toString('base64');
const payloadOf = (envelope: Envelope) => Buffer.from(envelope.payload, 'base64');

describe('an envelope', () => {
  it('has the pre-authentication encoding of DSSE: its own example', () => {
    const encoded = preAuthenticationEncoding('http://example.com/HelloWorld', Buffer.from('hello world'));
    expect(Buffer.from(encoded).toString()).toBe('DSSEv1 29 http://example.com/HelloWorld 11 hello world');
  });

  it('counts bytes, not characters', () => {
    expect(Buffer.from(preAuthenticationEncoding('ä', Buffer.from('€'))).toString()).toBe('DSSEv1 2 ä 3 €');
  });

  it('carries the canonical form, and a signature that OpenSSL finds right', async () => {
    const envelope = await signEnvelope(order, ADA);
    expect(payloadOf(envelope).toString()).toBe(canonicalJson(order));
    const key = createPublicKey({ key: Buffer.from(ADA.publicKey, 'base64'), format: 'der', type: 'spki' });
    const message = preAuthenticationEncoding(envelope.payloadType, payloadOf(envelope));
    const signature = Buffer.from(envelope.signatures[0]?.sig ?? '', 'base64');
    expect(verify(null, message, key, signature)).toBe(true);
  });

  it('that was signed with OpenSSL is taken', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const key = PublicKey.parse(publicKey.export({ format: 'der', type: 'spki' }).toString('base64'));
    const envelope = await signEnvelope(order, { publicKey: key, sign: (message) => Promise.resolve(sign(null, message, privateKey)) });
    expect(signersOf(envelope, [ADA.publicKey, key])).toEqual([key]);
    expect(readEnvelope(Order, 'korora/order', envelope)).toEqual({ document: order });
  });

  it('of several signatures is by each whose key is known', async () => {
    const [byAda, byGrace] = [await signEnvelope(order, ADA), await signEnvelope(order, GRACE)];
    const both = { ...byAda, signatures: [...byAda.signatures, ...byGrace.signatures] };
    expect(signersOf(both, [POLICY_SIGNER.publicKey, GRACE.publicKey, ADA.publicKey])).toEqual([GRACE.publicKey, ADA.publicKey]);
    const swapped = { ...both, signatures: both.signatures.map(({ keyid }, i) => ({ keyid, sig: both.signatures[1 - i]?.sig ?? '' })) };
    expect(signersOf(swapped, [GRACE.publicKey, ADA.publicKey])).toEqual([]);
  });

  it('is by nobody once a bit of its payload, its type or its signature is another', async () => {
    const envelope = await signEnvelope(order, ADA);
    const payload = payloadOf(envelope);
    const signature = Buffer.from(envelope.signatures[0]?.sig ?? '', 'base64');
    const flipped = (bytes: Buffer, bit: number) => {
      const copy = Buffer.from(bytes);
      copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      return copy.toString('base64');
    };
    const isAdas = (changed: Envelope) => signersOf(changed, [ADA.publicKey]).length > 0;
    expect(isAdas(envelope)).toBe(true);
    fc.assert(fc.property(fc.nat(payload.length * 8 - 1), (bit) => !isAdas({ ...envelope, payload: flipped(payload, bit) })));
    fc.assert(fc.property(fc.nat(511), (bit) => !isAdas({ ...envelope, signatures: [{ keyid: keyIdOf(ADA.publicKey), sig: flipped(signature, bit) }] })));
    for (const payloadType of Object.values(PAYLOAD_TYPES)) expect(isAdas({ ...envelope, payloadType })).toBe(payloadType === PAYLOAD_TYPES['korora/order']);
  });

  it('names a key by the SHA-256 of its SubjectPublicKeyInfo, and no other name leads to that key', async () => {
    const envelope = await signEnvelope(order, ADA);
    const renamed = { ...envelope, signatures: envelope.signatures.map(({ sig }) => ({ keyid: keyIdOf(GRACE.publicKey), sig })) };
    expect(signersOf(renamed, [ADA.publicKey, GRACE.publicKey])).toEqual([]);
  });

  const order64 = (text: string): unknown => ({ payloadType: PAYLOAD_TYPES['korora/order'], payload: base64(text), signatures: [{ keyid: keyIdOf(ADA.publicKey), sig: Buffer.alloc(64).toString('base64') }] });
  const text = canonicalJson(samples.order);
  it.each<[string, unknown, string]>([
    ['nothing', null, 'expected object'],
    ['a plain order', samples.order, 'payloadType'],
    ['no JSON', order64('{'), 'payload: '],
    ['a payload that is not UTF-8', { ...(order64('') as object), payload: Buffer.from([0x7b, 0xff, 0x7d]).toString('base64') }, 'payload: '],
    ['white space', order64(`${text} `), 'payload: it is not in canonical form'],
    ['a mark of the byte order', order64(`\ufeff${text}`), 'payload: '],
    ['a member twice', order64(text.replace('"epoch":1', '"epoch":1,"epoch":1')), 'payload: it is not in canonical form'],
    ['members in another order', order64(JSON.stringify(Object.fromEntries(Object.entries(samples.order).reverse()))), 'payload: it is not in canonical form'],
    ['a number that is rounded', order64(text.replace('"epoch":1', '"epoch":1.0')), 'payload: it is not in canonical form'],
    ['another document', order64(canonicalJson(samples.fence)), 'kind: '],
    ['no signature', { ...(order64(text) as object), signatures: [] }, 'signatures: '],
    ['a signature that is cut', { ...(order64(text) as object), signatures: [{ keyid: keyIdOf(ADA.publicKey), sig: base64('x'.repeat(60)) }] }, 'signatures.0.sig: '],
    ['a member too many', { ...(order64(text) as object), extra: 1 }, '"extra"'],
  ])('of %s cannot be read', (_, value, problem) => {
    expect(() => openSigned('korora/order', value)).toThrow(`ORDER_INVALID: `);
    expect(() => openSigned('korora/order', value)).toThrow(problem);
  });

  it('of one kind is not read as another', async () => {
    const kinds = { 'korora/order': order, 'korora/start': startOrderOf(), 'korora/approval': approvalOf(), 'korora/limits': limitsChangeOf(), 'korora/fence': fenceOf(), 'korora/reinstatement': reinstatementOf() } satisfies Record<OperatorKind, { kind: SignedKind }>;
    for (const [kind, document] of Object.entries(kinds)) {
      const envelope = await signEnvelope(document, ADA);
      for (const other of Object.keys(kinds) as OperatorKind[]) {
        if (other === kind) expect(openSigned(other, envelope).document).toEqual(document);
        else expect(() => openSigned(other, envelope)).toThrow('payloadType: ');
      }
    }
  });
});

describe('what is not signed', () => {
  /** Bytes that are no document, signed all the same. */
  const nonsense = async (kind: SignedKind, signer: Signer): Promise<Envelope> => {
    const payload = Buffer.from('['.repeat(10_000));
    const sig = await signer.sign(preAuthenticationEncoding(PAYLOAD_TYPES[kind], payload));
    return { payloadType: PAYLOAD_TYPES[kind], payload: payload.toString('base64'), signatures: [{ keyid: keyIdOf(signer.publicKey), sig: Buffer.from(sig).toString('base64') }] };
  };
  const stranger = testSigner(9);
  const opened = (value: unknown) => openAuthorized('korora/order', value, null, trustBundleOf(), SOURCE);
  const installed = (value: unknown) => () => installBundle(value, SOURCE, [POLICY_SIGNER.publicKey]);

  it('by an operator, or by a pinned key, is not even read', async () => {
    expect(opened(await nonsense('korora/order', stranger))).toMatchObject({ ok: false, failure: { code: 'ORDER_NOT_SIGNED' } });
    expect(installed(await nonsense('korora/trust-bundle', stranger))).toThrow('BUNDLE_NOT_SIGNED');
    const [byOperator, byPolicy] = [await nonsense('korora/order', ADA), await nonsense('korora/trust-bundle', POLICY_SIGNER)];
    expect(() => opened(byOperator)).toThrow('ORDER_INVALID');
    expect(installed(byPolicy)).toThrow('BUNDLE_INVALID');
  });

  it('in the name of an operator who did not sign it is refused by that name', async () => {
    expect(opened(await signEnvelope(orderOf({ by: 'grace' }), ADA))).toMatchObject({ ok: false, failure: { code: 'ORDER_NOT_SIGNED', message: expect.stringContaining('grace') as string } });
  });

  it('and larger than anything that operators sign is refused by its size', async () => {
    const large = { ...(await signEnvelope(orderOf(), ADA)), payload: Buffer.alloc(64 * 1024).toString('base64') };
    expect(() => opened(large)).toThrow('payload: Too big');
  });

  it('as the kind that it is taken for is refused by its type', async () => {
    const start = await signEnvelope(startOrderOf(), ADA);
    expect(() => opened(start)).toThrow('payloadType: application/vnd.korora.start+json');
  });
});

describe('an operator', () => {
  const problemOf = async (signer: typeof ADA, changes: Parameters<typeof orderOf>[0] = {}, operators = bundle.operators) => {
    const authority = authorize(openSigned('korora/order', await signEnvelope(orderOf(changes), signer)), null, { ...bundle, operators }, SOURCE);
    return authority.ok ? 'allowed' : `${authority.failure.code}: ${authority.failure.message}`;
  };
  const [ada, grace] = bundle.operators;
  const withScopes = (scopes: object) => trustBundleOf({ operators: [{ ...ada, scopes: [{ ...ada?.scopes[0], ...scopes }] }, grace] }).operators;

  it('who signs, is active and has the scope is allowed', async () => {
    expect(await problemOf(ADA)).toBe('allowed');
  });

  it.each<[string, () => Promise<string>, string]>([
    ['a stranger with a right name', () => problemOf(testSigner(9)), 'ORDER_NOT_SIGNED: by the trust bundle of host-a, operator ada did not sign this (korora/order): no signature in it is by the operator’s key'],
    ['one who signs in the name of another', () => problemOf(GRACE), 'ORDER_NOT_SIGNED'],
    ['the signer of the bundle', () => problemOf(POLICY_SIGNER), 'ORDER_NOT_SIGNED'],
    ['one whom the bundle lacks', () => problemOf(ADA, { by: 'mallory' }), 'ORDER_NOT_SIGNED: by the trust bundle of host-a, operator mallory did not sign this (korora/order): the bundle has no such operator'],
    ['one who is revoked', () => problemOf(ADA, {}, trustBundleOf({ operators: [{ ...ada, status: 'revoked' }] }).operators), 'the operator is revoked'],
    ['one without the action', () => problemOf(GRACE, { by: 'grace' }), 'OPERATOR_NOT_ALLOWED: the trust bundle of host-a does not let grace migrate VM web-1 (from host-a to host-b)'],
    ['one with another VM', () => problemOf(ADA, {}, withScopes({ vms: ['web-2', 'db-*'] })), 'OPERATOR_NOT_ALLOWED'],
    ['one with another source', () => problemOf(ADA, {}, withScopes({ sources: ['host-b'] })), 'OPERATOR_NOT_ALLOWED'],
    ['one with another destination', () => problemOf(ADA, {}, withScopes({ destinations: ['host-a'] })), 'OPERATOR_NOT_ALLOWED'],
    ['one without scopes', () => problemOf(ADA, {}, trustBundleOf({ operators: [{ ...ada, scopes: [] }] }).operators), 'OPERATOR_NOT_ALLOWED'],
  ])('%s is not', async (_, ask, problem) => {
    expect(await ask()).toContain(problem);
  });

  it('with a pattern has the VMs that begin so', async () => {
    expect(await problemOf(ADA, {}, withScopes({ vms: ['web-*'] }))).toBe('allowed');
    expect(await problemOf(ADA, {}, withScopes({ vms: ['web-1'] }))).toBe('allowed');
  });

  it('may do what one scope allows as a whole, not what two allow in parts', async () => {
    const scopes = [{ ...ada?.scopes[0], sources: ['host-b'] }, { ...ada?.scopes[0], destinations: ['host-a'] }];
    expect(await problemOf(ADA, {}, trustBundleOf({ operators: [{ ...ada, scopes }] }).operators)).toContain('OPERATOR_NOT_ALLOWED');
  });

  it('approves between the hosts of the order, and fences the host that the fence names', async () => {
    const approve = openSigned('korora/approval', await signEnvelope(approvalOf(), GRACE));
    expect(authorize(approve, order, bundle, SOURCE).ok).toBe(true);
    expect(authorize(approve, orderOf({ source: DESTINATION, destination: SOURCE }), bundle, SOURCE)).toMatchObject({ ok: false, failure: { code: 'OPERATOR_NOT_ALLOWED' } });
    const fence = openSigned('korora/fence', await signEnvelope(fenceOf(), ADA));
    expect(authorize(fence, null, bundle, SOURCE).ok).toBe(true);
    expect(authorize(fence, null, { ...bundle, operators: withScopes({ destinations: ['host-a'] }) }, SOURCE).ok).toBe(false);
  });
});
