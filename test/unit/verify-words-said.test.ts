/** What operators said of a move, as an auditor reads it in its evidence file: each word is of the move, by an operator who might say it. */
import { describe, expect, it } from 'vitest';
import { verifyEvidence } from '../../client/verify/index.js';
import { digestOf } from '../../domain/canonical.js';
import { type Envelope, type Signer, keyIdOf, signEnvelope } from '../../domain/envelope.js';
import { ADA, GRACE, POLICY_SIGNER, SIGNED_FENCE, SOURCE, approvalOf, digest, evidenceOf, fenceOf, limitsChangeOf, migrationId, orderOf, samples, startOrderOf, trustBundleOf } from '../support/documents.js';

const NOTHING = { source: null, destination: null };
const WORDS = ['fences', 'limitsChanges', 'approval'];

interface Words {
  readonly fences?: readonly Envelope[];
  readonly limitsChanges?: readonly Envelope[];
  readonly approval?: Envelope;
}

/** Of a move that was refused, and of which nothing is said but these words: what is found in them, and nothing else. */
async function foundIn({ fences = [], limitsChanges = [], approval }: Words, parameters: object = {}) {
  const bundle = trustBundleOf({ parameters: { ...samples.trustBundle.parameters, ...parameters } });
  const order = await signEnvelope(orderOf({ bundleDigest: digestOf(bundle) }), ADA);
  const heard = (envelopes: readonly Envelope[]) => envelopes.map((envelope, i) => ({ envelope, atMs: 2_000 + i }));
  const evidence = evidenceOf({
    order, attestation: { ...NOTHING, referenceSets: NOTHING }, manifest: null, verdict: null, receipts: NOTHING, rounds: [], timings: { ...samples.evidence.timings, ...NOTHING }, outcome: { kind: 'refused', runsOn: SOURCE, failures: [] },
    fences: heard(fences), limitsChanges: heard(limitsChanges), approval: approval ? { envelope: approval, atMs: 2_900 } : null,
  });
  const { proven, problems, told } = verifyEvidence(evidence, await signEnvelope(bundle, POLICY_SIGNER), [POLICY_SIGNER.publicKey]);
  const ofWords = <T extends { readonly field: string }>(entries: readonly T[]) => entries.filter(({ field }) => WORDS.some((word) => field.startsWith(word)));
  return { proven: ofWords(proven), problems, told: ofWords(told) };
}

const keyed = (name: string, { publicKey }: Signer) => `${name}, key ${keyIdOf(publicKey)}`;
/** Under the parameters that foundIn gives the bundle. */
const orderDigest = (parameters: object = {}) => digestOf(orderOf({ bundleDigest: digestOf(trustBundleOf({ parameters: { ...samples.trustBundle.parameters, ...parameters } })) }));

describe('a word', () => {
  it('that an operator might say is proven by the key of that operator, and told is when it was heard', async () => {
    const limits = { ...samples.order.limits, downtimeLimitMs: 250 };
    const found = await foundIn({
      fences: [SIGNED_FENCE, await signEnvelope(fenceOf({ host: SOURCE, reason: 'its disk burns' }), ADA)],
      limitsChanges: [await signEnvelope(limitsChangeOf(), ADA), await signEnvelope(limitsChangeOf({ limits }), ADA)],
      approval: await signEnvelope(approvalOf({ orderDigest: orderDigest() }), GRACE),
    });
    expect(found).toEqual({
      proven: [
        { field: 'fences.0', what: 'host-b is powered off: its power is cut', by: keyed('ada', ADA) },
        { field: 'fences.1', what: 'host-a is powered off: its disk burns', by: keyed('ada', ADA) },
        { field: 'limitsChanges.0', what: 'other limits: {"downtimeLimitMs":300,"bandwidthBytesPerSecond":125000000,"maxRounds":200,"stallRounds":8,"autoConverge":null}', by: keyed('ada', ADA) },
        { field: 'limitsChanges.1', what: 'other limits: {"downtimeLimitMs":250,"bandwidthBytesPerSecond":125000000,"maxRounds":200,"stallRounds":8,"autoConverge":null}', by: keyed('ada', ADA) },
        { field: 'approval', what: 'the move may stop the source', by: keyed('grace', GRACE) },
      ],
      problems: [],
      told: [
        { field: 'fences.0.atMs', what: 'it was heard at 2000' },
        { field: 'fences.1.atMs', what: 'it was heard at 2001' },
        { field: 'limitsChanges.0.atMs', what: 'it was heard at 2000' },
        { field: 'limitsChanges.1.atMs', what: 'it was heard at 2001' },
        { field: 'approval.atMs', what: 'it was heard at 2900' },
      ],
    });
  });

  it('is not found where nobody said one', async () => {
    expect(await foundIn({})).toEqual({ proven: [], problems: [], told: [] });
  });
});

