/** activities/verify.ts on hosts in memory: what a destination takes, and that it decides once before the first instruction. */
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { type Hosts, B, WEB, beginHosts, onBWithImage, refusalsOf } from '../support/hosts-in-memory.js';
import { type Move, QUOTE, copying, sessionOn } from '../support/moves-in-memory.js';
import type { Verification } from '../../activities/verify.js';
import { digestOf } from '../../domain/canonical.js';
import { refuse } from '../../domain/failures.js';
import { type OwnershipRecord, noRecord } from '../../domain/ownership.js';
import { settled } from '../support/settled.js';

describe('taking the image', () => {
  it('accepts it durably before it runs, says so to the source, and signs it', async () => {
    const order: string[] = [];
    const hosts = await beginHosts({ services: (services) => {
      const made = onBWithImage((image) => ({ activate: () => (order.push(`activate, record ${hosts.state('host-b')}`), image.activate()) }), order).services?.(services) ?? services;
      const { ownership } = made;
      return made.hostId === 'host-b' ? { ...made, ownership: { ...ownership, renew: (vmId) => (order.push('renew'), ownership.renew(vmId)) } } : made;
    } });
    const generation = () => hosts.record('host-b')?.generation ?? 0;
    const move = await hosts.move('prepared');
    const waited = generation();
    const { handed, verified } = copying(hosts, move);
    const verification = (await hosts.drive(verified.answer)) as Verification;
    await hosts.drive(handed.answer);
    const { manifest } = verification;
    expect(order).toEqual(['activate, record owner', 'close image', 'renew']);
    expect(generation()).toBe(waited + 1);
    const verdict = { protocol: 'korora/1', purpose: 'verdict', verdict: 'accepted', migrationId: move.order.migrationId, vmId: 'web', destination: 'host-b', epoch: 2, manifestDigest: digestOf(manifest), reason: null };
    expect(verification).toEqual({ statement: { verdict, quote: QUOTE }, isAbsent: false, manifest, timings: verification.timings });
    const { timings } = verification;
    const times = [timings?.manifestAtMs, timings?.loadedAtMs, timings?.decidedAtMs, timings?.runningAtMs].map(Number);
    expect(times.every((ms, i) => ms > 1e12 && (i === 0 || ms >= (times[i - 1] ?? 0)))).toBe(true);
    expect(sessionOn(hosts, 'host-b', move).acceptedAt).toEqual(timings);
    expect(sessionOn(hosts, 'host-b', move).incoming?.isConnected).toBe(true);
    expect([hosts.state('host-b'), hosts.machine('host-b').runs('web'), hosts.state('host-a')]).toEqual(['owner', true, 'retired']);
    expect(hosts.world.network.doorsOf('host-b')).toEqual([]);
    expect(hosts.record('host-b')?.settled).toMatchObject([{ outcome: 'accepted', epoch: 2, peer: 'host-a', manifest, authority: move.signed }]);
  });

  it.each<[string, () => object]>([
    ['accepted', () => ({})],
    ['refused', () => ({ loaded: () => Promise.reject(new Error('a defect')) })],
  ])('that is %s ends its channel and its door once the source was told', async (_, change) => {
    const order: string[] = [];
    const noted = <T extends object>(of: string, part: T, names: readonly (keyof T & string)[]): T => ({ ...part, ...Object.fromEntries(names.map((name) => [name, (...args: unknown[]) => (order.push(`${of}: ${name}`), (part[name] as (...args: unknown[]) => unknown)(...args))])) });
    const hosts = await beginHosts({ services: (services) => {
      const made = onBWithImage(change).services?.(services) ?? services;
      const { channels } = made;
      const listen: typeof channels.listen = async (...asked) => {
        const listener = noted('door', await channels.listen(...asked), ['close']);
        return { ...listener, accept: async () => noted('channel', await listener.accept(), ['sendVerdict', 'close']) };
      };
      return made.hostId === 'host-b' ? { ...made, channels: { ...channels, listen } } : made;
    } });
    const { verified } = copying(hosts, await hosts.move('prepared'));
    await hosts.drive(verified.answer);
    expect(order).toEqual(['channel: sendVerdict', 'channel: close', 'door: close']);
  });

  it('gives the same verdict and manifest again, without times', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('copied');
    const { statement, manifest } = move.answers?.[2] ?? {};
    expect(await hosts.ask('host-b', 'verifyImage', { order: move.signed })).toEqual({ statement: { verdict: statement?.verdict, quote: QUOTE }, isAbsent: false, manifest, timings: null });
    hosts.machine('host-b').turnOff();
    expect(await hosts.ask('host-b', 'verifyImage', { order: move.signed })).toMatchObject({ isAbsent: true });
    const refused = await hosts.move('ordered', { source: 'host-b' as never, destination: 'host-c' as never, epoch: 2 as never });
    await hosts.ask('host-c', 'closeSession', { order: refused.signed, reason: 'it is over' });
    expect(await hosts.ask('host-c', 'verifyImage', { order: refused.signed })).toMatchObject({ statement: { verdict: { verdict: 'rejected', reason: 'it is over' } }, isAbsent: false, manifest: null, timings: null });
  });

  it('is joined by whoever asks again while it goes on', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    const first = hosts.call('host-b', 'verifyImage', { order: move.signed });
    const second = hosts.call('host-b', 'verifyImage', { order: move.signed });
    await hosts.quiet();
    const { incoming } = sessionOn(hosts, 'host-b', move);
    expect(incoming?.verification).not.toBeNull();
    copying(hosts, move);
    expect(await hosts.drive(first.answer)).toEqual(await hosts.drive(second.answer));
  });

  it('is for a destination that has the secrets, and waits', async () => {
    const hosts = await beginHosts();
    const appraised = await hosts.move('appraised');
    expect(await hosts.refused('host-b', 'verifyImage', { order: appraised.signed })).toEqual(['NOT_ATTESTED: host-b did not appraise its peer in this move: taking the image was asked for first']);
    const sealed = await hosts.move('sealed');
    expect(await hosts.refused('host-b', 'verifyImage', { order: sealed.signed })).toEqual([expect.stringMatching(/^SESSION_LOST: host-b /)]);
    expect(await hosts.refused('host-a', 'verifyImage', { order: sealed.signed })).toEqual(['ORDER_INVALID: the order is not valid: host-a is not its destination']);
  });

  it.each<[string, (order: Move['order']) => string]>([
    ['is cancelled', () => 'STEP_GIVEN_UP: host-b gave up its step of the move: its worker was out of touch with Temporal for too long'],
    ['has its session closed', () => 'ABORTED: the move was aborted: it is over'],
  ])('that %s is a rejection, and the door shuts', async (how, reasonOf) => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    const verified = hosts.call('host-b', 'verifyImage', { order: move.signed });
    await hosts.quiet();
    if (how === 'is cancelled') verified.cancel();
    else hosts.call('host-b', 'closeSession', { order: move.signed, reason: 'it is over' });
    expect(await hosts.drive(verified.answer)).toMatchObject({ statement: { verdict: { verdict: 'rejected', reason: reasonOf(move.order) } }, isAbsent: false, manifest: null, timings: null });
    await hosts.quiet();
    expect([hosts.state('host-b'), hosts.status('host-b'), hosts.world.network.doorsOf('host-b')]).toEqual(['none', 'absent', []]);
  });

  it('that is given up before it begins takes nothing', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    sessionOn(hosts, 'host-b', move).incoming?.giveUp.abort(refuse('ABORTED', { reason: 'early' }));
    expect(await hosts.ask('host-b', 'verifyImage', { order: move.signed })).toMatchObject({ statement: { verdict: { verdict: 'rejected', reason: 'ABORTED: the move was aborted: early' } } });
    expect(hosts.world.network.doorsOf('host-b')).toEqual([]);
  });

  it('that is given up while the image arrives tells the source', async () => {
    const hosts = await beginHosts(onBWithImage((image) => ({ loaded: () => new Promise<void>(() => image.loaded().catch(() => undefined)) })));
    const move = await hosts.move('prepared');
    const { handed, verified } = copying(hosts, move);
    await hosts.quiet();
    verified.cancel();
    expect(await hosts.drive(verified.answer)).toMatchObject({ statement: { verdict: { verdict: 'rejected', reason: expect.stringMatching(/^STEP_GIVEN_UP: host-b /) as string } }, manifest: null });
    expect(await refusalsOf(hosts.drive(handed.answer))).toEqual([expect.stringMatching(/^CHANNEL_LOST: .*the destination gave up/)]);
    expect(hosts.state('host-a')).toBe('relinquished');
  });

  it.each<[string, () => object, string, string]>([
    ['stops reading', () => ({ sink: Object.assign(new PassThrough(), { _write: (_: unknown, __: unknown, done: (error: Error) => void) => done(new Error('no memory')) }) }), 'IMAGE_NOT_LOADED: the hypervisor of host-b did not load the image: no memory', 'DESTINATION_REJECTED'],
    ['does not load it', () => ({ loaded: () => Promise.reject(refuse('IMAGE_NOT_LOADED', { host: 'host-b', problem: 'another machine type' })) }), 'IMAGE_NOT_LOADED: the hypervisor of host-b did not load the image: another machine type', 'DESTINATION_REJECTED'],
    ['fails as none does', () => ({ loaded: () => Promise.reject(new Error('a defect')) }), 'a defect', 'DESTINATION_REJECTED'],
  ])('by a hypervisor that %s is rejected, which the source hears', async (_, change, reason, code) => {
    const hosts = await beginHosts(onBWithImage(change));
    const move = await hosts.move('prepared');
    const { handed, verified } = copying(hosts, move);
    expect(await hosts.drive(verified.answer)).toMatchObject({ statement: { verdict: { verdict: 'rejected', reason } }, isAbsent: false, timings: null });
    expect(await refusalsOf(hosts.drive(handed.answer))).toEqual([expect.stringMatching(new RegExp(`^${code}: .*${reason}`))]);
    expect([hosts.state('host-a'), hosts.machine('host-a').runs('web'), hosts.state('host-b'), hosts.status('host-b')]).toEqual(['owner', true, 'none', 'absent']);
  });

  it('that differs from what was wrapped is rejected, and never runs', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    const session = sessionOn(hosts, 'host-b', move);
    if (session.secrets) session.secrets = { ...session.secrets, vtpmIdentity: 'ee'.repeat(32) as never, previousVerdict: 'dd'.repeat(32) as never };
    const { handed, verified } = copying(hosts, move);
    const verification = (await hosts.drive(verified.answer)) as Verification;
    expect(verification.manifest).toBeNull();
    expect(verification.statement.verdict.reason?.split('; ').map((text) => text.split(':')[0])).toEqual(['MANIFEST_MISMATCH', 'MANIFEST_MISMATCH']);
    expect(await refusalsOf(hosts.drive(handed.answer))).toEqual([expect.stringMatching(/^DESTINATION_REJECTED: the destination rejected the image: MANIFEST_MISMATCH/)]);
    expect(hosts.machine('host-b').runs('web')).toBe(false);
  });

  it('is rejected where the source breaks off', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared', { requiresApproval: true });
    const { verified } = copying(hosts, move);
    await hosts.quiet();
    hosts.world.endWorker('host-a');
    expect(await hosts.drive(verified.answer)).toMatchObject({ statement: { verdict: { verdict: 'rejected', reason: expect.stringMatching(/^CHANNEL_LOST: /) as string } } });
  });

  it('that was accepted stays so whatever fails then: it is let run, or may be started', async () => {
    for (const isGone of [false, true]) {
      const log: string[] = [];
      const hosts: Hosts = await beginHosts(onBWithImage(() => ({ activate: () => {
        if (isGone) hosts.machine('host-b').turnOff();
        return Promise.reject(new Error('the hypervisor did not answer'));
      } }), log));
      const move = await hosts.move('prepared');
      const { handed, verified } = copying(hosts, move);
      const verification = (await hosts.drive(verified.answer)) as Verification;
      expect(verification).toMatchObject({ statement: { verdict: { verdict: 'accepted', manifestDigest: digestOf(verification.manifest) } }, isAbsent: isGone, timings: null });
      expect(await hosts.drive(handed.answer)).toMatchObject({ verdict: { verdict: 'accepted' } });
      expect([hosts.state('host-b'), hosts.machine('host-b').runs('web'), log]).toEqual(['owner', !isGone, ['close image']]);
    }
  });

  it('is no verdict where its epoch was owned by another move: what went wrong is told', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    const verified = hosts.call('host-b', 'verifyImage', { order: move.signed });
    await hosts.quiet();
    const { ownership } = hosts.services('host-b');
    const record: OwnershipRecord = { ...noRecord(WEB, B), state: 'owner', epoch: 2 };
    Object.assign(ownership, { hold: <T>(_: unknown, work: (held: OwnershipRecord, apply: never) => Promise<T>) => work(record, undefined as never) });
    sessionOn(hosts, 'host-b', move).incoming?.giveUp.abort(refuse('ABORTED', { reason: 'a test' }));
    expect(await refusalsOf(hosts.drive(verified.answer))).toEqual(['ABORTED: the move was aborted: a test']);
    await settled();
    expect(hosts.world.network.doorsOf('host-b')).toEqual([]);
  });
});
