/**
 * Temporal and its workers in other hands (promise P7): whoever has them asks the hosts for anything, in any order, with everything that
 * ever went through Temporal, and with keys of his own. No VM comes to a host, and none runs, that an operator did not sign for;
 * what can be done is to end moves.
 */
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readSigner } from '../../cli/keys.js';
import type { HostEvidence, SessionOffer, WrappedSecrets } from '../../domain/attestation.js';
import { digestOf } from '../../domain/canonical.js';
import { type Envelope, type Signer, signEnvelope } from '../../domain/envelope.js';
import type { ClaimStatement, VerdictStatement } from '../../domain/manifest.js';
import { Order } from '../../domain/order.js';
import { DEFAULT_LIMITS } from '../../domain/progress.js';
import type { Hold } from '../../domain/status.js';
import { CONTROL_QUEUE } from '../../domain/steps.js';
import type { VmDocument } from '../../domain/vm.js';
import { endOfMove } from '../../infra/testbed/end-of-move.js';
import type { GuestConsole } from '../../infra/testbed/guest-console.js';
import { TESTBED_PCRS, type Testbed, pidsBelow } from '../../infra/testbed/testbed.js';
import { type Rogue, openRogue } from '../../infra/testbed/attacks/rogue.js';
import { createLocalHost } from '../../host/local.js';
import { createTpm } from '../../workers/services.js';
import { samples } from '../support/documents.js';
import { testSigner } from '../support/signers.js';
import { type HostName, consoleOn, openTestbed, recordAt, startGuest } from './support.js';

const vmId = 'ward';
const MALLORY = testSigner(66);
const IN_AN_HOUR = () => new Date(Date.now() + 3_600_000).toISOString();
const AN_HOUR_AGO = () => new Date(Date.now() - 3_600_000).toISOString();

let testbed: Testbed;
let rogue: Rogue;
let operator: Signer;
let vm: VmDocument;
let guest: GuestConsole;

beforeAll(async () => {
  testbed = await openTestbed();
  rogue = await openRogue(testbed);
  operator = await readSigner(testbed.keys.operator.privateFile);
  ({ vm, console: guest } = await startGuest(testbed, vmId, 'host-a'));
});
afterAll(async () => {
  guest?.close();
  await rogue?.close();
  await testbed?.stop();
});

function orderOf(changes: Partial<Record<keyof Order, unknown>> = {}) {
  const order = Order.parse({
    kind: 'korora/order', version: 2, migrationId: crypto.randomUUID(), vmId, vmDigest: digestOf(vm), epoch: 1, source: 'host-a', destination: 'host-b', bundleDigest: testbed.bundle.digest, limits: DEFAULT_LIMITS,
    requiresApproval: false, by: 'operator', notAfter: IN_AN_HOUR(), ...changes,
  });
  return { order, move: { vmId, migrationId: order.migrationId } };
}

const startOf = (changes: object = {}) => ({ kind: 'korora/start' as const, version: 1, vmId, vmDigest: digestOf(vm), host: 'host-b', epoch: null, by: 'operator', notAfter: IN_AN_HOUR(), ...changes });

/** The VM counts on at the host that owns it, and no hypervisor of it runs elsewhere. */
async function runsOnlyOn(host: HostName, epoch: number): Promise<void> {
  expect(recordAt(testbed, host, vmId)).toMatchObject({ state: 'owner', epoch });
  const there = await consoleOn(testbed, vmId, host);
  const count = there.counts().at(-1) ?? 0;
  await there.until((c) => (c.counts().at(-1) ?? 0) > count + 2, 'counting on');
  there.close();
  const survey = (await testbed.client.vms()).filter((known) => known.vmId === vmId);
  expect(survey.filter(({ status }) => status !== 'absent').map(({ hostId, status }) => [hostId, status])).toEqual([[host, 'running']]);
}