describe('a word that proves nothing', () => {
  const KINDS: readonly [string, string, (changes: object, signer?: Signer) => Promise<Words>][] = [
    ['korora/fence', 'fences.0', async (changes, signer = ADA) => ({ fences: [await signEnvelope(fenceOf(changes), signer)] })],
    ['korora/limits', 'limitsChanges.0', async (changes, signer = ADA) => ({ limitsChanges: [await signEnvelope(limitsChangeOf(changes), signer)] })],
    ['korora/approval', 'approval', async (changes, signer = GRACE) => ({ approval: await signEnvelope(approvalOf({ orderDigest: orderDigest(), ...changes }), signer) })],
  ];

  describe.each(KINDS)('%s', (kind, field, wordOf) => {
    it('is of another move', async () => {
      const { proven, problems } = await foundIn(await wordOf({ migrationId: migrationId(9) }));
      expect(problems).toEqual([{ field: `${field}.migrationId`, problem: `${migrationId(9)} instead of ${migrationId(1)}` }]);
      expect(proven).toEqual([]);
    });

    it('is of another VM', async () => {
      const { proven, problems } = await foundIn(await wordOf({ vmId: 'web-2' }));
      expect(problems).toEqual([{ field: `${field}.vmId`, problem: 'web-2 instead of web-1' }]);
      expect(proven).toEqual([]);
    });

    it('is not signed by whom it names', async () => {
      const { proven, problems } = await foundIn(await wordOf({}, POLICY_SIGNER));
      const by = kind === 'korora/approval' ? 'grace' : 'ada';
      expect(problems).toEqual([{ field, problem: `ORDER_NOT_SIGNED: by the trust bundle of this verifier, operator ${by} did not sign this (${kind}): no signature in it is by the operator’s key` }]);
      expect(proven).toEqual([]);
    });

    it('is of another kind', async () => {
      const start = await signEnvelope(startOrderOf(), ADA);
      const word = Object.entries(await wordOf({})).map(([name, said]) => [name, Array.isArray(said) ? [start] : start] as const);
      const { proven, problems } = await foundIn(Object.fromEntries(word) as Words);
      const type = (of: string) => `application/vnd.korora.${of.replace('korora/', '')}+json`;
      expect(problems).toEqual([{ field, problem: `ORDER_INVALID: the order is not valid: payloadType: ${type('start')} instead of ${type(kind)}` }]);
      expect(proven).toEqual([]);
    });
  });

  it.each<[string, string, string, (by: Signer) => Promise<Words>]>([
    ['a fence', 'fences.0', 'grace fence VM web-1 (host-b)', async (by) => ({ fences: [await signEnvelope(fenceOf({ by: 'grace' }), by)] })],
    ['limits', 'limitsChanges.0', 'grace migrate VM web-1 (from host-a to host-b)', async (by) => ({ limitsChanges: [await signEnvelope(limitsChangeOf({ by: 'grace' }), by)] })],
  ])('%s of an operator who may only approve', async (_, field, what, words) => {
    const { proven, problems } = await foundIn(await words(GRACE));
    expect(problems).toEqual([{ field, problem: `OPERATOR_NOT_ALLOWED: the trust bundle of this verifier does not let ${what}` }]);
    expect(proven).toEqual([]);
  });

  it('is told of with everything that is wrong with it', async () => {
    const { proven, problems } = await foundIn({ fences: [await signEnvelope(fenceOf({ vmId: 'web-2' }), GRACE)] });
    expect(problems.map(({ field }) => field)).toEqual(['fences.0.vmId', 'fences.0']);
    expect(proven).toEqual([]);
  });
});

describe('a fence', () => {
  it('is of a host of the move', async () => {
    const { proven, problems } = await foundIn({ fences: [await signEnvelope(fenceOf({ host: 'host-c' }), ADA)] });
    expect(problems).toEqual([{ field: 'fences.0', problem: 'host-c is no host of this move' }]);
    expect(proven).toEqual([]);
  });
});

describe('an approval', () => {
  it('is of the order that it names', async () => {
    const { problems, proven } = await foundIn({ approval: await signEnvelope(approvalOf({ orderDigest: digest(9) }), GRACE) });
    expect(problems).toEqual([{ field: 'approval.orderDigest', problem: `${digest(9)} instead of ${orderDigest()}` }]);
    expect(proven).toEqual([]);
  });

  it.each([[true, [{ field: 'approval', problem: 'ada ordered the move' }]], [false, []]])('by whom ordered the move is wrong where another is to approve (%s)', async (approverMustDiffer, expected) => {
    const approval = await signEnvelope(approvalOf({ by: 'ada', orderDigest: orderDigest({ approverMustDiffer }) }), ADA);
    const { problems, proven } = await foundIn({ approval }, { approverMustDiffer });
    expect(problems).toEqual(expected);
    expect(proven.map(({ field }) => field)).toEqual(approverMustDiffer ? [] : ['approval']);
  });
});
