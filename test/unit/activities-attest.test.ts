/** activities/attest.ts on hosts in memory: whose orders open a session, what is quoted, whose evidence is taken, and what a refusal ends. */
import { describe, expect, it } from 'vitest';
import { type Hosts, B, beginHosts, recordPath, refusalsOf, timedHosts } from '../support/hosts-in-memory.js';
import { digestOf } from '../../domain/canonical.js';
import { refuse } from '../../domain/failures.js';
import { MigrationId } from '../../domain/ids.js';
import { type OwnershipRecord, type Settlement, TOMBSTONES_MAX, noRecord } from '../../domain/ownership.js';
import { FOREVER, GOOD_PCRS, PCRS, vmOf } from '../../infra/testbed/hostile/people.js';

const REASON = 'it is over';
const HEX = expect.stringMatching(/^[0-9a-f]{64}$/) as string;

const sessionOn = (hosts: Hosts, host: 'host-a' | 'host-b', { migrationId }: { readonly migrationId: MigrationId }) => hosts.services(host).sessions.find(migrationId);

describe('opening a session', () => {
  it('offers a nonce and a TLS key of its own, the same ones to whoever asks again', async () => {
    const hosts = await beginHosts();
    const { signed, order, offers } = await hosts.move('opened');
    const [ofSource, ofDestination] = offers ?? [];
    expect(ofSource).toEqual({ hostId: 'host-a', role: 'source', nonce: HEX, tlsSpkiSha256: sessionOn(hosts, 'host-a', order)?.identity.spkiSha256 });
    expect(ofDestination).toEqual({ hostId: 'host-b', role: 'destination', nonce: HEX, tlsSpkiSha256: sessionOn(hosts, 'host-b', order)?.identity.spkiSha256 });
    expect(ofSource?.nonce).not.toBe(ofDestination?.nonce);
    expect(ofSource?.tlsSpkiSha256).not.toBe(ofDestination?.tlsSpkiSha256);
    expect(await hosts.ask('host-a', 'openSession', { order: signed, role: 'source' })).toEqual(ofSource);
  });

  it('begins with nothing known of the peer, and with what takes the TPM a while', async () => {
    const { hosts, clock } = await timedHosts();
    const { signed, order } = await hosts.move('opened');
    const common = { order, signed, orderDigest: digestOf(order), appraised: null, isNonceUsed: false, secrets: null, incoming: null, acceptedAt: null, outgoing: null, isHeld: false, approval: null, limitsChanges: [] };
    expect(sessionOn(hosts, 'host-a', order)).toMatchObject({ ...common, role: 'source', wrappingKey: null, nonce: { value: HEX, issuedAtMs: clock.ms } });
    expect(sessionOn(hosts, 'host-b', order)).toMatchObject({ ...common, role: 'destination', gathering: null });
    expect(await hosts.drive(Promise.resolve(sessionOn(hosts, 'host-a', order)?.gathering))).toMatchObject({ epoch: 2, previousVerdict: null, disks: [] });
    expect(await hosts.drive(Promise.resolve(sessionOn(hosts, 'host-b', order)?.wrappingKey))).toMatchObject({ evidence: { name: expect.stringMatching(/^000b/) as string } });
  });

  it('is held from the start where its order asks for an approval', async () => {
    const hosts = await beginHosts();
    const { order } = await hosts.move('opened', { requiresApproval: true });
    expect(sessionOn(hosts, 'host-a', order)?.isHeld).toBe(true);
  });

  it('is for orders from the epoch that the source owns, and from none below the destination’s', async () => {
    const hosts = await beginHosts();
    const of = async (epoch: number) => hosts.people.order('web', epoch, 'host-a', 'host-b');
    const stale = (ordered: number, host: string, actual: number) => [`ORDER_STALE: this is for epoch ${ordered} of VM web; ${host} has epoch ${actual}`];
    expect(await hosts.refused('host-a', 'openSession', { order: await of(2), role: 'source' })).toEqual(stale(2, 'host-a', 1));
    const moved = await hosts.move('copied');
    await hosts.ask('host-a', 'resolveSource', { statement: moved.answers?.[2].statement as never });
    expect(await hosts.refused('host-b', 'openSession', { order: await of(1), role: 'destination' })).toEqual(stale(1, 'host-b', 2));
    expect(await hosts.ask('host-b', 'openSession', { order: await of(2), role: 'destination' })).toMatchObject({ role: 'destination' });
    expect(await hosts.ask('host-b', 'openSession', { order: await of(7), role: 'destination' })).toMatchObject({ role: 'destination' });
    expect(await hosts.ask('host-a', 'openSession', { order: await of(1), role: 'source' })).toMatchObject({ role: 'source' });
  });

  it('is refused for a move that is settled here', async () => {
    const hosts = await beginHosts();
    const { signed, order } = await hosts.move('ordered');
    await hosts.ask('host-a', 'closeSession', { order: signed, reason: REASON });
    expect(await hosts.refused('host-a', 'openSession', { order: signed, role: 'source' })).toEqual([`ORDER_SETTLED: host-a has settled move ${order.migrationId} of VM web (withdrawn); an order is good for one move`]);
  });

  it('is refused where too many moves were refused whose orders are still good', async () => {
    const { hosts, clock } = await timedHosts();
    clock.ms = Date.parse('2029-01-01T00:00:00.000Z');
    const { signed } = await hosts.move('ordered');
    const one = (n: number, notAfter: string | null): Settlement => ({ migrationId: MigrationId.parse(`00000000-0000-4000-8000-${String(n).padStart(12, '0')}`), epoch: 2, outcome: 'rejected', manifest: null, reason: 'x', peer: null, authority: null, notAfter });
    const standing = async (notAfters: readonly (string | null)[]) => {
      const record: OwnershipRecord = { ...noRecord(vmOf('web').vmId, B), settled: notAfters.map((notAfter, i) => one(1000 + i, notAfter)) };
      hosts.files('host-b').set(recordPath('host-b'), Buffer.from(JSON.stringify(record)));
      await hosts.startWorker('host-b');
      return hosts.refused('host-b', 'openSession', { order: signed, role: 'destination' });
    };
    const good = '2029-01-01T00:00:00.000Z';
    const full = Array.from({ length: TOMBSTONES_MAX }, () => good);
    expect(await standing(full)).toEqual([`ORDERS_TOO_MANY: host-b remembers ${TOMBSTONES_MAX} refused moves of VM web whose orders are still good`]);
    expect(await standing([...full.slice(1), '2028-12-31T23:59:59.999Z', null])).toEqual([expect.stringContaining('it answers {"hostId":"host-b"')]);
  });
});

