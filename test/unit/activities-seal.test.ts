/** activities/seal.ts on hosts in memory: whom the secrets of a VM are wrapped for, what they say, who opens them, and what becomes of the bytes. */
import { describe, expect, it } from 'vitest';
import { type Hosts, WEB, beginHosts, installedPath, refusalsOf } from '../support/hosts-in-memory.js';
import { copying, type Move, sessionOn } from '../support/moves-in-memory.js';
import { createSealing } from '../../activities/seal.js';
import type { MoveSecrets, Session } from '../../activities/session.js';
import { canonicalJson, digestOf } from '../../domain/canonical.js';
import { refuse } from '../../domain/failures.js';
import type { SecretKey } from '../../domain/secret-key.js';
import type { InstalledVm } from '../../host/vm-store.js';
import { vmOf } from '../../infra/testbed/hostile/people.js';

const bytesOf = (key: SecretKey | undefined) => key?.use((bytes) => Buffer.from(bytes).toString('hex'));
const installedOn = (hosts: Hosts) => JSON.parse(hosts.files('host-a').get(installedPath('host-a'))?.toString() ?? '') as InstalledVm;
const install = (hosts: Hosts, changes: Partial<InstalledVm>) => hosts.files('host-a').set(installedPath('host-a'), Buffer.from(JSON.stringify({ ...installedOn(hosts), ...changes })));

/** These bytes, as the source would wrap them for the destination of this move. */
async function wrapping(hosts: Hosts, move: Move, plain: Buffer) {
  const key = sessionOn(hosts, 'host-a', move).appraised?.peer.evidence.wrappingKey;
  if (!key) throw new Error('not attested');
  const context = canonicalJson({ protocol: 'korora/1', purpose: 'seal', migrationId: move.order.migrationId, orderDigest: digestOf(move.order), wrappingKeyName: key.name });
  return hosts.services('host-a').verifier.wrapSecrets(key.publicArea, plain, Buffer.from(context));
}

const MANIFEST = { protocol: 'korora/1', migrationId: '00000000-0000-4000-8000-000000000001', vmId: 'web', epoch: 1, streamBytes: 1, streamSha256: 'ab'.repeat(32), vtpmIdentity: 'cd'.repeat(32), previousVerdict: null };
const KEY = Buffer.alloc(32, 7).toString('base64');
const DOCUMENT = { sessionKey: KEY, vtpmMigrationKey: Buffer.alloc(32, 8).toString('base64'), epoch: 2, vtpmIdentity: 'ab'.repeat(32), disks: ['cd'.repeat(32)], previousVerdict: 'ef'.repeat(32) };

