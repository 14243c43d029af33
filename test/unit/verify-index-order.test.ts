/**
 * What an evidence file says of its order, its trust bundle and its VM document, by files of a move that was refused before anything was
 * attested: there is an order in them, and little else. What cannot be read is told where it stands, by files of a move that went well.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { verifyEvidence } from '../../client/verify/index.js';
import { ReportBuilder } from '../../client/verify/report.js';
import { digestOf } from '../../domain/canonical.js';
import { type Signer, addSignature, keyIdOf, signEnvelope } from '../../domain/envelope.js';
import type { Evidence } from '../../domain/evidence.js';
import { ADA, GRACE, POLICY_SIGNER, SIGNED_FENCE, SOURCE, digest, evidenceOf, orderOf, samples, trustBundleOf } from '../support/documents.js';
import { type SignedMove, signedMove } from '../support/signed-evidence.js';

const NOTHING = { source: null, destination: null };
const SIGNERS = [POLICY_SIGNER.publicKey];

interface Refused {
  readonly order?: Parameters<typeof orderOf>[0];
  readonly by?: Signer;
  readonly evidence?: Parameters<typeof evidenceOf>[0];
  readonly signers?: Parameters<typeof verifyEvidence>[2];
}

async function reportOf({ order, by = ADA, evidence, signers = SIGNERS }: Refused = {}) {
  const file = evidenceOf({
    order: await signEnvelope(orderOf(order), by), attestation: { ...NOTHING, referenceSets: NOTHING }, manifest: null, verdict: null, receipts: NOTHING, rounds: [], fences: [], approval: null, limitsChanges: [],
    timings: { ...samples.evidence.timings, phases: { requested: 0, admitted: 120.5 }, ...NOTHING }, outcome: { kind: 'refused', runsOn: SOURCE, failures: [] }, ...evidence,
  });
  return verifyEvidence(file, await signEnvelope(trustBundleOf(), POLICY_SIGNER), signers);
}

const bundleDigest = () => digestOf(trustBundleOf());
const provenBundle = (by = keyIdOf(POLICY_SIGNER.publicKey)) => ({ field: 'trust bundle', what: `${bundleDigest()}, serial 7`, by });
const byAda = () => `ada, key ${keyIdOf(ADA.publicKey)}`;
const provenOrder = () => ({ field: 'order', what: 'VM web-1, epoch 1, from host-a to host-b, until 2030-01-01T00:00:00Z', by: byAda() });
const provenVm = () => ({ field: 'vm', what: 'the VM document that was ordered to move', by: byAda() });

describe('the file of a move that was refused at once', () => {
  it('proves what was ordered, by whom and under which bundle, and says of all else that nobody signed it', async () => {
    expect(await reportOf()).toEqual({
      standing: 'incomplete',
      summary: 'nothing in it is wrong, but no host signed how the move ended',
      proven: [provenBundle(), provenOrder(), provenVm()],
      problems: [],
      missing: [{ field: 'verdict', why: 'no host signed how the move ended' }],
      unproven: [
        { field: 'attestation.source', why: 'the move ended before it' },
        { field: 'attestation.destination', why: 'the move ended before it' },
        ...['rounds', 'timings.source', 'approval', 'limitsChanges'].map((field) => ({ field, why: 'host-a gave no receipt' })),
        { field: 'timings.destination', why: 'host-b gave no receipt' },
      ],
      told: [
        { field: 'outcome', what: 'refused, VM on host-a' },
        { field: 'timings.startedAtMs', what: '1000' },
        { field: 'timings.endedAtMs', what: '4000' },
        { field: 'timings.phases', what: 'requested 0 ms, admitted 120.5 ms' },
      ],
    });
  });

  it('names the keys that signed the bundle, of those that it might be signed by', async () => {
    const signers = [GRACE.publicKey, POLICY_SIGNER.publicKey];
    expect((await reportOf({ signers })).proven[0]).toEqual(provenBundle(keyIdOf(POLICY_SIGNER.publicKey)));
    const { bundle, evidence } = await signedMove();
    expect(verifyEvidence(evidence, await addSignature(bundle, GRACE), signers).proven[0]?.by).toBe(signers.map(keyIdOf).join(', '));
  });

  it('says that the bundle is believed as it is where no signer was given', async () => {
    const { proven, unproven } = await reportOf({ signers: null });
    expect(proven).toEqual([provenOrder(), provenVm()]);
    expect(unproven[0]).toEqual({ field: 'trust bundle', why: 'no signer was given: it is believed as it is' });
  });
});

describe('an order', () => {
  it('of another trust bundle proves nothing', async () => {
    const { proven, problems } = await reportOf({ order: { bundleDigest: digest(9) } });
    expect(problems).toEqual([{ field: 'order.bundleDigest', problem: `${digest(9)} instead of ${bundleDigest()}` }]);
    expect(proven).toEqual([provenBundle(), provenVm()]);
  });

  it.each<[string, Refused, string]>([
    ['whose operator did not sign it', { by: GRACE }, 'ORDER_NOT_SIGNED: by the trust bundle of this verifier, operator ada did not sign this (korora/order): no signature in it is by the operator’s key'],
    ['of an operator whom the bundle lacks', { order: { by: 'bob' } }, 'ORDER_NOT_SIGNED: by the trust bundle of this verifier, operator bob did not sign this (korora/order): the bundle has no such operator'],
    ['of an operator who may not move VMs', { order: { by: 'grace' }, by: GRACE }, 'OPERATOR_NOT_ALLOWED: the trust bundle of this verifier does not let grace migrate VM web-1 (from host-a to host-b)'],
  ])('%s proves nothing', async (_, file, problem) => {
    const { proven, problems } = await reportOf(file);
    expect(problems).toEqual([{ field: 'order', problem }]);
    expect(proven.map(({ field }) => field)).toEqual(['trust bundle', 'vm']);
  });

  it('that is none leaves nothing else to check', async () => {
    const problem = 'ORDER_INVALID: the order is not valid: payloadType: application/vnd.korora.fence+json instead of application/vnd.korora.order+json';
    expect(await reportOf({ evidence: { order: SIGNED_FENCE } })).toEqual({ standing: 'does-not-hold', summary: 'DOES NOT HOLD', proven: [], problems: [{ field: 'order', problem }], missing: [], unproven: [], told: [] });
  });

  it('that was to move another VM document does not prove this one', async () => {
    const { proven, problems } = await reportOf({ evidence: { vm: { ...samples.vm, memoryBytes: 512 * 1024 * 1024 } } });
    expect(problems).toEqual([{ field: 'vm', problem: 'it is not the document that was ordered to move' }]);
    expect(proven).toEqual([provenBundle(), provenOrder()]);
  });
});

describe('what there is nothing to check in', () => {
  it('is refused: a file that is no evidence', async () => {
    const bundle = await signEnvelope(trustBundleOf(), POLICY_SIGNER);
    const verify = () => verifyEvidence({ ...samples.evidence, version: 1 }, bundle, SIGNERS);
    expect(verify).toThrow(expect.objectContaining({ code: 'EVIDENCE_INVALID', message: 'EVIDENCE_INVALID: the evidence file is not valid: version: Invalid input: expected 2' }));
  });

  it('is refused: a bundle that is none, or that another signed', async () => {
    const ofAda = await signEnvelope(trustBundleOf(), ADA);
    const none = await signEnvelope(orderOf(), POLICY_SIGNER);
    expect(() => verifyEvidence(samples.evidence, ofAda, SIGNERS)).toThrow(`BUNDLE_NOT_SIGNED: the trust bundle of this verifier is signed by ${keyIdOf(ADA.publicKey)}; pinned there is ${keyIdOf(POLICY_SIGNER.publicKey)}`);
    expect(() => verifyEvidence(samples.evidence, none, SIGNERS)).toThrow('BUNDLE_INVALID: the trust bundle of this verifier is not valid: payloadType: application/vnd.korora.order+json instead of application/vnd.korora.trust-bundle+json');
  });
});

describe('a quote that cannot be read', () => {
  const unreadable = { attest: '', signature: '' };
  const problem = (host: string) => `EVIDENCE_MALFORMED: the evidence of ${host} cannot be read: sigAlg at byte 0: 2 bytes wanted, 0 left`;

  it.each<[string, string, (evidence: Evidence) => Partial<Evidence>, readonly string[]]>([
    ['attestation of the source', 'host-a', ({ attestation }) => ({ attestation: { ...attestation, source: attestation.source && { ...attestation.source, quote: unreadable } } }), ['attestation.source', 'receipts.source']],
    ['attestation of the destination', 'host-b', ({ attestation }) => ({ attestation: { ...attestation, destination: attestation.destination && { ...attestation.destination, quote: unreadable } } }), ['attestation.destination', 'verdict', 'receipts.destination']],
    ['verdict', 'host-b', ({ verdict }) => ({ verdict: verdict && { ...verdict, quote: unreadable } }), ['verdict']],
    ['receipt of the source', 'host-a', ({ receipts }) => ({ receipts: { ...receipts, source: receipts.source && { ...receipts.source, quote: unreadable } } }), ['receipts.source']],
    ['receipt of the destination', 'host-b', ({ receipts }) => ({ receipts: { ...receipts, destination: receipts.destination && { ...receipts.destination, quote: unreadable } } }), ['receipts.destination']],
  ])('is told where it stands, and wherever it is needed: %s', async (_, host, changes, fields) => {
    const { evidence, bundle } = await signedMove();
    expect(verifyEvidence({ ...evidence, ...changes(evidence) }, bundle, SIGNERS).problems).toEqual(fields.map((field) => ({ field, problem: problem(host) })));
  });

  it('is told where it stands: succession', async () => {
    const { evidence, bundle }: SignedMove = await signedMove({ succession: {} });
    const succession = evidence.succession && { ...evidence.succession, quote: unreadable };
    expect(verifyEvidence({ ...evidence, succession }, bundle, SIGNERS).problems).toEqual([{ field: 'succession', problem: problem('host-b') }]);
  });
});

describe('that nobody but the hosts can tell how fresh nonces are', () => {
  const nonces = async (attestation: object) => (await reportOf({ evidence: { attestation: { ...NOTHING, referenceSets: NOTHING, ...attestation } } })).unproven.filter(({ field }) => field === 'nonces');

  it.each<[string, object]>([
    ['the source', { source: samples.sourceEvidence }],
    ['the destination', { destination: samples.destinationEvidence }],
    ['both', { source: samples.sourceEvidence, destination: samples.destinationEvidence }],
  ])('is said once where %s attested', async (_, attestation) => {
    expect(await nonces(attestation)).toEqual([{ field: 'nonces', why: 'whether they were fresh: each host checked its own' }]);
  });

  it('is not said where nobody attested anything', async () => {
    expect(await nonces({})).toEqual([]);
  });
});

describe('a fault of the verifier itself', () => {
  afterEach(() => vi.restoreAllMocks());

  it('is thrown, and blamed on no file', async () => {
    vi.spyOn(ReportBuilder.prototype, 'leaves').mockImplementation(() => {
      throw new TypeError('out of order');
    });
    await expect(reportOf()).rejects.toThrow(new TypeError('out of order'));
  });
});