describe('a quote', () => {
  it('binds the move, the peer’s nonce, the own TLS key and the wrapping key', async () => {
    const hosts = await beginHosts();
    const { order, offers, evidence } = await hosts.move('quoted');
    const [ofSource, ofDestination] = offers ?? [];
    const common = { protocol: 'korora/1', purpose: 'attest', migrationId: order.migrationId, orderDigest: digestOf(order) };
    const wrappingKey = (await sessionOn(hosts, 'host-b', order)?.wrappingKey)?.evidence;
    expect(evidence?.[0]).toMatchObject({ hostId: 'host-a', wrappingKey: null, eventLog: null, pcrValues: GOOD_PCRS, binding: { ...common, role: 'source', verifierNonce: ofDestination?.nonce, tlsSpkiSha256: ofSource?.tlsSpkiSha256, wrappingKeyName: null } });
    expect(evidence?.[1]).toMatchObject({ hostId: 'host-b', wrappingKey, eventLog: null, pcrValues: GOOD_PCRS, binding: { ...common, role: 'destination', verifierNonce: ofSource?.nonce, tlsSpkiSha256: ofDestination?.tlsSpkiSha256, wrappingKeyName: wrappingKey?.name } });
    expect(Object.keys(evidence?.[0] ?? {}).sort()).toEqual(['binding', 'eventLog', 'hostId', 'pcrValues', 'quote', 'wrappingKey']);
    expect(Object.keys(evidence?.[0]?.binding ?? {}).sort()).toEqual(['migrationId', 'orderDigest', 'protocol', 'purpose', 'role', 'tlsSpkiSha256', 'verifierNonce', 'wrappingKeyName']);
    expect(PCRS.map(String)).toEqual(Object.keys(evidence?.[0]?.pcrValues ?? {}));
  });

  it('shows the event log where no reference set has the values, and only there', async () => {
    const hosts = await beginHosts({ services: (services) => ({ ...services, eventLog: () => Promise.resolve(Buffer.from('what was booted')) }) });
    expect((await hosts.move('quoted')).evidence?.map(({ eventLog }) => eventLog)).toEqual([null, null]);
    hosts.world.hosts['host-b'].tpm.state.pcrs = { ...GOOD_PCRS, '4': 'ee'.repeat(32) };
    expect((await hosts.move('quoted')).evidence?.map(({ eventLog }) => eventLog)).toEqual([null, Buffer.from('what was booted').toString('base64')]);
  });

  it('asks a TPM again that failed to make the wrapping key, and has one a session', async () => {
    let [failures, asked] = [2, 0];
    const problem = refuse('TPM_COMMAND_FAILED', { command: 'create', host: 'host-b', problem: 'it was busy' });
    const hosts = await beginHosts({
      services: (services) => ({ ...services, tpm: { ...services.tpm, createWrappingKey: async (pcrs) => {
        asked += 1;
        if ((failures -= 1) >= 0) throw problem;
        expect(pcrs).toEqual(PCRS);
        return services.tpm.createWrappingKey(pcrs);
      } } }),
    });
    const { signed, offers, order } = await hosts.move('opened');
    await hosts.quiet();
    const question = { order: signed, role: 'destination', peer: offers?.[0] as never } as const;
    expect(await hosts.refused('host-b', 'quoteHost', question)).toEqual([`TPM_COMMAND_FAILED: ${problem.message.replace('TPM_COMMAND_FAILED: ', '')}`]);
    expect(sessionOn(hosts, 'host-b', order)?.wrappingKey).toBeNull();
    const first = await hosts.ask('host-b', 'quoteHost', question);
    expect((await hosts.ask('host-b', 'quoteHost', question)).wrappingKey).toEqual(first.wrappingKey);
    expect(asked).toBe(3);
  });

  it('is for whoever opened the session, in the role that it was opened in', async () => {
    const hosts = await beginHosts();
    const opened = await hosts.move('opened');
    const other = await hosts.move('ordered');
    expect(await hosts.refused('host-b', 'quoteHost', { order: other.signed, role: 'destination', peer: opened.offers?.[0] as never })).toEqual([expect.stringMatching(/^SESSION_LOST: host-b no longer/)]);
    expect(await hosts.refused('host-b', 'quoteHost', { order: opened.signed, role: 'source', peer: opened.offers?.[0] as never })).toEqual(['ORDER_INVALID: the order is not valid: host-b is not its source']);
  });
});