describe('the secrets of a VM', () => {
  it('are at the destination what they are at the source, however often they are wrapped', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('sealed');
    const [own, theirs] = [sessionOn(hosts, 'host-a', move).secrets, sessionOn(hosts, 'host-b', move).secrets];
    expect([bytesOf(theirs?.sessionKey), bytesOf(theirs?.vtpmMigrationKey)]).toEqual([bytesOf(own?.sessionKey), bytesOf(own?.vtpmMigrationKey)]);
    expect({ ...theirs, sessionKey: 0, vtpmMigrationKey: 0 }).toEqual({ epoch: 2, vtpmIdentity: installedOn(hosts).vtpm?.identity, disks: [], previousVerdict: null, sessionKey: 0, vtpmMigrationKey: 0 });
    expect({ ...own, sessionKey: 0, vtpmMigrationKey: 0 }).toEqual({ ...theirs, sessionKey: 0, vtpmMigrationKey: 0 });
    const again = await hosts.ask('host-a', 'wrapSecrets', { order: move.signed });
    expect(again).not.toEqual(move.wrapped);
    expect(sessionOn(hosts, 'host-a', move).secrets).toBe(own);
    expect(await hosts.ask('host-b', 'unwrapSecrets', { order: move.signed, wrapped: again })).toBeUndefined();
    expect(sessionOn(hosts, 'host-b', move).secrets).toBe(theirs);
  });

  it('have a session key of this move, and the migration key of the vTPM', async () => {
    const hosts = await beginHosts();
    const [one, other] = [await hosts.move('sealed'), await hosts.move('sealed')];
    const [ofOne, ofOther] = [sessionOn(hosts, 'host-a', one).secrets, sessionOn(hosts, 'host-a', other).secrets];
    expect(bytesOf(ofOne?.sessionKey)).not.toBe(bytesOf(ofOther?.sessionKey));
    const vtpm = hosts.machine('host-a').vtpms.get('/run/host-a/web');
    expect([bytesOf(ofOne?.vtpmMigrationKey), bytesOf(ofOther?.vtpmMigrationKey)]).toEqual([vtpm?.migrationKey, vtpm?.migrationKey]);
  });

  it('are those that were gathered while the hosts attested, and are gathered where nobody had', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('appraised');
    const session = sessionOn(hosts, 'host-a', move);
    const gathered = await hosts.drive(Promise.resolve(session.gathering));
    await hosts.ask('host-a', 'wrapSecrets', { order: move.signed });
    expect(session.secrets).toBe(gathered);
    [session.secrets, session.gathering] = [null, null];
    await hosts.ask('host-a', 'wrapSecrets', { order: move.signed });
    expect(session.secrets).not.toBe(gathered);
    expect(session.secrets).toBe(await session.gathering);
  });

  it('name the verdict by which the source came to own the VM', async () => {
    const hosts = await beginHosts();
    const there = await hosts.move('copied');
    const { statement } = there.answers?.[2] ?? {};
    await hosts.ask('host-a', 'resolveSource', { statement: statement as never });
    const back = await hosts.move('sealed', { source: 'host-b' as never, destination: 'host-a' as never });
    expect(hosts.services('host-b').sessions.find(back.order.migrationId)?.secrets).toMatchObject({ epoch: 3, previousVerdict: digestOf(statement?.verdict) });
  });

  it('name no verdict of another epoch, nor one that was no acceptance', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('appraised');
    const { ownership, ...services } = hosts.services('host-a');
    const record = await hosts.drive(ownership.read(WEB));
    const settled = { migrationId: move.order.migrationId, manifest: MANIFEST, reason: null, peer: 'host-b', authority: null, notAfter: null };
    const gathered = async (ofIt: object) => {
      const sealing = createSealing({ ...services, ownership: { ...ownership, read: () => Promise.resolve({ ...record, settled: [ofIt] } as never) } }, { settleHere: () => Promise.resolve() });
      const session = { ...sessionOn(hosts, 'host-a', move), gathering: null } as Session;
      sealing.gatherAhead(session);
      return (await hosts.drive(Promise.resolve(session.gathering)))?.previousVerdict;
    };
    expect(await gathered({ ...settled, epoch: 1, outcome: 'accepted' })).toBe(
      digestOf({ protocol: 'korora/1', purpose: 'verdict', migrationId: move.order.migrationId, vmId: 'web', destination: 'host-a', epoch: 1, verdict: 'accepted', manifestDigest: digestOf(MANIFEST), reason: null }),
    );
    expect(await gathered({ ...settled, epoch: 2, outcome: 'accepted' })).toBeNull();
    expect(await gathered({ ...settled, epoch: 1, outcome: 'rejected' })).toBeNull();
  });
});