describe('a start', () => {
  it.each<[string, string, () => Promise<unknown>]>([
    ['that nobody signed', 'ORDER_INVALID', () => Promise.resolve(startOf())],
    ['that a stranger signed in an operator’s name', 'ORDER_NOT_SIGNED', () => signEnvelope(startOf(), MALLORY)],
    ['by an operator whom the bundle lacks', 'ORDER_NOT_SIGNED', () => signEnvelope(startOf({ by: 'mallory' }), MALLORY)],
    ['of another host', 'ORDER_INVALID', () => signEnvelope(startOf({ host: 'host-a' }), operator)],
    ['of another document', 'VM_DIFFERS', () => signEnvelope(startOf({ vmDigest: digestOf({ ...vm, boot: { ...vm.boot, kernel: '/etc/passwd' } }) }), operator)],
    ['whose time is over', 'ORDER_EXPIRED', () => signEnvelope(startOf({ notAfter: AN_HOUR_AGO() }), operator)],
    ['of an epoch that the host never owned', 'ORDER_STALE', () => signEnvelope(startOf({ epoch: 1 }), operator)],
  ])('%s leaves no trace', async (_, code, start) => {
    expect(await rogue.codeOf('host-b', 'startVm', { start: await start(), vm })).toBe(code);
    expect(recordAt(testbed, 'host-b', vmId).state).toBe('none');
  });
});

describe('an order', () => {
  const genuine = orderOf;
  /** In form; what they say does not matter before it is their turn. */
  const peer = samples.sessionOffer;
  const FORWARD: readonly [HostName, string, () => object][] = [
    ['host-a', 'openSession', () => ({ role: 'source' })], ['host-b', 'openSession', () => ({ role: 'destination' })], ['host-a', 'quoteHost', () => ({ role: 'source', peer })],
    ['host-a', 'appraisePeer', () => ({ role: 'source', evidence: samples.destinationEvidence })], ['host-a', 'wrapSecrets', () => ({})], ['host-b', 'unwrapSecrets', () => ({ wrapped: samples.wrappedSecrets })],
    ['host-b', 'prepareDestination', () => ({ vm })], ['host-a', 'copyMemory', () => ({ port: 1 })], ['host-a', 'stopAndCopy', () => ({ port: 1 })], ['host-b', 'verifyImage', () => ({})],
  ];
  const LOOKING: readonly [HostName, string][] = [['host-a', 'inspectSource'], ['host-b', 'inspectDestination']];

  it.each<[string, string, () => Promise<unknown>]>([
    ['that nobody signed', 'ORDER_INVALID', () => Promise.resolve(genuine().order)],
    ['that a stranger signed', 'ORDER_NOT_SIGNED', () => signEnvelope(genuine().order, MALLORY)],
    ['with the signature of another', 'ORDER_NOT_SIGNED', async () => ({ ...(await signEnvelope(genuine().order, operator)), signatures: (await signEnvelope(genuine().order, operator)).signatures })],
    ['whose time is over', 'ORDER_EXPIRED', () => signEnvelope(genuine({ notAfter: AN_HOUR_AGO() }).order, operator)],
    ['under another bundle', 'BUNDLE_DIFFERS', () => signEnvelope(genuine({ bundleDigest: 'ab'.repeat(32) }).order, operator)],
    ['to a host that the bundle lacks', 'HOST_UNKNOWN', () => signEnvelope(genuine({ destination: 'host-c' }).order, operator)],
  ])('%s is refused at every step forward', async (_, code, make) => {
    const order = await make();
    for (const [host, activity, rest] of FORWARD) {
      const given = await rogue.codeOf(host, activity, { order, ...rest() });
      // To the other host the order to host-c is not addressed either; the first reason is its own.
      expect([activity, given]).toEqual([activity, code === 'HOST_UNKNOWN' && host === 'host-b' ? 'ORDER_INVALID' : code]);
    }
    // Nor does a host look at anything for whoever is no operator.
    const isUnsigned = code === 'ORDER_INVALID' || code === 'ORDER_NOT_SIGNED';
    for (const [host, activity] of isUnsigned ? LOOKING : []) expect([activity, await rogue.codeOf(host, activity, { order, vm })]).toEqual([activity, code]);
    await runsOnlyOn('host-a', 1);
  });

  it('looks at no path of another VM than the order is for', async () => {
    const order = await signEnvelope(genuine().order, operator);
    const other = { ...vm, boot: { ...vm.boot, kernel: '/etc/shadow' } };
    for (const [host, activity] of LOOKING) expect(await rogue.codeOf(host, activity, { order, vm: other })).toBe('VM_DIFFERS');
  });

  it('that was refused is good no more, at no host that it names', async () => {
    const { order } = genuine({ epoch: 1 });
    const signed = await signEnvelope(order, operator);
    const session = await opened({ migrationId: order.migrationId, notAfter: order.notAfter });
    const forged = await session.quoteOfB({ ...session.offers.source, nonce: 'ab'.repeat(32) });
    expect(await rogue.codeOf('host-a', 'appraisePeer', { order: session.signed, role: 'source', evidence: forged })).toBe('NONCE_UNKNOWN');
    await session.close();
    for (const [host, role] of [['host-a', 'source'], ['host-b', 'destination']] as const) expect(await rogue.codeOf(host, 'openSession', { order: signed, role })).toBe('ORDER_SETTLED');
    await runsOnlyOn('host-a', 1);
  });

  it('lets no step come before those that it rests on', async () => {
    const signed = await signEnvelope(genuine().order, operator);
    for (const [host, activity, rest] of FORWARD.slice(2)) expect([activity, await rogue.codeOf(host, activity, { order: signed, ...rest() })]).toEqual([activity, 'SESSION_LOST']);
    await rogue.ask('host-a', 'openSession', { order: signed, role: 'source' });
    await rogue.ask('host-b', 'openSession', { order: signed, role: 'destination' });
    for (const [host, activity, rest] of FORWARD.slice(4)) expect([activity, await rogue.codeOf(host, activity, { order: signed, ...rest() })]).toEqual([activity, 'NOT_ATTESTED']);
    for (const host of ['host-a', 'host-b'] as const) await rogue.ask(host, 'closeSession', { order: signed, reason: 'it is over' });
    expect(recordAt(testbed, 'host-b', vmId).state).toBe('none');
    await runsOnlyOn('host-a', 1);
  });
});