describe('appraising the peer', () => {
  it('names the reference set that it meets, and says the same of the same evidence again', async () => {
    const hosts = await beginHosts();
    const { signed, order, evidence } = await hosts.move('quoted');
    const question = { order: signed, role: 'source', evidence: evidence?.[1] as never } as const;
    expect(await hosts.ask('host-a', 'appraisePeer', question)).toEqual({ referenceSet: 'good' });
    expect(sessionOn(hosts, 'host-a', order)).toMatchObject({ isNonceUsed: true, appraised: { evidence: evidence?.[1], peer: { referenceSet: 'good', evidence: { hostId: 'host-b' } } } });
    expect(await hosts.ask('host-a', 'appraisePeer', question)).toEqual({ referenceSet: 'good' });
  });

  it('takes other evidence no more, which does not end the move', async () => {
    const hosts = await beginHosts();
    const { signed, order, offers } = await hosts.move('appraised');
    const again = await hosts.ask('host-b', 'quoteHost', { order: signed, role: 'destination', peer: offers?.[0] as never });
    const other = { ...again, eventLog: 'AAAA' };
    const before = sessionOn(hosts, 'host-a', order)?.appraised;
    expect(await hosts.refused('host-a', 'appraisePeer', { order: signed, role: 'source', evidence: other })).toEqual([expect.stringMatching(/^NONCE_/)]);
    expect(sessionOn(hosts, 'host-a', order)?.appraised).toBe(before);
    expect(hosts.record('host-a')?.settled).toEqual([]);
  });

  it.each([['host-a', 'source', 1, 'withdrawn', false], ['host-b', 'destination', 0, 'rejected', true]] as const)('that %s refuses ends the move there, and uses up its nonce', async (host, role, ofPeer, outcome, isToldWhy) => {
    const hosts = await beginHosts();
    const { signed, order, evidence } = await hosts.move('quoted');
    const peer = evidence?.[ofPeer] as never as { readonly binding: object };
    const forged = { ...peer, binding: { ...peer.binding, verifierNonce: '00'.repeat(32) } };
    const refusals = await hosts.refused(host, 'appraisePeer', { order: signed, role, evidence: forged as never });
    expect(refusals.map((text) => text.split(':')[0])).toEqual(['NONCE_UNKNOWN', 'QUALIFYING_DATA_MISMATCH']);
    expect(hosts.record(host)?.settled).toMatchObject([{ migrationId: order.migrationId, outcome, reason: isToldWhy ? refusals.join('; ') : null, notAfter: FOREVER }]);
    expect(sessionOn(hosts, host, order)).toMatchObject({ isNonceUsed: true, appraised: null });
    expect(await hosts.refused(host, 'appraisePeer', { order: signed, role, evidence: peer as never })).toEqual([expect.stringMatching(/^NONCE_/)]);
    expect(await hosts.refused(host, 'openSession', { order: signed, role })).toEqual([expect.stringMatching(/^ORDER_SETTLED/)]);
  });

  it('takes evidence as long as the nonce is good, to the millisecond', async () => {
    for (const [late, answer] of [[0, '{"referenceSet":"good"}'], [1, null]] as const) {
      const { hosts, clock } = await timedHosts();
      const { signed, evidence } = await hosts.move('quoted');
      clock.ms += 600_000 + late;
      const [said] = await hosts.refused('host-a', 'appraisePeer', { order: signed, role: 'source', evidence: evidence?.[1] as never });
      expect(said).toMatch(answer === null ? /^NONCE_/ : answer);
    }
  });

  it('is of the peer that the order names, in its own role', async () => {
    const hosts = await beginHosts();
    const { signed, evidence } = await hosts.move('quoted');
    const own = await hosts.refused('host-a', 'appraisePeer', { order: signed, role: 'source', evidence: evidence?.[0] as never });
    expect(own.map((text) => text.split(':')[0])).toEqual(['QUOTE_SIGNATURE_INVALID', 'QUOTE_SIGNER_WRONG', 'BINDING_MISMATCH', 'BINDING_MISMATCH', 'NONCE_UNKNOWN', 'WRAPPING_KEY_INVALID']);
  });
});

