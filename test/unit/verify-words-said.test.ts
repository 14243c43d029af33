/** client/verify/index.ts, words.ts and case.ts: what is said of the order, of operators' words and of the outcome, to the letter. */
import { describe, expect, it } from 'vitest';
import { verifyEvidence } from '../../client/index.js';
import { digestOf } from '../../domain/canonical.js';
import { type Signer, keyIdOf, signEnvelope } from '../../domain/envelope.js';
import type { Evidence } from '../../domain/evidence.js';
import type { Order } from '../../domain/order.js';
import { installBundle } from '../../domain/trust-bundle.js';
import { ADA, DESTINATION, GRACE, POLICY_SIGNER, SOURCE, approvalOf, digest, fenceOf, limitsChangeOf, migrationId, orderOf } from '../support/documents.js';
import { fieldsOf, saidOfMove, verified } from '../support/reports.js';
import { signedMove } from '../support/signed-evidence.js';

const BY_ADA = `[ada, key ${keyIdOf(ADA.publicKey)}]`;
const BY_GRACE = `[grace, key ${keyIdOf(GRACE.publicKey)}]`;
const NONE = { source: null, destination: null };
const REJECTED = { verdict: { verdict: 'rejected', manifestDigest: null, reason: 'the digest differs' } };
const outcome = (changes: Partial<Evidence['outcome']>): { outcome: Evidence['outcome'] } => ({ outcome: { kind: 'moved', runsOn: DESTINATION, failures: [], ...changes } });
const RESUMED = { receipts: NONE, ...outcome({ kind: 'source-resumed', runsOn: SOURCE }) };
const REFUSED = { manifest: null, verdict: null, receipts: NONE, ...outcome({ kind: 'refused', runsOn: SOURCE }) };
const LIMITS = '{"downtimeLimitMs":300,"bandwidthBytesPerSecond":125000000,"maxRounds":200,"stallRounds":8,"autoConverge":null}';
const NO_JSON = Buffer.from('no JSON').toString('base64');
const RUNS_UNSIGNED = 'outcome.runsOn: no host signed that the VM runs';

/** A good move told with another order, by whoever signs it. */
async function withOrder(changes: Partial<Record<keyof Order, unknown>>, signer: Signer = ADA) {
  const { evidence, bundle } = await signedMove();
  const order = orderOf({ bundleDigest: digestOf(installBundle(bundle, 'here', 'any signer').bundle), requiresApproval: true, ...changes });
  return verified({ ...evidence, order: await signEnvelope(order, signer) }, bundle);
}

describe('an order', () => {
  it('is proven by its operator, the bundle by its signer', async () => {
    const { bundle } = await signedMove();
    const { digest: bundleDigest } = installBundle(bundle, 'here', 'any signer');
    expect((await saidOfMove()).proven.slice(1, 3)).toEqual([`order: VM web-1, epoch 1, from host-a to host-b, until 2030-01-01T00:00:00Z ${BY_ADA}`, `vm: the VM document that was ordered to move ${BY_ADA}`]);
    const { evidence } = await signedMove();
    const signers = [POLICY_SIGNER.publicKey, GRACE.publicKey];
    expect(verified(evidence, bundle, signers).proven[0]).toBe(`trust bundle: ${bundleDigest}, serial 7 [${signers.map(keyIdOf).join(', ')}]`);
  });

  it('is believed by a bundle that nobody’s key is given for, which is said', async () => {
    const { evidence, bundle } = await signedMove();
    const said = verified(evidence, bundle, null);
    expect(said.unproven).toEqual(['trust bundle: no signer was given: it is believed as it is', 'nonces: whether they were fresh: each host checked its own']);
    expect(fieldsOf(said)).not.toContain('trust bundle');
  });

  it('of another bundle is not proven', async () => {
    const said = await withOrder({ bundleDigest: digest(9) });
    expect(said.problems[0]).toMatch(new RegExp(`^order\\.bundleDigest: ${digest(9)} instead of [0-9a-f]{64}$`));
    expect(fieldsOf(said)).not.toContain('order');
  });

  it('that its operator did not sign, may not give, or who is none, is not proven', async () => {
    const ways = [await withOrder({}, GRACE), await withOrder({ by: 'grace' }, GRACE), await withOrder({ by: 'mallory' })];
    expect(ways.map(({ problems }) => problems[0]?.slice(0, 29))).toEqual(['order: ORDER_NOT_SIGNED: it i', 'order: OPERATOR_NOT_ALLOWED: ', 'order: ORDER_NOT_SIGNED: it i'].map((text) => expect.stringMatching(new RegExp(`^${text.slice(0, 23)}`)) as string));
    for (const said of ways) expect(fieldsOf(said)).not.toContain('order');
    expect(ways[2]?.proven).toContain('vm: the VM document that was ordered to move [mallory]');
  });

  it('of another VM document is not what moved', async () => {
    const said = await withOrder({ vmDigest: digest(9) });
    expect(said.problems).toContain('vm: it is not the document that was ordered to move');
    expect(fieldsOf(said)).not.toContain('vm');
  });

  it('that cannot be read is one thing wrong, and nothing more is said', async () => {
    const { evidence, bundle } = await signedMove();
    const said = verified({ ...evidence, order: { ...evidence.order, payload: NO_JSON } }, bundle);
    expect(said).toMatchObject({ proven: [], unproven: [], missing: [], told: [], problems: [expect.stringMatching(/^order: ORDER_INVALID: the order is not valid: payload: .*JSON/)] });
  });
});