/** Sessions of one order on both hosts, with their offers. */
async function opened(changes: Partial<Record<keyof Order, unknown>> = {}) {
  const { order, move } = orderOf(changes);
  const signed = await signEnvelope(order, operator);
  const offers = {
    source: await rogue.ask<SessionOffer>('host-a', 'openSession', { order: signed, role: 'source' }),
    destination: await rogue.ask<SessionOffer>('host-b', 'openSession', { order: signed, role: 'destination' }),
  };
  const quoteOfB = (peer: SessionOffer) => rogue.ask<HostEvidence>('host-b', 'quoteHost', { order: signed, role: 'destination', peer });
  const quoteOfA = (peer: SessionOffer) => rogue.ask<HostEvidence>('host-a', 'quoteHost', { order: signed, role: 'source', peer });
  const close = async () => {
    for (const host of ['host-a', 'host-b'] as const) await rogue.ask(host, 'closeSession', { order: signed, reason: 'it is over' });
  };
  return { order, move, signed, offers, quoteOfA, quoteOfB, close };
}

describe('evidence that the control plane carries', () => {
  it.each<[string, string, (session: Awaited<ReturnType<typeof opened>>, genuine: HostEvidence) => Promise<HostEvidence> | HostEvidence]>([
    ['with another TLS key in its binding', 'QUALIFYING_DATA_MISMATCH', (_, e) => ({ ...e, binding: { ...e.binding, tlsSpkiSha256: 'ab'.repeat(32) } })],
    ['with better PCR values', 'PCR_DIGEST_MISMATCH', (_, e) => ({ ...e, pcrValues: { ...e.pcrValues, '0': 'ab'.repeat(32) } })],
    ['with another wrapping key', 'WRAPPING_KEY_INVALID', async (_, e) => {
      const other = await opened();
      const { wrappingKey } = await other.quoteOfB(other.offers.source);
      await other.close();
      return { ...e, wrappingKey: { ...wrappingKey, name: e.wrappingKey?.name } as HostEvidence['wrappingKey'] };
    }],
    ['of another move', 'BINDING_MISMATCH', async () => {
      const other = await opened();
      const evidence = await other.quoteOfB(other.offers.source);
      await other.close();
      return evidence;
    }],
    ['of another challenge', 'NONCE_UNKNOWN', ({ offers, quoteOfB }) => quoteOfB({ ...offers.source, nonce: 'ab'.repeat(32) })],
    ['that is its own, reflected', 'QUOTE_SIGNATURE_INVALID', ({ offers, quoteOfA }) => quoteOfA(offers.source)],
  ])('%s is refused, and nothing can be wrapped to it', async (_, code, change) => {
    const session = await opened();
    const evidence = await change(session, await session.quoteOfB(session.offers.source));
    expect(await rogue.codeOf('host-a', 'appraisePeer', { order: session.signed, role: 'source', evidence })).toBe(code);
    expect(await rogue.codeOf('host-a', 'wrapSecrets', { order: session.signed })).toBe('NOT_ATTESTED');
    // The challenge is used up: a second try, with the genuine evidence, comes too late.
    const genuine = await session.quoteOfB(session.offers.source);
    expect(await rogue.codeOf('host-a', 'appraisePeer', { order: session.signed, role: 'source', evidence: genuine })).toBe('NONCE_UNKNOWN');
    await session.close();
  });
});