describe('closing a session', () => {
  it('ends what is open, and settles the order, on both sides', async () => {
    const hosts = await beginHosts();
    const { signed, order } = await hosts.move('sealed');
    expect(await hosts.ask('host-a', 'closeSession', { order: signed, reason: REASON })).toBeUndefined();
    await hosts.ask('host-b', 'closeSession', { order: signed, reason: REASON });
    for (const host of ['host-a', 'host-b'] as const) expect(sessionOn(hosts, host, order)).toBeUndefined();
    expect(hosts.record('host-a')?.settled).toMatchObject([{ migrationId: order.migrationId, outcome: 'withdrawn' }]);
    expect(hosts.record('host-b')?.settled).toMatchObject([{ migrationId: order.migrationId, outcome: 'rejected', reason: REASON }]);
  });

  it('tells the copy that runs why it ends', async () => {
    const hosts = await beginHosts();
    const { signed, port } = await hosts.move('prepared', { requiresApproval: true });
    const handing = hosts.call('host-a', 'stopAndCopy', { order: signed, port });
    hosts.call('host-a', 'copyMemory', { order: signed, port });
    hosts.call('host-b', 'verifyImage', { order: signed });
    await hosts.quiet();
    await hosts.ask('host-a', 'closeSession', { order: signed, reason: REASON });
    expect(await refusalsOf(handing.answer)).toEqual([`ABORTED: the move was aborted: ${REASON}`]);
    expect(hosts.state('host-a')).toBe('owner');
  });
});