describe('wrapping', () => {
  it('is for a peer that was appraised, and whose wrapping key was', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('quoted');
    const refusal = ['NOT_ATTESTED: host-a did not appraise its peer in this move: wrapping the VM secrets was asked for first'];
    expect(await hosts.refused('host-a', 'wrapSecrets', { order: move.signed })).toEqual(refusal);
    await hosts.ask('host-a', 'appraisePeer', { order: move.signed, role: 'source', evidence: move.evidence?.[1] as never });
    const session = sessionOn(hosts, 'host-a', move);
    const { appraised } = session;
    session.appraised = { peer: { ...appraised?.peer, evidence: { ...appraised?.peer.evidence, wrappingKey: null } } } as never;
    expect(await hosts.refused('host-a', 'wrapSecrets', { order: move.signed })).toEqual(refusal);
    expect(session.secrets).toBeNull();
    expect(await hosts.refused('host-b', 'wrapSecrets', { order: move.signed })).toEqual(['ORDER_INVALID: the order is not valid: host-b is not its source']);
  });

  it('leaves nothing of what it wrapped in memory, also where it fails', async () => {
    const seen: { readonly bytes: Buffer; readonly context: string }[] = [];
    let fails = false;
    const hosts = await beginHosts({ services: (services) => ({ ...services, verifier: { ...services.verifier, wrapSecrets: (area, secret, context) => {
      seen.push({ bytes: secret, context: context.toString() });
      expect(JSON.parse(secret.toString())).toMatchObject({ epoch: 2, disks: [], previousVerdict: null });
      if (fails) throw refuse('SECRETS_INVALID', { host: 'host-a', problem: 'a test' });
      return services.verifier.wrapSecrets(area, secret, context);
    } } }) });
    const move = await hosts.move('sealed');
    fails = true;
    expect(await hosts.refused('host-a', 'wrapSecrets', { order: move.signed })).toEqual(['SECRETS_INVALID: the wrapped VM secrets do not open on host-a: a test']);
    expect(seen).toHaveLength(2);
    for (const { bytes } of seen) expect([bytes.length > 100, bytes.every((byte) => byte === 0)]).toEqual([true, true]);
    expect(JSON.parse(seen[0]?.context ?? '')).toEqual({ protocol: 'korora/1', purpose: 'seal', migrationId: move.order.migrationId, orderDigest: digestOf(move.order), wrappingKeyName: move.evidence?.[1]?.wrappingKey?.name });
  });

  it.each<[string, (hosts: Hosts) => unknown, string]>([
    ['a VM that is not installed', (hosts) => hosts.files('host-a').delete(installedPath('host-a')), 'VM_UNKNOWN: '],
    ['another document than was ordered', (hosts) => install(hosts, { vm: { ...vmOf('web'), memoryBytes: 128 * 1024 * 1024 } }), 'VM_DIFFERS: '],
    ['a VM without a vTPM', (hosts) => install(hosts, { vtpm: null }), 'VM_WITHOUT_VTPM: '],
    ['keys of another TPM', (hosts) => install(hosts, { vtpm: { identity: 'ab'.repeat(32) as never, keys: { publicArea: 'AAAA', privateArea: Buffer.alloc(60).toString('base64') } } as never }), 'TPM_COMMAND_FAILED: '],
  ])('is refused for %s, by what was seen when the session was opened', async (_, change, code) => {
    const hosts = await beginHosts();
    change(hosts);
    const move = await hosts.move('appraised');
    expect(await hosts.refused('host-a', 'wrapSecrets', { order: move.signed })).toEqual([expect.stringMatching(new RegExp(`^${code}.*(?:web|host-a)`))]);
    expect(sessionOn(hosts, 'host-a', move).secrets).toBeNull();
  });

  it('is refused for a VM that another move has on offer, before anybody looks at its files', async () => {
    const hosts = await beginHosts();
    const first = await hosts.move('prepared', { requiresApproval: true });
    copying(hosts, first);
    await hosts.quiet();
    install(hosts, { vm: { ...vmOf('web'), memoryBytes: 128 * 1024 * 1024 } });
    const second = await hosts.move('appraised');
    expect(await hosts.refused('host-a', 'wrapSecrets', { order: second.signed })).toEqual(['VM_NOT_OWNED: host-a does not own VM web: its ownership record says offering']);
  });

  it('is refused where the source owns another epoch by then', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('appraised');
    const { ownership, ...services } = hosts.services('host-a');
    const record = await hosts.drive(ownership.read(WEB));
    for (const epoch of [2, 3]) {
      const sealing = createSealing({ ...services, ownership: { ...ownership, read: () => Promise.resolve({ ...record, epoch } as never) } }, { settleHere: () => Promise.resolve() });
      const session = { ...sessionOn(hosts, 'host-a', move), gathering: null } as Session;
      sealing.gatherAhead(session);
      expect(await refusalsOf(hosts.drive(Promise.resolve(session.gathering)))).toEqual([`ORDER_STALE: this is for epoch 1 of VM web; host-a has epoch ${epoch}`]);
    }
  });

  it('is refused where the operator may not have what the VM opens', async () => {
    const hosts = await beginHosts();
    await hosts.install(({ operators }) => ({ operators: operators.map((one) => ({ ...one, scopes: one.scopes.map((scope) => ({ ...scope, bootFiles: ['/elsewhere/*'] })) })) }));
    const move = await hosts.move('appraised');
    expect((await hosts.refused('host-a', 'wrapSecrets', { order: move.signed })).map((text) => text.split(':')[0])).toEqual(['RESOURCE_NOT_ALLOWED', 'RESOURCE_NOT_ALLOWED']);
  });
});

