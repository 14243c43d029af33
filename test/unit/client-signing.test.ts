/**
 * Nobody signs what he was not shown: a client before a Temporal that lies to it. What is signed is what operators and hosts signed, whatever was
 * told; it is shown first, and what does not hold is not signed at all.
 */
import { describe, expect, it } from 'vitest';
import { type KororaClient, type Shown, createKororaClient } from '../../client/index.js';
import { openSigned } from '../../domain/authority.js';
import { canonicalJson, digestOf } from '../../domain/canonical.js';
import { type Envelope, type Signer, signEnvelope } from '../../domain/envelope.js';
import type { HostSurvey, VmSurvey } from '../../domain/status.js';
import { type ShownSurvey, type SurveyQuestionTo, ledgerDigestOf } from '../../domain/survey.js';
import type { TrustBundle } from '../../domain/trust-bundle.js';
import { PEER_BOOT, SIGNED_ORDER, ADA, DESTINATION, GRACE, SOURCE, VM, digest, hostEntryOf, limitsChangeOf, migrationId, orderOf, samples, trustBundleOf, vmDocument } from '../support/documents.js';
import { AKS, HOSTS, type Told, envelopesIn, hostileTemporal, ledgerOn, quoted, recordOn, shownVmOn } from '../support/hostile-temporal.js';
import { refusalOf } from '../support/refusal.js';
import { testSigner } from '../support/signers.js';

const bundle = trustBundleOf({ hosts: HOSTS });
const vm = vmDocument();
const order = orderOf({ bundleDigest: digestOf(bundle), requiresApproval: true });
/** An honest one, of a move that waits. */
const status = { migrationId: order.migrationId, order: await signEnvelope(order, ADA), vm, limitsChange: null as Envelope | null, vmId: VM, source: SOURCE, destination: DESTINATION, limits: order.limits, orderDigest: digestOf(order) };

const vmAt = (hostId: VmSurvey['hostId'], changes: Partial<VmSurvey> = {}): VmSurvey => ({ vmId: VM, hostId, ownership: 'owner', epoch: 1, status: 'running', mayRun: true, recordProblem: null, move: null, vm, consolePath: null, ...changes });
const hostWith = (hostId: VmSurvey['hostId'], ...vms: readonly VmSurvey[]): HostSurvey => ({ hostId, reachable: true, bundleDigest: null, hypervisor: 'none', swtpm: 'none', pcrValues: {}, pcrProblem: null, availableMemoryBytes: 0, vms, failures: [], findings: [] });
/** What the host shows of itself. */
const survey = ({ hostId, vmId }: SurveyQuestionTo): ShownSurvey => ({ hostId, vm: vmId && shownVmOn(hostId), ledger: vmId === null ? ledgerOn(hostId) : null });
const honest: Told = { status, surveys: [hostWith(SOURCE, vmAt(SOURCE)), hostWith(DESTINATION)], survey: (question) => quoted(survey(question), question) };

interface Tried {
  readonly refusal: string | null;
  /** What was signed, as it was sent. */
  readonly sent: readonly Envelope[];
  readonly shown: readonly Shown[];
  readonly signatures: number;
}

async function tried(use: (client: KororaClient) => Promise<unknown>, told: Told, { isConfirmed = true, under = bundle, by = ADA }: { readonly isConfirmed?: boolean; readonly under?: TrustBundle; readonly by?: Signer } = {}): Promise<Tried> {
  const { client, heard } = hostileTemporal({ ...honest, ...told });
  const shown: Shown[] = [];
  let signatures = 0;
  const signer: Signer = {
    publicKey: by.publicKey,
    sign(message) {
      signatures += 1;
      return by.sign(message);
    },
  };
  const confirm = (one: Shown) => {
    shown.push(one);
    return Promise.resolve(isConfirmed);
  };
  const korora = createKororaClient({ client, bundle: { bundle: under, digest: digestOf(under) }, signer, confirm });
  const refusal = await use(korora).then(() => null, (error: unknown) => refusalOf(Promise.reject(error as Error)));
  return { refusal, sent: heard.flatMap(({ argument }) => envelopesIn(argument)), shown, signatures };
}