describe('a quote that cannot be read', () => {
  it.each(['attestation.source', 'attestation.destination', 'verdict', 'succession', 'receipts.source', 'receipts.destination'] as const)('is wrong in its place: %s', async (field) => {
    const { evidence, bundle } = await signedMove(field === 'succession' ? { succession: {} } : {});
    const cut = structuredClone(evidence) as unknown as Record<string, Record<string, { quote: { attest: string } }> & { quote: { attest: string } }>;
    const [first = '', second] = field.split('.');
    const holder = second ? cut[first]?.[second] : cut[first];
    if (!holder) throw new Error(`no ${field}`);
    holder.quote.attest = 'AAAA';
    const said = verified(cut, bundle);
    expect(said.problems).toContainEqual(expect.stringMatching(new RegExp(`^${field}: EVIDENCE_MALFORMED: .*host-[ab].*: \\S+ at byte 0: `)));
    expect(fieldsOf(said)).not.toContain(field);
  });
});

describe('what operators said', () => {
  const heard = async (changes: (evidence: Evidence) => Partial<Evidence> | Promise<Partial<Evidence>>) => {
    const { evidence, bundle } = await signedMove();
    return verified({ ...evidence, ...(await changes(evidence)) }, bundle);
  };
  const orderDigestIn = (evidence: Evidence) => digestOf(JSON.parse(Buffer.from(evidence.order.payload, 'base64').toString('utf8')));
  const approving = (changes: Partial<Record<string, unknown>>, signer: Signer = GRACE) =>
    heard(async (evidence) => ({ approval: { envelope: await signEnvelope(approvalOf({ orderDigest: orderDigestIn(evidence), ...changes }), signer), atMs: 7 } }));

  it('is proven by their keys, each word in its place; when it was heard is told', async () => {
    const said = await saidOfMove();
    expect(said.proven.slice(-3)).toEqual([`fences.0: host-b is powered off: its power is cut ${BY_ADA}`, `limitsChanges.0: other limits: ${LIMITS} ${BY_ADA}`, `approval: the move may stop the source ${BY_GRACE}`]);
    expect(said.told.slice(0, 3)).toEqual(['fences.0.atMs: it was heard at 3095', 'limitsChanges.0.atMs: it was heard at 2000', 'approval.atMs: it was heard at 2900']);
  });

  it('of another move is not proven', async () => {
    const others = { migrationId: migrationId(9), vmId: 'web-2' };
    const fences = [fenceOf({ migrationId: others.migrationId }), fenceOf({ vmId: others.vmId })];
    const said = await heard(async () => ({ fences: await Promise.all(fences.map(async (fence) => ({ envelope: await signEnvelope(fence, ADA), atMs: 1 }))) }));
    expect(said.problems).toEqual([`fences.0.migrationId: ${others.migrationId} instead of ${migrationId(1)}`, 'fences.1.vmId: web-2 instead of web-1']);
    expect(fieldsOf(said).join()).not.toContain('fences');
  });

  it('without authority is not proven, whatever it says', async () => {
    const said = await heard(async () => ({ limitsChanges: [{ envelope: await signEnvelope(limitsChangeOf({ by: 'grace' }), GRACE), atMs: 1 }] }));
    expect(said.problems).toContainEqual(expect.stringMatching(/^limitsChanges\.0: OPERATOR_NOT_ALLOWED: /));
    expect(fieldsOf(said).join()).not.toContain('limitsChanges');
  });

  it('that cannot be read is wrong in its place', async () => {
    const said = await heard(({ fences: [fence] }) => ({ fences: fence ? [{ ...fence, envelope: { ...fence.envelope, payload: NO_JSON } }] : [] }));
    expect(said.problems).toEqual([expect.stringMatching(/^fences\.0: ORDER_INVALID: the order is not valid: payload: .*JSON/)]);
  });

  it('as an approval is of this order, and by another than ordered it', async () => {
    expect((await approving({})).problems.join()).not.toMatch(/(?:^|,)approval/);
    expect((await approving({ orderDigest: digest(9) })).problems).toContainEqual(expect.stringMatching(new RegExp(`^approval\\.orderDigest: ${digest(9)} instead of [0-9a-f]{64}$`)));
    expect((await approving({ by: 'ada' }, ADA)).problems).toContain('approval: ada ordered the move');
  });

  it('is an approval where the order asks for one and the move was accepted', async () => {
    expect((await heard(() => ({ approval: null }))).problems).toContain('approval: the order asks for one');
    expect((await saidOfMove(REJECTED, { ...RESUMED, approval: null })).problems).toEqual([]);
    expect((await saidOfMove({}, { ...REFUSED, approval: null })).problems).toEqual([]);
  });
});