describe('a word about a move', () => {
  it('that an operator did not sign changes nothing: fence, verdict, claim, receipt, reinstatement', async () => {
    const { move } = orderOf();
    const fence = (changes: object = {}) => ({ kind: 'korora/fence' as const, version: 1, ...move, host: 'host-b', reason: 'it is off', by: 'operator', notAfter: IN_AN_HOUR(), ...changes });
    expect(await rogue.codeOf('host-a', 'fenceDestination', { fence: fence() })).toBe('ORDER_INVALID');
    expect(await rogue.codeOf('host-a', 'fenceDestination', { fence: await signEnvelope(fence(), MALLORY) })).toBe('ORDER_NOT_SIGNED');
    expect(await rogue.codeOf('host-a', 'fenceDestination', { fence: await signEnvelope(fence({ notAfter: AN_HOUR_AGO() }), operator) })).toBe('ORDER_EXPIRED');
    expect(await rogue.codeOf('host-a', 'fenceDestination', { fence: await signEnvelope(fence(), operator) })).toBe('OWNERSHIP_REFUSED');

    // host-b will say that it rejects a move it never heard of, if an operator ordered it; nobody can make that an acceptance, nor another host's word.
    const { order } = orderOf({ migrationId: move.migrationId });
    const [unsigned, signed] = [await signEnvelope(order, MALLORY), await signEnvelope(order, operator)];
    expect(await rogue.codeOf('host-b', 'settleDestination', { order: unsigned, reason: 'the control plane wants it' })).toBe('ORDER_NOT_SIGNED');
    expect(await rogue.codeOf('host-a', 'settleSource', { order: unsigned, reason: 'the control plane wants it' })).toBe('ORDER_NOT_SIGNED');
    expect(await rogue.codeOf('host-b', 'closeSession', { order: unsigned, reason: 'the control plane wants it' })).toBe('ORDER_NOT_SIGNED');
    expect(recordAt(testbed, 'host-b', vmId).settled.map(({ migrationId }) => migrationId)).not.toContain(move.migrationId);
    const { verdict, quote } = await rogue.ask<VerdictStatement>('host-b', 'settleDestination', { order: signed, reason: 'the control plane wants it' });
    expect(verdict).toMatchObject({ verdict: 'rejected', destination: 'host-b' });
    const accepted = { verdict: { ...verdict, verdict: 'accepted', reason: null, manifestDigest: 'ab'.repeat(32) }, quote };
    expect(await rogue.codeOf('host-a', 'resolveSource', { statement: accepted })).toBe('VERDICT_UNPROVEN');
    expect(await rogue.codeOf('host-a', 'resolveSource', { statement: { verdict: { ...verdict, destination: 'host-a' }, quote } })).toBe('VERDICT_UNPROVEN');
    expect(await rogue.codeOf('host-a', 'resolveSource', { statement: { verdict, quote } })).toBe('OWNERSHIP_REFUSED');
    const statement: unknown = { claim: { protocol: 'korora/1', purpose: 'claim', vmId, hostId: 'host-b', epoch: 9, migrationId: move.migrationId }, quote, authority: await signEnvelope(orderOf().order, operator) } satisfies Record<keyof ClaimStatement, unknown>;
    expect(await rogue.codeOf('host-a', 'yieldToClaim', { statement })).toBe('CLAIM_UNPROVEN');
    expect(await rogue.codeOf('host-b', 'giveReceipt', { move, statement: { verdict, quote } })).toBe('SESSION_LOST');

    const reinstatement = (changes: object = {}) => ({ kind: 'korora/reinstatement' as const, version: 1, host: 'host-a', ledgerDigest: 'ab'.repeat(32), reason: 'it is so', by: 'operator', notAfter: IN_AN_HOUR(), ...changes });
    const reinstates = async (envelope: unknown) => rogue.codeOf('host-a', 'reinstateRecords', { reinstatement: envelope });
    expect(await reinstates(reinstatement())).toBe('ORDER_INVALID');
    expect(await reinstates(await signEnvelope(reinstatement(), MALLORY))).toBe('ORDER_NOT_SIGNED');
    expect(await reinstates(await signEnvelope(reinstatement({ notAfter: AN_HOUR_AGO() }), operator))).toBe('ORDER_EXPIRED');
    expect(await reinstates(await signEnvelope(reinstatement({ host: 'host-b' }), operator))).toBe('ORDER_INVALID');
    await runsOnlyOn('host-a', 1);
  });
});