const approve = (korora: KororaClient) => korora.approve(VM, { reason: 'the window is open' });
const widen = (korora: KororaClient) => korora.setLimits(VM, { bandwidthBytesPerSecond: null });
const move = (korora: KororaClient) => korora.migrate({ vmId: VM, destination: DESTINATION });
const start = (korora: KororaClient) => korora.startVm(vm, SOURCE);
const fence = (korora: KororaClient) => korora.fence(VM, { host: DESTINATION, reason: 'its power is cut' });
const reinstate = (korora: KororaClient) => korora.reinstate(SOURCE, { reason: 'no other host runs its VMs' });

describe('everything that is signed', () => {
  const gone: Told = { isMoving: false, surveys: [hostWith(SOURCE, vmAt(SOURCE, { ownership: 'relinquished', mayRun: false, move: { migrationId: order.migrationId, peer: DESTINATION, order: null } }))] };
  const relinquished = (question: SurveyQuestionTo) => quoted({ ...survey(question), vm: shownVmOn(question.hostId, { state: 'relinquished', migrationId: order.migrationId, peer: DESTINATION, order: SIGNED_ORDER, peerBoot: PEER_BOOT }) }, question);
  const EVERYTHING: readonly [string, (korora: KororaClient) => Promise<unknown>, Told, Shown['kind']][] = [
    ['an order', move, {}, 'korora/order'],
    ['a start', start, {}, 'korora/start'],
    ['an approval', approve, {}, 'korora/approval'],
    ['limits', widen, {}, 'korora/limits'],
    ['a fence', fence, {}, 'korora/fence'],
    ['a fence of a move whose workflow is gone', fence, { ...gone, survey: relinquished }, 'korora/fence'],
    ['a reinstatement', reinstate, {}, 'korora/reinstatement'],
  ];

  it.each(EVERYTHING)('is shown before, to the byte: %s', async (_, use, told, kind) => {
    const { refusal, sent, shown, signatures } = await tried(use, told);
    expect([refusal, shown.length, sent.length, signatures]).toEqual([null, 1, 1, 1]);
    expect(shown[0]?.kind).toBe(kind);
    expect(Buffer.from(sent[0]?.payload ?? '', 'base64').toString()).toBe(canonicalJson(shown[0]?.document));
  });

  it.each(EVERYTHING)('is not signed by who does not want it: %s', async (_, use, told) => {
    const { refusal, sent, signatures } = await tried(use, told, { isConfirmed: false });
    expect([refusal?.split(':')[0], sent, signatures]).toEqual(['SIGNING_DECLINED', [], 0]);
  });
});

/** Neither shown nor signed nor sent. */
async function isRefused(code: string, use: (client: KororaClient) => Promise<unknown>, told: Told, under = bundle): Promise<void> {
  const { refusal, sent, shown, signatures } = await tried(use, told, { under });
  expect([refusal?.split(':')[0], sent, shown, signatures]).toEqual([code, [], [], 0]);
}