describe('an outcome', () => {
  it('is of what the destination signed', async () => {
    expect((await saidOfMove({}, outcome({ kind: 'refused' }))).problems).toEqual(['outcome.kind: refused, and the destination accepted']);
    expect((await saidOfMove(REJECTED, { ...RESUMED, ...outcome({ runsOn: SOURCE }) })).problems).toContain('outcome.kind: moved, and the destination did not accept');
  });

  it('is where the VM runs: at the destination once it accepted, at the source else', async () => {
    expect((await saidOfMove({}, outcome({ runsOn: SOURCE }))).problems).toEqual(['outcome.runsOn: host-a instead of host-b']);
    expect((await saidOfMove(REJECTED, { ...RESUMED, ...outcome({ kind: 'source-resumed' }) })).problems).toEqual(['outcome.runsOn: host-b instead of host-a']);
    expect((await saidOfMove({ succession: {} }, outcome({ runsOn: SOURCE }))).problems).toEqual(['outcome.runsOn: host-a instead of host-b']);
  });

  it('of a move without a verdict is the control plane’s word alone', async () => {
    expect((await saidOfMove({}, REFUSED)).told).toContain('outcome: refused, VM on host-a');
    expect((await saidOfMove({}, { ...REFUSED, ...outcome({ kind: 'refused', runsOn: null }) })).told).toContain('outcome: refused, VM on a host that nobody named');
    expect((await saidOfMove()).told.join()).not.toContain('outcome: ');
  });

  it('leaves open whether the VM runs where nobody signed that it does', async () => {
    expect((await saidOfMove()).unproven).not.toContain(RUNS_UNSIGNED);
    expect((await saidOfMove({}, ({ receipts }) => ({ receipts: { ...receipts, destination: null } }))).unproven).toContain(RUNS_UNSIGNED);
    expect((await saidOfMove({}, outcome({ runsOn: null }))).unproven).toContain(RUNS_UNSIGNED);
    expect((await saidOfMove(REJECTED, RESUMED)).unproven).toContain(RUNS_UNSIGNED);
  });

  it('is told with its failures, its times and its phases', async () => {
    const failures = [{ code: 'CHANNEL_LOST', message: 'reset', remedy: 'a' }, { code: 'ABORTED', message: 'by ada', remedy: 'b' }] as const;
    const times = ['timings.startedAtMs: 1000', 'timings.endedAtMs: 4000', 'timings.phases: requested 0 ms, admitted 120.5 ms, retired 2900 ms'];
    const heard = 3;
    expect((await saidOfMove({}, outcome({ failures: [...failures] as never }))).told.slice(heard)).toEqual(['outcome.failures: CHANNEL_LOST: reset; ABORTED: by ada', ...times]);
    expect((await saidOfMove({}, outcome({}))).told.slice(heard)).toEqual(times);
  });
});

describe('what is no evidence, or no bundle', () => {
  it('is refused', async () => {
    const { evidence, bundle } = await signedMove();
    expect(() => verifyEvidence({}, bundle, null)).toThrow(expect.objectContaining({ code: 'EVIDENCE_INVALID' }));
    expect(() => verifyEvidence(evidence, bundle, [ADA.publicKey])).toThrow(expect.objectContaining({ code: 'BUNDLE_NOT_SIGNED', message: expect.stringContaining('this verifier') as string }));
  });
});
