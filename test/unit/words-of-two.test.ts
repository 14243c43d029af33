/**
 * Words of two: what the trust bundle wants two operators to sign counts with two different keys of active operators who both may say it, by the
 * rule that hosts, clients and auditors ask (domain/authority.ts); and the way from the first to the second (client/).
 */
import { describe, expect, it } from 'vitest';
import { type Confirm, type KororaClient, type Shown, createKororaClient } from '../../client/index.js';
import { authorize, openSigned } from '../../domain/authority.js';
import { canonicalJson, digestOf } from '../../domain/canonical.js';
import { type Envelope, PAYLOAD_TYPES, type Signer, addSignature, keyIdOf, signEnvelope, signersOf } from '../../domain/envelope.js';
import { ACTIONS, type Operator } from '../../domain/operators.js';
import type { SurveyQuestionTo } from '../../domain/survey.js';
import { TrustBundle } from '../../domain/trust-bundle.js';
import { ADA, DESTINATION, GRACE, SOURCE, VM, fenceOf, migrationId, orderOf, reinstatementOf, samples, trustBundleOf, vmDocument } from '../support/documents.js';
import { HOSTS, type Told, envelopesIn, hostileTemporal, ledgerOn, quoted } from '../support/hostile-temporal.js';
import { refusalOf } from '../support/refusal.js';
import { testSigner } from '../support/signers.js';

const everything = { disks: ['*'], bootFiles: ['*'], bridges: ['*'], actions: [...ACTIONS], vms: ['*'], sources: ['*'], destinations: ['*'] };
const BOB = testSigner(4);
const operator = (name: string, { publicKey }: Signer, changes: Partial<Operator> = {}) => ({ name, publicKey, status: 'active', scopes: [everything], ...changes });
const under = (second: Partial<Operator> = {}, wordsOfTwo: readonly string[] = ['fence', 'reinstate'], first: Partial<Operator> = {}) =>
  trustBundleOf({ hosts: HOSTS, operators: [operator('ada', ADA, first), operator('bob', BOB, second), operator('grace', GRACE, { scopes: [] })], parameters: { ...samples.trustBundle.parameters, wordsOfTwo } });

const signedBy = async (document: Parameters<typeof signEnvelope>[0], first: Signer, ...others: readonly Signer[]) => {
  let envelope = await signEnvelope(document, first);
  for (const signer of others) envelope = await addSignature(envelope, signer);
  return envelope;
};

describe('a fence, where the bundle wants two', () => {
  const fence = fenceOf();
  const said = (envelope: Envelope, bundle = under()) => {
    const authority = authorize(openSigned('korora/fence', envelope), null, bundle, SOURCE);
    return authority.ok ? 'taken' : authority.failure.code;
  };

  it('counts with two who both may say it, in either order of their signatures', async () => {
    expect(said(await signedBy(fence, ADA, BOB))).toBe('taken');
    expect(said(await signedBy(fence, BOB, ADA))).toBe('taken');
  });

  it('counts with one where the bundle wants none', async () => {
    expect(said(await signedBy(fence, ADA), under({}, []))).toBe('taken');
    expect(said(await signedBy(fence, ADA), under({}, ['reinstate']))).toBe('taken');
  });

  it.each<[string, () => Promise<Envelope>, TrustBundle, string]>([
    ['by one', () => signedBy(fence, ADA), under(), 'SECOND_SIGNATURE_MISSING'],
    ['by one, twice', () => signedBy(fence, ADA, ADA), under(), 'SECOND_SIGNATURE_MISSING'],
    ['and by a stranger', () => signedBy(fence, ADA, testSigner(9)), under(), 'SECOND_SIGNATURE_MISSING'],
    ['and by one who is revoked', () => signedBy(fence, ADA, BOB), under({ status: 'revoked' }), 'SECOND_SIGNATURE_MISSING'],
    ['and by one without a scope', () => signedBy(fence, ADA, GRACE), under(), 'SECOND_SIGNATURE_MISSING'],
    ['and by one who may fence another host', () => signedBy(fence, ADA, BOB), under({ scopes: [{ ...everything, destinations: ['host-a'] }] } as never), 'SECOND_SIGNATURE_MISSING'],
    ['and by one who may not fence', () => signedBy(fence, ADA, BOB), under({ scopes: [{ ...everything, actions: ['migrate', 'reinstate'] }] } as never), 'SECOND_SIGNATURE_MISSING'],
    ['by two, the first of whom is revoked', () => signedBy(fence, ADA, BOB), under({}, ['fence'], { status: 'revoked' }), 'ORDER_NOT_SIGNED'],
    ['by two others than it names', () => signedBy(fence, BOB, GRACE), under(), 'ORDER_NOT_SIGNED'],
    ['and by another who signed something else', async () => ({ ...(await signedBy(fence, ADA)), signatures: [...(await signedBy(fence, ADA)).signatures, ...(await signedBy(fenceOf({ reason: 'another' }), BOB)).signatures] }), under(), 'SECOND_SIGNATURE_MISSING'],
  ])('does not count %s', async (_, envelope, bundle, code) => {
    expect(said(await envelope(), bundle)).toBe(code);
  });
});

it('only what asks for two needs two', async () => {
  const ordered = authorize(openSigned('korora/order', await signedBy(orderOf(), ADA)), null, under(), SOURCE);
  const reinstated = authorize(openSigned('korora/reinstatement', await signedBy(reinstatementOf(), ADA)), null, under({}, ['fence']), SOURCE);
  expect([ordered.ok, reinstated.ok]).toEqual([true, true]);
});

