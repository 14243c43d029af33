/**
 * Signed documents, changed in every way and signed again or not: refused by the code that is said for them, or taken as exactly the
 * document that was signed. test/unit/domain-envelope.test.ts has the rules one by one.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type OperatorKind, authorize, openSigned } from '../../domain/authority.js';
import { canonicalJson } from '../../domain/canonical.js';
import { type Envelope, type SignedKind, type Signer, signEnvelope, signersOf } from '../../domain/envelope.js';
import { KororaError } from '../../domain/failures.js';
import { installBundle } from '../../domain/trust-bundle.js';
import { ADA, GRACE, POLICY_SIGNER, SOURCE, orderOf, samples, trustBundleOf } from '../support/documents.js';
import { byteEdits, editBytes, editJson, jsonEdits } from '../support/mutations.js';

/** Undefined where it is refused by one of these codes; any other error is thrown. */
function orRefused<T>(work: () => T, ...codes: readonly string[]): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof KororaError && codes.includes(error.code)) return undefined;
    throw error;
  }
}

/** What stands in its payload. */
const saidBy = (value: unknown) => Buffer.from((value as Envelope).payload, 'base64').toString();
const bundle = trustBundleOf();
const order = orderOf();

interface Case {
  readonly name: string;
  readonly sample: { readonly kind: SignedKind };
  readonly signer: Signer;
  /** What it is taken for, signed by whom it must be; undefined where it is refused. */
  readonly take: (value: unknown) => unknown;
  /** A part of what is left out has its default: CopyLimits. */
  readonly hasDefaults: boolean;
}

const ofOperator = <K extends OperatorKind>(kind: K, sample: { readonly kind: K }, signer: Signer): Case => ({
  name: kind,
  sample,
  signer,
  hasDefaults: kind === 'korora/order' || kind === 'korora/limits',
  take(value) {
    const opened = orRefused(() => openSigned(kind, value), 'ORDER_INVALID');
    if (!opened) return undefined;
    const authority = authorize(opened, order, bundle, SOURCE);
    if (authority.ok) return authority.signed.document;
    expect(['ORDER_NOT_SIGNED', 'OPERATOR_NOT_ALLOWED']).toContain(authority.failure.code);
    return undefined;
  },
});

const CASES: readonly Case[] = [
  {
    name: 'korora/trust-bundle',
    sample: samples.trustBundle,
    signer: POLICY_SIGNER,
    hasDefaults: false,
    take: (value) => orRefused(() => installBundle(value, 'host-a', [POLICY_SIGNER.publicKey]), 'BUNDLE_INVALID', 'BUNDLE_NOT_SIGNED')?.bundle,
  },
  ofOperator('korora/order', samples.order, ADA),
  ofOperator('korora/start', samples.start, ADA),
  ofOperator('korora/approval', samples.approval, GRACE),
  ofOperator('korora/limits', samples.limitsChange, ADA),
  ofOperator('korora/fence', samples.fence, ADA),
  ofOperator('korora/reinstatement', samples.reinstatement, ADA),
];

/** With what limits say where they are left out. */
function completed(text: string): string {
  const document = JSON.parse(text) as { limits?: object };
  return canonicalJson({ ...document, limits: { stallRounds: 8, autoConverge: null, ...document.limits } });
}

describe.each(CASES)('$name', ({ sample, signer, take, hasDefaults }) => {
  const isWhatWasSigned = (value: unknown) => {
    const document = take(value);
    if (document === undefined) return;
    expect(canonicalJson(document)).toBe(hasDefaults ? completed(saidBy(value)) : saidBy(value));
  };

  it('changed and signed again is that document, or refused', async () => {
    expect(take(await signEnvelope(sample, signer))).toEqual(sample);
    await fc.assert(fc.asyncProperty(jsonEdits, async (edits) => isWhatWasSigned(await signEnvelope(editJson(sample, edits) as typeof sample, signer).catch(() => null))), { numRuns: 60 });
  });

  it('with a member __proto__ in any place, signed or not, is refused', async () => {
    const places = (value: unknown): readonly object[] => (typeof value === 'object' && value !== null ? [value, ...Object.values(value).flatMap(places)] : []);
    const count = places(sample).filter((place) => !Array.isArray(place)).length;
    for (let i = 0; i < count; i++) {
      const changed = structuredClone(sample);
      const place = places(changed).filter((candidate) => !Array.isArray(candidate))[i] as object;
      Object.defineProperty(place, '__proto__', { value: Object.values(place)[0] as unknown, enumerable: true });
      expect([i, take(await signEnvelope(changed, signer))]).toEqual([i, undefined]);
    }
  });

  it('whose envelope is changed is what was signed, or refused', async () => {
    const envelope = await signEnvelope(sample, signer);
    const unlessOther = (value: unknown) => {
      const document = take(value);
      if (document !== undefined) expect(document).toEqual(sample);
    };
    fc.assert(fc.property(jsonEdits, (edits) => unlessOther(editJson(envelope, edits))), { numRuns: 80 });
    const inText = (edits: Parameters<typeof editBytes>[1]) => ({ ...envelope, payload: editBytes(Buffer.from(envelope.payload, 'base64'), edits).toString('base64') });
    fc.assert(fc.property(byteEdits, (edits) => unlessOther(inText(edits))), { numRuns: 60 });
    fc.assert(fc.property(fc.jsonValue(), (value) => take(value) === undefined), { numRuns: 100 });
  });
});

describe('an envelope', () => {
  const [{ take }] = CASES as [Case];
  const withPayload = async (text: string): Promise<Envelope> => ({ ...(await signEnvelope(samples.trustBundle, POLICY_SIGNER)), payload: Buffer.from(text).toString('base64') });

  it.each([
    ['nested deeply', '['.repeat(300_000)],
    ['nested deeply, whole', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`],
    ['one long string', `"${'a'.repeat(1_000_000)}"`],
    ['one long number', '9'.repeat(100_000)],
    ['many members', `{${Array.from({ length: 20_000 }, (_, i) => `"${String(i).padStart(6, '0')}":0`).join(',')}}`],
  ])('with a payload that is %s is refused, in few words', async (_, text) => {
    const value = await withPayload(text);
    expect(take(value)).toBeUndefined();
    expect(() => installBundle(value, 'host-a', 'any signer')).toThrow(/^.{1,3000}$/su);
  });

  it('that is signed twice by one key has one signer, and may be signed by others', async () => {
    const [mine, other] = [await signEnvelope(samples.order, ADA), await signEnvelope(samples.order, GRACE)];
    const twice = { ...mine, signatures: [...mine.signatures, ...mine.signatures, ...other.signatures] };
    expect(signersOf(twice, [ADA.publicKey, POLICY_SIGNER.publicKey])).toEqual([ADA.publicKey]);
    expect(signersOf(twice, [ADA.publicKey, GRACE.publicKey])).toEqual([ADA.publicKey, GRACE.publicKey]);
    // A key's name on another's signature is no signature by it.
    const renamed = { ...mine, signatures: other.signatures.map(({ sig }) => ({ keyid: mine.signatures[0]?.keyid ?? '', sig })) };
    expect(signersOf(renamed, [ADA.publicKey, GRACE.publicKey])).toEqual([]);
    expect(() => openSigned('korora/order', { ...mine, signatures: Array(9).fill(mine.signatures[0]) })).toThrow('ORDER_INVALID');
  });
});
