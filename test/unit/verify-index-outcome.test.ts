/** What an evidence file says of the outcome, against what hosts signed: by files of a move whose other parts are all as they were signed. */
import { describe, expect, it } from 'vitest';
import { type EvidenceReport, verifyEvidence } from '../../client/verify/index.js';
import type { Evidence } from '../../domain/evidence.js';
import { signEnvelope } from '../../domain/envelope.js';
import { ADA, DESTINATION, POLICY_SIGNER, SOURCE, evidenceOf, orderOf, samples, trustBundleOf } from '../support/documents.js';
import { type OtherwiseSigned, signedMove } from '../support/signed-evidence.js';

const NOTHING = { source: null, destination: null };
const REJECTED: OtherwiseSigned = { verdict: { verdict: 'rejected', manifestDigest: null, reason: 'the digest differs' } };
type Outcome = Evidence['outcome'];
const RESUMED: Outcome = { kind: 'source-resumed', runsOn: SOURCE, failures: [] };

async function reportOf(signed: OtherwiseSigned = {}, changes: (evidence: Evidence) => Partial<Evidence> = () => ({})): Promise<EvidenceReport> {
  const { evidence, bundle } = await signedMove(signed);
  return verifyEvidence({ ...evidence, ...changes(evidence) }, bundle, [POLICY_SIGNER.publicKey]);
}
const withOutcome = (changes: Partial<Outcome>) => ({ outcome }: Evidence) => ({ outcome: { ...outcome, ...changes } });
const of = <T extends { readonly field: string }>(entries: readonly T[], field: string) => entries.filter((entry) => entry.field === field);

describe('an outcome that what hosts signed speaks against', () => {
  it.each(['refused', 'source-resumed'] as const)('%s, of a move that the destination accepted', async (kind) => {
    expect((await reportOf({}, withOutcome({ kind }))).problems).toEqual([{ field: 'outcome.kind', problem: `${kind}, and the destination accepted` }]);
  });

  it('moved, of a move that the destination rejected', async () => {
    const { problems } = await reportOf(REJECTED, ({ outcome }) => ({ receipts: NOTHING, outcome: { ...outcome, runsOn: SOURCE } }));
    expect(problems).toEqual([{ field: 'outcome.kind', problem: 'moved, and the destination did not accept' }]);
  });

  it('a VM on the source, of a move that the destination accepted', async () => {
    expect((await reportOf({}, withOutcome({ runsOn: SOURCE }))).problems).toEqual([{ field: 'outcome.runsOn', problem: 'host-a instead of host-b' }]);
  });

  it('a VM on the destination, of a move that it rejected', async () => {
    const { problems } = await reportOf(REJECTED, () => ({ receipts: NOTHING, outcome: { ...RESUMED, runsOn: DESTINATION } }));
    expect(problems).toEqual([{ field: 'outcome.runsOn', problem: 'host-b instead of host-a' }]);
  });

  it('a VM on the source, of a move after which the destination owned it', async () => {
    expect((await reportOf({ succession: {} }, withOutcome({ runsOn: SOURCE }))).problems).toEqual([{ field: 'outcome.runsOn', problem: 'host-a instead of host-b' }]);
  });
});

describe('that the VM runs', () => {
  const unsigned = [{ field: 'outcome.runsOn', why: 'no host signed that the VM runs' }];

  it.each<[string, OtherwiseSigned, (evidence: Evidence) => Partial<Evidence>]>([
    ['the destination rejected the move', REJECTED, () => ({ receipts: NOTHING, outcome: RESUMED })],
    ['the destination rejected the move, whose receipts stand there nevertheless', REJECTED, () => ({ outcome: RESUMED })],
    ['the destination gave no receipt', {}, ({ receipts }) => ({ receipts: { ...receipts, destination: null } })],
    ['the file does not say where', {}, withOutcome({ runsOn: null })],
  ])('is signed by nobody where %s', async (_, signed, changes) => {
    const { unproven, told } = await reportOf(signed, changes);
    expect(of(unproven, 'outcome.runsOn')).toEqual(unsigned);
    expect(of(told, 'outcome')).toEqual([]);
  });

  it('is left open by no file in which the destination signed it', async () => {
    const { unproven, told } = await reportOf();
    expect(unproven.map(({ field }) => field)).toEqual(['nonces']);
    expect(of(told, 'outcome')).toEqual([]);
  });

  it('is told by the control plane alone where there is no verdict', async () => {
    const { unproven, told } = await reportOf({ succession: {} });
    expect(of(told, 'outcome')).toEqual([{ field: 'outcome', what: 'moved, VM on a host that nobody named' }]);
    expect(of(unproven, 'outcome.runsOn')).toEqual([]);
  });
});

describe('failures', () => {
  it('are told one after the other', async () => {
    const failures = [{ code: 'CHANNEL_LOST', message: 'the channel broke', remedy: 'Look at the network.' }, { code: 'VM_PAUSED', message: 'the VM is paused', remedy: 'Resume it.' }];
    expect(of((await reportOf({}, withOutcome({ failures }))).told, 'outcome.failures')).toEqual([{ field: 'outcome.failures', what: 'CHANNEL_LOST: the channel broke; VM_PAUSED: the VM is paused' }]);
  });

  it('are not told where there are none', async () => {
    expect(of((await reportOf({}, withOutcome({ failures: [] }))).told, 'outcome.failures')).toEqual([]);
  });
});

describe('an approval', () => {
  const MISSING = [{ field: 'approval', problem: 'the order asks for one' }];

  it('is missing in a move that was accepted without the one that its order asks for', async () => {
    expect(of((await reportOf({}, () => ({ approval: null }))).problems, 'approval')).toEqual(MISSING);
  });

  it('is not missing in a move that was rejected before it came to one', async () => {
    const { problems } = await reportOf(REJECTED, () => ({ approval: null, receipts: NOTHING, outcome: RESUMED }));
    expect(problems).toEqual([]);
  });

  /** Everything in such a file is of another order than its attestations and receipts name, which is told of them. */
  it.each([[false, []], [true, MISSING]])('is missing where the order asks for one (%s), in a move that was accepted', async (requiresApproval, expected) => {
    const order = await signEnvelope(orderOf({ requiresApproval }), ADA);
    const { problems } = await reportOf({}, () => ({ order, approval: null }));
    expect(of(problems, 'approval')).toEqual(expected);
  });

  it.each([false, true])('is not missing in a move that was refused, whether or not the order asks for one (%s)', async (requiresApproval) => {
    const order = await signEnvelope(orderOf({ requiresApproval }), ADA);
    const evidence = evidenceOf({
      order, attestation: { ...NOTHING, referenceSets: NOTHING }, manifest: null, verdict: null, receipts: NOTHING, fences: [], approval: null, limitsChanges: [],
      timings: { ...samples.evidence.timings, ...NOTHING }, outcome: { kind: 'refused', runsOn: SOURCE, failures: [] },
    });
    expect(verifyEvidence(evidence, await signEnvelope(trustBundleOf(), POLICY_SIGNER), null).problems).toEqual([]);
  });
});