it('a signature that is added leaves the document and the others as they are', async () => {
  const first = await signedBy(fenceOf(), ADA);
  const both = await addSignature(first, BOB);
  expect([both.payloadType, both.payload, both.signatures[0]]).toEqual([PAYLOAD_TYPES['korora/fence'], first.payload, first.signatures[0]]);
  expect(both.signatures.map(({ keyid }) => keyid)).toEqual([ADA, BOB].map(({ publicKey }) => keyIdOf(publicKey)));
  expect(signersOf(both, [ADA.publicKey, BOB.publicKey])).toHaveLength(2);
});

it.each([[['fence', 'fence']], [['approve']], ['fence'], [undefined]])('a bundle does not parse whose words of two are %j', (wordsOfTwo) => {
  expect(TrustBundle.safeParse({ ...samples.trustBundle, parameters: { ...samples.trustBundle.parameters, wordsOfTwo } }).success).toBe(false);
});

describe('from the first operator to the second', () => {
  const bundle = under();
  const order = orderOf({ bundleDigest: digestOf(bundle) });
  const survey = (counter?: number) => (question: SurveyQuestionTo) => quoted({ hostId: question.hostId, vm: null, ledger: ledgerOn(question.hostId, counter) }, question);
  const status = async (by = order) => ({ order: await signEnvelope(by, ADA), vm: vmDocument(), limitsChange: null });

  async function clientOf(signer: Signer, told: Told = {}, confirm: Confirm = () => Promise.resolve(true)): Promise<{ readonly korora: KororaClient; readonly sent: () => readonly Envelope[] }> {
    const { client, heard } = hostileTemporal({ status: await status(), survey: survey(), ...told });
    return { korora: createKororaClient({ client, bundle: { bundle, digest: digestOf(bundle) }, signer, confirm }), sent: () => heard.flatMap(({ argument }) => envelopesIn(argument)) };
  }
  const DRAFTS: readonly [string, (korora: KororaClient) => Promise<Envelope>, (korora: KororaClient) => Promise<unknown>][] = [
    ['a fence', (korora) => korora.draftFence(VM, { host: DESTINATION, reason: 'its power is cut' }), (korora) => korora.fence(VM, { host: DESTINATION, reason: 'its power is cut' })],
    ['a reinstatement', (korora) => korora.draftReinstatement(SOURCE, { reason: 'no other host runs its VMs' }), (korora) => korora.reinstate(SOURCE, { reason: 'no other host runs its VMs' })],
  ];

  it.each(DRAFTS)('%s is drafted, shown to the second as to the first, and sent with both signatures', async (_, draft) => {
    const [byAda, byBob]: [Shown[], Shown[]] = [[], []];
    const noting = (list: Shown[]) => (shown: Shown) => Promise.resolve(list.push(shown) > 0);
    const first = await clientOf(ADA, {}, noting(byAda));
    const drafted = await draft(first.korora);
    expect(first.sent()).toEqual([]);
    const second = await clientOf(BOB, {}, noting(byBob));
    const both = await second.korora.countersign(JSON.parse(JSON.stringify(drafted)));
    expect(byBob).toEqual([{ ...byAda[0], signedBy: ['ada'] }]);
    expect(canonicalJson(byBob[0]?.document)).toBe(Buffer.from(both.payload, 'base64').toString());
    await first.korora.submit(both);
    expect(first.sent()).toEqual([both]);
  });

  it.each(DRAFTS)('%s of one is not sent', async (_, draft, say) => {
    const { korora, sent } = await clientOf(ADA);
    expect(await refusalOf(korora.submit(await draft(korora)))).toContain('SECOND_SIGNATURE_MISSING');
    expect(await refusalOf(say(korora))).toContain('SECOND_SIGNATURE_MISSING');
    expect(sent()).toEqual([]);
  });

  it.each(DRAFTS)('%s is not signed twice by one, nor by one who may not say it', async (_, draft) => {
    const drafted = await draft((await clientOf(ADA)).korora);
    expect(await refusalOf((await clientOf(ADA)).korora.countersign(drafted))).toContain('SIGNED_ALREADY');
    expect(await refusalOf((await clientOf(GRACE)).korora.countersign(drafted))).toContain('SECOND_SIGNATURE_MISSING');
    expect(await refusalOf((await clientOf(BOB, {}, () => Promise.resolve(false))).korora.countersign(drafted))).toContain('SIGNING_DECLINED');
  });

  it('is shown to nobody where another wrote it than it names', async () => {
    const forged = await signEnvelope(reinstatementOf({ by: 'ada' }), testSigner(9));
    expect(await refusalOf((await clientOf(BOB)).korora.countersign(forged))).toContain('ORDER_NOT_SIGNED');
    for (const other of [null, 'x', await signEnvelope(order, ADA)]) expect(await refusalOf((await clientOf(BOB)).korora.countersign(other))).toContain('ORDER_INVALID');
  });

  it('is not signed where things are otherwise by then', async () => {
    const { korora } = await clientOf(ADA);
    const [fence, reinstatement] = [await DRAFTS[0]?.[1](korora), await DRAFTS[1]?.[1](korora)];
    const later = await clientOf(BOB, { status: await status(orderOf({ ...order, migrationId: migrationId(9) })), survey: survey(6) });
    expect(await refusalOf(later.korora.countersign(fence))).toContain('NOTHING_TO_FENCE');
    expect(await refusalOf(later.korora.countersign(reinstatement))).toContain('REINSTATEMENT_STALE');
  });
});