describe('of a move that Temporal tells of', () => {
  const lies: readonly [string, () => Promise<object> | object][] = [
    ['an order that nobody signed', () => ({ order: null })],
    ['an order that a stranger signed', async () => ({ order: await signEnvelope(order, testSigner(9)) })],
    ['an order by an operator who may not order it', async () => ({ order: await signEnvelope(orderOf({ ...order, by: 'grace' }), GRACE) })],
    ['an order that was changed under its signature', async () => ({ order: { ...status.order, payload: (await signEnvelope(orderOf({ ...order, destination: 'host-z' }), testSigner(9))).payload } })],
    ['the order of another VM', async () => ({ order: await signEnvelope(orderOf({ ...order, vmId: 'web-2' }), ADA) })],
    ['another document of the VM', () => ({ vm: vmDocument({ memoryBytes: 512 * 1024 * 1024 }) })],
    ['no document of the VM', () => ({ vm: null })],
    ['limits that nobody signed', async () => ({ limitsChange: await signEnvelope(limitsChangeOf({ limits: { ...order.limits, downtimeLimitMs: 10_000 } }), testSigner(9)) })],
    ['limits of another move', async () => ({ limitsChange: await signEnvelope(limitsChangeOf({ migrationId: migrationId(9), limits: { ...order.limits, downtimeLimitMs: 10_000 } }), ADA) })],
  ];

  it.each(lies)('nothing is approved by %s', async (_, lie) => {
    await isRefused('MOVE_UNPROVEN', approve, { status: { ...status, ...(await lie()) } });
  });

  it.each(lies)('no limits are set by %s', async (_, lie) => {
    await isRefused('MOVE_UNPROVEN', widen, { status: { ...status, ...(await lie()) } });
  });

  it.each(lies)('no host is fenced by %s', async (_, lie) => {
    await isRefused('MOVE_UNPROVEN', fence, { status: { ...status, ...(await lie()) } });
  });

  it('an approval names the order that is shown, whatever digest is told', async () => {
    const { sent: [sent], shown: [shown] } = await tried(approve, { status: { ...status, orderDigest: digest(0x66), migrationId: migrationId(7) } });
    expect(openSigned('korora/approval', sent).document).toMatchObject({ orderDigest: digestOf(order), migrationId: order.migrationId });
    expect(shown).toMatchObject({ kind: 'korora/approval', order, vm });
  });

  it('limits are those of the signed order with the change, whatever limits are told', async () => {
    const { sent: [sent], shown: [shown] } = await tried(widen, { status: { ...status, limits: { ...order.limits, downtimeLimitMs: 10_000 } } });
    expect(openSigned('korora/limits', sent).document.limits).toEqual({ ...order.limits, bandwidthBytesPerSecond: null });
    expect(shown).toMatchObject({ kind: 'korora/limits', order, before: order.limits });
  });

  it('limits go on from a change that was signed for the move', async () => {
    const limits = { ...order.limits, downtimeLimitMs: 450 };
    const { sent: [sent], shown: [shown] } = await tried(widen, { status: { ...status, limitsChange: await signEnvelope(limitsChangeOf({ limits }), ADA) } });
    expect(openSigned('korora/limits', sent).document.limits).toEqual({ ...limits, bandwidthBytesPerSecond: null });
    expect(shown).toMatchObject({ before: limits });
  });

  it('a fence names the move that was ordered, whatever move is told', async () => {
    const { sent: [sent] } = await tried(fence, { status: { ...status, migrationId: migrationId(7) } });
    expect(openSigned('korora/fence', sent).document.migrationId).toBe(order.migrationId);
  });

  it('a host that is not of the move is not fenced', async () => {
    await isRefused('NOTHING_TO_FENCE', (korora) => korora.fence(VM, { host: 'host-c', reason: 'it is off' }), {});
  });
});