describe('a host of the bundle that is not what it should be', () => {
  it('ends no VM of another host by its word, with whatever PCRs it quotes and whatever genuine order it shows', async () => {
    const { order, move } = orderOf();
    const authority = await signEnvelope(order, operator);
    const tpm = createTpm(createLocalHost(testbed.hosts['host-b'].config.hostId), testbed.hosts['host-b'].config);
    const claiming = async (epoch: number, pcrs: readonly number[]) => {
      const claim = { protocol: 'korora/1', purpose: 'claim', vmId, hostId: 'host-b', epoch, migrationId: move.migrationId };
      const { attest, signature } = await tpm.quote(pcrs, Buffer.from(digestOf(claim), 'hex'));
      return { claim, quote: { attest, signature }, authority };
    };
    expect(await rogue.codeOf('host-a', 'yieldToClaim', { statement: await claiming(1000, [23]) })).toBe('CLAIM_UNPROVEN');
    for (const epoch of [2, 1000]) expect(await rogue.codeOf('host-a', 'yieldToClaim', { statement: await claiming(epoch, TESTBED_PCRS) })).toBe('OWNERSHIP_REFUSED');
    await runsOnlyOn('host-a', 1);
  });
});

describe('a VM that is not there yet', () => {
  it('can be created although somebody wrote of it before', async () => {
    const other = await testbed.guest('to-come', { hasVtpm: false });
    const { order } = orderOf({ vmId: 'to-come', vmDigest: digestOf(other) });
    await rogue.ask('host-a', 'settleSource', { order: await signEnvelope(order, operator), reason: 'before its time' }).catch(() => undefined);
    expect(recordAt(testbed, 'host-a', 'to-come').settled).toHaveLength(1);
    await testbed.client.startVm(other, 'host-a');
    expect(recordAt(testbed, 'host-a', 'to-come')).toMatchObject({ state: 'owner', epoch: 1 });
    await testbed.endVms('to-come');
  });
});

describe('a start that was carried out', () => {
  it('boots the VM no second time', async () => {
    const other = await testbed.guest('once', { hasVtpm: false });
    const start = await signEnvelope(startOf({ vmId: 'once', vmDigest: digestOf(other), host: 'host-a' }), operator);
    await rogue.ask('host-a', 'startVm', { start, vm: other });
    expect(await rogue.codeOf('host-a', 'startVm', { start, vm: other })).toBe('done');
    await testbed.endVms('once');
    expect(await rogue.codeOf('host-a', 'startVm', { start, vm: other })).toBe('START_USED');
  });
});

describe('a move that skips the preflight', () => {
  it('is refused by the destination that sees another disk than the source, before anything changes there', async () => {
    const disk = vm.disks[0]?.path ?? '';
    const copy = join(testbed.root, 'copy-of-the-disk');
    await copyFile(disk, copy);
    await testbed.restartWorker('host-b', { [disk]: copy });
    const session = await wrapped();
    expect(await rogue.codeOf('host-b', 'prepareDestination', { order: session.signed, vm })).toBe('DISK_NOT_SAME');
    expect(recordAt(testbed, 'host-b', vmId)).toMatchObject({ state: 'none' });
    await session.close();
    await testbed.restartWorker('host-b');
    await runsOnlyOn('host-a', 1);
  });
});

/** As opened, up to where the destination has the secrets. */
async function wrapped(changes: Partial<Record<keyof Order, unknown>> = {}) {
  const session = await opened(changes);
  const { signed, offers, quoteOfA, quoteOfB } = session;
  await rogue.ask('host-a', 'appraisePeer', { order: signed, role: 'source', evidence: await quoteOfB(offers.source) });
  await rogue.ask('host-b', 'appraisePeer', { order: signed, role: 'destination', evidence: await quoteOfA(offers.destination) });
  await rogue.ask('host-b', 'unwrapSecrets', { order: signed, wrapped: await rogue.ask<WrappedSecrets>('host-a', 'wrapSecrets', { order: signed }) });
  return session;
}