describe('opening the secrets', () => {
  it('is for a host that appraised its peer, and still has the key', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('quoted');
    await hosts.ask('host-a', 'appraisePeer', { order: move.signed, role: 'source', evidence: move.evidence?.[1] as never });
    const wrapped = await hosts.ask('host-a', 'wrapSecrets', { order: move.signed });
    expect(await hosts.refused('host-b', 'unwrapSecrets', { order: move.signed, wrapped })).toEqual(['NOT_ATTESTED: host-b did not appraise its peer in this move: opening the VM secrets was asked for first']);
    await hosts.ask('host-b', 'appraisePeer', { order: move.signed, role: 'destination', evidence: move.evidence?.[0] as never });
    sessionOn(hosts, 'host-b', move).wrappingKey = null;
    expect(await hosts.refused('host-b', 'unwrapSecrets', { order: move.signed, wrapped })).toEqual([expect.stringMatching(/^SESSION_LOST: host-b /)]);
    expect(await hosts.refused('host-a', 'unwrapSecrets', { order: move.signed, wrapped })).toEqual(['ORDER_INVALID: the order is not valid: host-a is not its destination']);
  });

  it('ends the move where the TPM refuses, since it will not say otherwise', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('appraised');
    const wrapped = await hosts.ask('host-a', 'wrapSecrets', { order: move.signed });
    hosts.world.hosts['host-b'].tpm.state.pcrs = { '0': 'ee'.repeat(32) };
    const [refusal = ''] = await hosts.refused('host-b', 'unwrapSecrets', { order: move.signed, wrapped });
    expect(refusal).toBe('UNSEAL_REFUSED: the TPM of host-b refused to open the VM secrets: its PCRs are not those it was attested with');
    expect(hosts.record('host-b')?.settled).toMatchObject([{ migrationId: move.order.migrationId, outcome: 'rejected', reason: refusal, notAfter: move.order.notAfter }]);
  });

  it('of bytes that do not authenticate is refused, and ends nothing', async () => {
    const hosts = await beginHosts();
    const [move, other] = [await hosts.move('appraised'), await hosts.move('sealed')];
    const refusals = await hosts.refused('host-b', 'unwrapSecrets', { order: move.signed, wrapped: other.wrapped as never });
    expect(refusals).toEqual(['SECRETS_INVALID: the wrapped VM secrets do not open on host-b: the ciphertext does not authenticate']);
    expect(hosts.record('host-b')).toBeNull();
    expect(sessionOn(hosts, 'host-b', move).secrets).toBeNull();
  });

  it('gives what the document says, and leaves nothing of it in memory', async () => {
    const opened: Buffer[] = [];
    const hosts = await beginHosts({ services: (services) => ({ ...services, tpm: { ...services.tpm, createWrappingKey: async (pcrs) => {
      const key = await services.tpm.createWrappingKey(pcrs);
      return { ...key, unwrap: async (wrapped, context) => {
        const plain = await key.unwrap(wrapped, context);
        opened.push(plain);
        return plain;
      } };
    } } }) });
    const move = await hosts.move('appraised');
    await hosts.ask('host-b', 'unwrapSecrets', { order: move.signed, wrapped: await wrapping(hosts, move, Buffer.from(canonicalJson(DOCUMENT))) });
    const { sessionKey, vtpmMigrationKey, ...others } = sessionOn(hosts, 'host-b', move).secrets as MoveSecrets;
    expect([bytesOf(sessionKey), bytesOf(vtpmMigrationKey), others]).toEqual(['07'.repeat(32), '08'.repeat(32), { epoch: 2, vtpmIdentity: 'ab'.repeat(32), disks: ['cd'.repeat(32)], previousVerdict: 'ef'.repeat(32) }]);
    expect(await hosts.refused('host-b', 'unwrapSecrets', { order: move.signed, wrapped: await wrapping(hosts, move, Buffer.from('{"a secret"')) })).toEqual(['SECRETS_INVALID: the wrapped VM secrets do not open on host-b: they are not a secrets document']);
    expect(opened.map((bytes) => bytes.every((byte) => byte === 0))).toEqual([true, true]);
  });

  it.each<[string, object]>([
    ['a session key of another length', { sessionKey: Buffer.alloc(31, 1).toString('base64') }],
    ['a session key of zeros', { sessionKey: Buffer.alloc(32).toString('base64') }],
    ['a migration key of another length', { vtpmMigrationKey: Buffer.alloc(48, 1).toString('base64') }],
    ['no epoch', { epoch: null }],
    ['no vTPM', { vtpmIdentity: 'x' }],
    ['disks that are no digests', { disks: ['x'] }],
    ['a verdict that is no digest', { previousVerdict: 'x' }],
    ['something else', { more: 1 }],
  ])('with %s is refused without a word of what they are', async (_, changes) => {
    const hosts = await beginHosts();
    const move = await hosts.move('appraised');
    const wrapped = await wrapping(hosts, move, Buffer.from(JSON.stringify({ ...DOCUMENT, ...changes })));
    expect(await hosts.refused('host-b', 'unwrapSecrets', { order: move.signed, wrapped })).toEqual(['SECRETS_INVALID: the wrapped VM secrets do not open on host-b: they are not a secrets document']);
    expect(sessionOn(hosts, 'host-b', move).secrets).toBeNull();
  });

  it.each([1, 3])('of epoch %i is refused: the order is for the next one', async (epoch) => {
    const hosts = await beginHosts();
    const move = await hosts.move('appraised');
    const wrapped = await wrapping(hosts, move, Buffer.from(canonicalJson({ ...DOCUMENT, epoch })));
    expect(await hosts.refused('host-b', 'unwrapSecrets', { order: move.signed, wrapped })).toEqual([`ORDER_STALE: this is for epoch 1 of VM web; host-a has epoch ${epoch - 1}`]);
    expect(sessionOn(hosts, 'host-b', move).secrets).toBeNull();
  });
});