describe('of what a host is said to hold', () => {
  const other = vmDocument({ memoryBytes: 512 * 1024 * 1024 });
  const changed = (change: (shown: ShownSurvey) => ShownSurvey) => (question: SurveyQuestionTo) => ({ ...quoted(survey(question), question), survey: change(survey(question)) });
  const lies: readonly [string, (question: SurveyQuestionTo) => unknown][] = [
    ['is not shown', () => null],
    ['is another epoch than it quoted', changed((shown) => ({ ...shown, vm: shown.vm && { ...shown.vm, record: recordOn(shown.hostId, { epoch: 9 }) }, ledger: shown.ledger && { ...shown.ledger, counter: 9 } }))],
    ['is another document than it quoted', changed((shown) => ({ ...shown, vm: shown.vm && { ...shown.vm, vm: other }, ledger: shown.ledger && { ...shown.ledger, records: [] } }))],
    ['was quoted for another question', (question) => quoted(survey(question), question, { nonce: digest(0x77) })],
    ['was quoted for another purpose', (question) => quoted(survey(question), question, { purpose: 'state' })],
    ['was quoted by another host', (question) => quoted(survey(question), question, { by: AKS[DESTINATION] })],
    ['is what another host holds', (question) => quoted(survey({ ...question, hostId: DESTINATION }), question)],
    ['is of something else', (question) => quoted({ ...survey(question), vm: question.vmId && { ...shownVmOn(SOURCE), record: recordOn(SOURCE, { vmId: 'web-2' }) }, ledger: null }, question)],
    ['was quoted in a state that no reference has', (question) => quoted(survey(question), question, { pcrValues: { '0': digest(0x10), '4': digest(0x99), '7': digest(0x17) } })],
    ['was quoted with fewer PCRs', (question) => quoted(survey(question), question, { pcrValues: { '0': digest(0x10) } })],
  ];

  it.each(lies)('nothing is ordered where it %s', async (_, lie) => {
    await isRefused('SURVEY_UNPROVEN', move, { survey: lie });
  });

  it.each(lies)('nothing is started where it %s', async (_, lie) => {
    await isRefused('SURVEY_UNPROVEN', start, { survey: lie });
  });

  it.each(lies)('nothing is reinstated where it %s', async (_, lie) => {
    await isRefused('SURVEY_UNPROVEN', reinstate, { survey: lie });
  });

  it('nothing is signed by what a host shows that is not active', async () => {
    const suspended = trustBundleOf({ hosts: HOSTS.map((host) => (host.hostId === SOURCE ? hostEntryOf({ ...host, status: 'suspended' }) : host)) });
    for (const use of [move, start, reinstate]) await isRefused('HOST_NOT_ACTIVE', use, {}, suspended);
  });

  it('an order has the epoch and the document that the host quoted, whatever surveys tell', async () => {
    const { sent: [sent], shown: [shown] } = await tried(move, { surveys: [hostWith(SOURCE, vmAt(SOURCE, { epoch: 9, vm: other }))] });
    expect(openSigned('korora/order', sent).document).toMatchObject({ epoch: 1, vmDigest: digestOf(vm), source: SOURCE });
    expect(shown).toMatchObject({ kind: 'korora/order', vm });
  });

  it('a start has the epoch that the host quoted, whatever surveys tell', async () => {
    const told = { surveys: [hostWith(SOURCE, vmAt(SOURCE, { epoch: 9 }))] };
    expect(openSigned('korora/start', (await tried(start, told)).sent[0]).document.epoch).toBe(1);
    const none = (question: SurveyQuestionTo) => quoted({ ...survey(question), vm: shownVmOn(SOURCE, { state: 'none', epoch: 0 }) }, question);
    expect(openSigned('korora/start', (await tried(start, { ...told, survey: none })).sent[0]).document.epoch).toBeNull();
  });

  it('a reinstatement names the ledger that is shown', async () => {
    const { sent: [sent], shown: [shown] } = await tried(reinstate, { surveys: [{ ...hostWith(SOURCE), ...{ ledgerDigest: digest(0x66) } }] });
    expect(openSigned('korora/reinstatement', sent).document.ledgerDigest).toBe(ledgerDigestOf(SOURCE, ledgerOn(SOURCE)));
    expect(shown).toMatchObject({ kind: 'korora/reinstatement', ledger: ledgerOn(SOURCE) });
  });

  it('a fence of a move whose workflow is gone names the move that the source quoted', async () => {
    const surveys = [hostWith(SOURCE, vmAt(SOURCE, { ownership: 'relinquished', mayRun: false, move: { migrationId: migrationId(7), peer: DESTINATION, order: null } }))];
    const relinquished = (peer: string) => (question: SurveyQuestionTo) => quoted({ ...survey(question), vm: shownVmOn(question.hostId, { state: 'relinquished', migrationId: order.migrationId, peer, order: SIGNED_ORDER, peerBoot: PEER_BOOT }) }, question);
    const { sent: [sent] } = await tried(fence, { isMoving: false, surveys, survey: relinquished(DESTINATION) });
    expect(openSigned('korora/fence', sent).document.migrationId).toBe(order.migrationId);
    await isRefused('NOTHING_TO_FENCE', fence, { isMoving: false, surveys, survey: relinquished('host-c') });
    await isRefused('NOTHING_TO_FENCE', fence, { isMoving: false, surveys });
    await isRefused('SURVEY_UNPROVEN', fence, { isMoving: false, surveys, survey: () => null });
  });
});

it('the documents of the samples are those that the made-up hosts show', () => {
  expect(digestOf(vm)).toBe(samples.order.vmDigest);
});