describe('a move that waits for an approval', () => {
  it('waits at the source itself, whatever the control plane says', async () => {
    const session = await wrapped({ requiresApproval: true });
    const { order, move, signed } = session;
    const { port } = await rogue.ask<{ port: number }>('host-b', 'prepareDestination', { order: signed, vm });
    const ends = [
      rogue.codeOf('host-a', 'copyMemory', { order: signed, port }),
      rogue.codeOf('host-a', 'stopAndCopy', { order: signed, port }),
      rogue.codeOf('host-b', 'verifyImage', { order: signed }),
    ];
    const limits = { kind: 'korora/limits' as const, version: 1, ...move, limits: DEFAULT_LIMITS, by: 'operator', notAfter: IN_AN_HOUR() };
    const lets = (approval: Envelope | null) => ({ move, isHeld: false, approval });
    expect(await rogue.ask<Hold>('host-a', 'holdCopy', lets(null))).toMatchObject({ isHeld: true });
    const approval = (changes: object = {}) => ({ kind: 'korora/approval' as const, version: 1, ...move, orderDigest: digestOf(order), reason: null, by: 'operator', notAfter: IN_AN_HOUR(), ...changes });
    expect(await rogue.codeOf('host-a', 'holdCopy', lets(await signEnvelope(approval(), MALLORY)))).toBe('ORDER_NOT_SIGNED');
    expect(await rogue.codeOf('host-a', 'holdCopy', lets(await signEnvelope(approval({ migrationId: crypto.randomUUID() }), operator)))).toBe('ORDER_INVALID');
    expect(await rogue.codeOf('host-a', 'holdCopy', lets(await signEnvelope(approval({ orderDigest: 'ab'.repeat(32) }), operator)))).toBe('ORDER_INVALID');
    expect(await rogue.codeOf('host-a', 'tuneCopy', { move, change: await signEnvelope(limits, MALLORY) })).toBe('ORDER_NOT_SIGNED');
    expect(await rogue.ask<Hold>('host-a', 'holdCopy', lets(null))).toMatchObject({ isHeld: true });
    expect([recordAt(testbed, 'host-a', vmId).state, recordAt(testbed, 'host-b', vmId).state]).toEqual(['offering', 'incoming']);
    const count = guest.counts().at(-1) ?? 0;
    await guest.until((c) => (c.counts().at(-1) ?? 0) > count + 2, 'counting on');

    expect(await rogue.ask<Hold>('host-a', 'holdCopy', lets(await signEnvelope(approval(), operator)))).toMatchObject({ isHeld: false });
    expect(await Promise.all(ends)).toEqual(['done', 'done', 'done']);
    await session.close();
    const statement = await rogue.ask<VerdictStatement>('host-b', 'settleDestination', { order: signed, reason: 'asked again' });
    await rogue.ask('host-a', 'resolveSource', { statement: { verdict: statement.verdict, quote: statement.quote } });
    await runsOnlyOn('host-b', 2);
  });
});

describe('what went through Temporal once', () => {
  it('moves nothing a second time', async () => {
    const back = await testbed.client.migrate({ vmId, destination: 'host-a' });
    await endOfMove(testbed.client, vmId, back.runId);
    await runsOnlyOn('host-a', 3);
    const { events } = await testbed.temporal.workflow.getHandle(back.workflowId, back.runId).fetchHistory();
    const payload = events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data;
    if (!payload) throw new Error('the history has no input');
    const input: unknown = JSON.parse(Buffer.from(payload).toString('utf8'));
    const again = () => testbed.temporal.workflow.execute('secureMigration', { taskQueue: CONTROL_QUEUE, workflowId: `again-${crypto.randomUUID()}`, args: [input] });

    // From host-b, which retired the VM.
    expect(await failedAgain(again())).toContain('VM_UNKNOWN');
    const there = await testbed.client.migrate({ vmId, destination: 'host-b' });
    await endOfMove(testbed.client, vmId, there.runId);
    // From host-b, which owns it again: the order is not over its time, and its tombstone is gone.
    await runsOnlyOn('host-b', 4);
    expect(await failedAgain(again())).toContain('ORDER_STALE');
    await runsOnlyOn('host-b', 4);
    expect((await pidsBelow(testbed.root)).length).toBeGreaterThan(0);
  });

  async function failedAgain(running: Promise<unknown>): Promise<string[]> {
    const error = await running.then(() => null, (reason: unknown) => reason);
    const details = (error as { cause?: { details?: unknown[] } } | null)?.cause?.details?.[0];
    return Array.isArray(details) ? details.map((f: { code: string }) => f.code) : [];
  }
});
