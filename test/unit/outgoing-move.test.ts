/**
 * activities/outgoing-move.ts in the order of its steps, over stand-ins for hypervisor, channel and record that do
 * what a test tells them. No claim about a move rests on them: those are test/e2e's, on the real parts.
 */
import { failure, refuse } from '../../domain/failures.js';
import { PassThrough } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { createOutgoingMove } from '../../activities/outgoing-move.js';
import type { HostServices } from '../../activities/services.js';
import type { Session } from '../../activities/session.js';
import type { StreamSummary } from '../../channel/port.js';
import type { AppraisedPeer } from '../../domain/appraisal.js';
import { Epoch } from '../../domain/ids.js';
import type { OwnershipEvent } from '../../domain/ownership.js';
import { type CopyLimits, type CopyProgress, plannedPauseMs } from '../../domain/progress.js';
import { settleable } from '../../domain/settleable.js';
import { SecretKey } from '../../domain/secret-key.js';
import type { PauseFacts } from '../../hypervisor/port.js';
import { PEER_BOOT, digest, manifestOf, orderOf, samples, verdictOf, vmDocument } from '../support/documents.js';

function newMove(limits: Partial<CopyLimits> = {}, requiresApproval = false, vmStatus = 'running') {
  const order = orderOf({ limits: { ...samples.order.limits, ...limits }, requiresApproval });
  /** What was done, in order. */
  const done: string[] = [];
  const imageOpens = settleable<void>();
  const pauses = settleable<PauseFacts>();
  const relinquishes = settleable<void>();
  const sent = settleable<StreamSummary>();
  const breaks = settleable<never>();
  let progress: CopyProgress = { round: 1, sentBytes: 1, remainingBytes: 2, totalBytes: 3, dirtyBytesPerSecond: null, elapsedMs: 4, throttlePercent: null };
  const image = {
    image: new PassThrough(),
    paused: pauses.promise,
    progress: async () => progress,
    setLimits: async ({ downtimeLimitMs }: CopyLimits) => void done.push(`pause limit ${downtimeLimitMs}`),
    setHeld: async (isHeld: boolean) => {
      done.push(isHeld ? 'hold' : 'let go on');
      return { isHeld, isCertain: true };
    },
    setThrottle: async (percent: number) => void done.push(`throttle ${percent}`),
    release: async () => void done.push('release'),
    close: async () => void done.push('close image'),
  };
  const channel = {
    sendImage: () => sent.promise,
    sendManifest: async () => void done.push('manifest'),
    receiveVerdict: async () => verdictOf(),
    broken: breaks.promise,
    abort: (reason: string) => void done.push(`abort channel: ${reason}`),
    close: async () => void done.push('close channel'),
  };
  const services = {
    hypervisor: {
      status: async () => vmStatus,
      async openOutgoing(_: unknown, __: unknown, { downtimeLimitMs }: CopyLimits, { isHeld }: { readonly isHeld: boolean }) {
        done.push(`open image${isHeld ? ', held' : ''}, pause limit ${downtimeLimitMs}`);
        await imageOpens.promise;
        return image;
      },
    },
    channels: { connect: async () => channel },
    ownership: {
      async apply(_: unknown, { type }: OwnershipEvent) {
        if (type === 'relinquish') await relinquishes.promise;
        done.push(type);
      },
    },
    vms: { runDirOf: () => '/run/of/the/test' },
  } as unknown as HostServices;
  const withdrawOffer = async () => {
    done.push('bring back, withdraw');
    return 'runs' as const;
  };
  const session = { order, isHeld: order.requiresApproval, identity: { spkiSha256: digest(1), certificate: '', privateKey: '' } } as unknown as Session;
  const sessionKey = SecretKey.of(Buffer.alloc(32, 1));
  const copies = vi.spyOn(sessionKey, 'copy');
  const move = createOutgoingMove(services, { withdrawOffer }, {
    session,
    vm: vmDocument(),
    address: { host: '127.0.0.1', port: 1 },
    peer: { evidence: samples.destinationEvidence } as unknown as AppraisedPeer,
    peerBoot: PEER_BOOT,
    secrets: { sessionKey, vtpmMigrationKey: SecretKey.of(Buffer.alloc(32, 2)), epoch: Epoch.parse(2), previousVerdict: null, vtpmIdentity: manifestOf().vtpmIdentity, disks: [] },
  });
  const turn = () => new Promise(setImmediate);
  return { move, order, session, done, turn, keyOfCopy: () => copies.mock.results[0]?.value as SecretKey, imageOpens, pauses, relinquishes, sent, breaks, inRound: (round: number, throttlePercent: number | null = null) => (progress = { ...progress, round, throttlePercent }) };
}

describe('an outgoing move', () => {
  it('hands over in order: the manifest leaves after the last byte and the durable record, whichever comes last', async () => {
    for (const last of ['record', 'image'] as const) {
      const { move, done, turn, imageOpens, pauses, relinquishes, sent } = newMove();
      const handover = move.finish();
      imageOpens.resolve();
      pauses.resolve({ stoppedAtMs: 0 });
      await turn();
      const first = last === 'record' ? () => sent.resolve({ bytes: 1, sha256: digest(2) }) : () => relinquishes.resolve();
      const second = last === 'record' ? () => relinquishes.resolve() : () => sent.resolve({ bytes: 1, sha256: digest(2) });
      first();
      await turn();
      expect(done).not.toContain('manifest');
      second();
      expect((await handover).verdict.verdict).toBe('accepted');
      expect(done.filter((what) => what !== 'release')).toEqual(['offer', 'open image, pause limit 10', 'relinquish', 'manifest', 'learn-verdict', 'close image', 'close channel']);
    }
  });

  it('offers nothing that does not run', async () => {
    const { move, done } = newMove({}, false, 'paused');
    await expect(move.finish()).rejects.toMatchObject({ failures: [failure('VM_NOT_RUNNING', { host: 'host-a', vm: 'web-1', status: 'paused' })] });
    expect(done).toEqual([]);
  });

  it('whose image does not open tells the channel so, and destroys its key', async () => {
    const { move, done, imageOpens, keyOfCopy } = newMove();
    const handover = move.finish();
    imageOpens.reject(new Error('no such device'));
    await expect(handover).rejects.toThrow('no such device');
    expect(done).toEqual(['offer', 'open image, pause limit 10', 'abort channel: the source could not open its image', 'bring back, withdraw']);
    expect(keyOfCopy().isDestroyed).toBe(true);
  });

  it('that breaks in a way nobody foresaw tells the channel that it ended', async () => {
    const { move, done, turn, imageOpens, breaks } = newMove();
    const handover = move.finish();
    handover.catch(() => undefined);
    imageOpens.resolve();
    await turn();
    breaks.reject(new Error('it broke'));
    await expect(handover).rejects.toThrow('it broke');
    expect(done.slice(2)).toEqual(['abort channel: the source ended the copy', 'close image', 'bring back, withdraw']);
  });

  it('takes other limits before there is a copy', async () => {
    const { move, order, done, turn, imageOpens } = newMove({ downtimeLimitMs: 60 });
    await move.setLimits({ ...order.limits, downtimeLimitMs: 5 });
    move.finish().catch(() => undefined);
    imageOpens.resolve();
    await turn();
    expect(done).toEqual(['offer', 'open image, pause limit 5']);
  });

  it('counts a round once, however often it is asked in it, and none before the first', async () => {
    const { move, done, turn, imageOpens, inRound } = newMove({ downtimeLimitMs: 10, stallRounds: 2 });
    move.finish().catch(() => undefined);
    imageOpens.resolve();
    await turn();
    for (const round of [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]) {
      inRound(round);
      await move.progress();
    }
    await turn();
    expect([done.slice(2), Object.keys(move.rounds), move.rounds.map(({ round }) => round)]).toEqual([[], ['0', '1'], [1, 2]]);
  });

  it('counts no round in which it was held, and each of the others', async () => {
    const { move, session, done, turn, imageOpens, inRound } = newMove({ downtimeLimitMs: 10, stallRounds: 2 });
    const handover = move.finish();
    handover.catch(() => undefined);
    imageOpens.resolve();
    await turn();
    const inRounds = async (...rounds: readonly number[]) => {
      for (const round of rounds) {
        inRound(round);
        await move.progress();
        await turn();
      }
    };
    await inRounds(2, 3);
    session.isHeld = true;
    await move.followHold();
    await inRounds(4);
    session.isHeld = false;
    await move.followHold();
    await inRounds(5, 6);
    expect(done.slice(2)).toEqual(['hold', 'let go on']);
    await inRounds(7);
    await expect(handover).rejects.toMatchObject({ code: 'COPY_STALLED' });
  });

  it('plans a longer pause as memory rounds go by, up to the limit in force', async () => {
    const { move, order, done, turn, imageOpens, inRound } = newMove({ downtimeLimitMs: 60 });
    move.finish().catch(() => undefined);
    imageOpens.resolve();
    await turn();
    for (const round of [2, 3, 4, 5, 6, 7]) {
      inRound(round);
      await move.progress();
    }
    await move.setLimits({ ...order.limits, downtimeLimitMs: 100 });
    expect(done.slice(2)).toEqual(['pause limit 20', 'pause limit 40', 'pause limit 60', 'pause limit 100']);
  });

  it('that does not converge slows the guest as far as it may, then ends before the pause', async () => {
    const { move, done, turn, imageOpens, inRound } = newMove({ downtimeLimitMs: 10, stallRounds: 2, autoConverge: { initialPercent: 30, incrementPercent: 50, maxPercent: 60 } });
    const handover = move.finish();
    handover.catch(() => undefined);
    imageOpens.resolve();
    await turn();
    for (const [round, throttlePercent] of [[2, 1], [3, 1], [4, 1], [5, 1], [6, 30], [7, 30], [8, 30], [9, 60], [10, 60], [11, 60]] as const) {
      inRound(round, throttlePercent);
      await move.progress();
    }
    await expect(handover).rejects.toMatchObject({ code: 'COPY_STALLED' });
    await expect(move.paused).rejects.toMatchObject({ code: 'COPY_STALLED' });
    expect(done.slice(2)).toEqual(['throttle 30', 'throttle 60', 'abort channel: COPY_STALLED', 'close image', 'bring back, withdraw']);
  });

  it('does not count the rounds in which it was held, and opens held where the order asks for approval', async () => {
    const { move, session, done, turn, imageOpens, inRound } = newMove({ downtimeLimitMs: 10, stallRounds: 2 }, true);
    const handover = move.finish();
    handover.catch(() => undefined);
    imageOpens.resolve();
    await turn();
    for (const round of [2, 3, 4, 5]) {
      inRound(round);
      await move.progress();
    }
    session.isHeld = false;
    expect(await move.followHold()).toEqual({ isHeld: false, isCertain: true });
    for (const round of [6, 7]) {
      inRound(round);
      await move.progress();
    }
    expect(done.slice(1)).toEqual(['open image, held, pause limit 10', 'let go on']);
    session.isHeld = true;
    await move.followHold();
    session.isHeld = false;
    await move.followHold();
    for (const round of [8, 9]) {
      inRound(round);
      await move.progress();
    }
    expect(done.slice(3)).toEqual(['hold', 'let go on']);
    inRound(10);
    await move.progress();
    await expect(handover).rejects.toMatchObject({ code: 'COPY_STALLED' });
  });

  it('is held from the start where that was asked while its image opened', async () => {
    const { move, session, done, turn, imageOpens } = newMove();
    move.finish().catch(() => undefined);
    await turn();
    session.isHeld = true;
    expect(await move.followHold()).toEqual({ isHeld: true, isCertain: true });
    imageOpens.resolve();
    await turn();
    expect(done.slice(1)).toEqual(['open image, pause limit 10', 'hold']);
  });

  it('that is aborted while its image opens closes all it opened, and nothing else surprises the process', async () => {
    const surprises: unknown[] = [];
    const note = (reason: unknown) => surprises.push(reason);
    process.on('unhandledRejection', note);
    try {
      const { move, done, turn, imageOpens, breaks } = newMove();
      const handover = move.finish();
      await turn();
      move.abort(refuse('ABORTED', { reason: 'a test wanted it' }));
      imageOpens.resolve();
      await expect(handover).rejects.toMatchObject({ code: 'ABORTED' });
      breaks.reject(new Error('the channel ends after it was aborted'));
      await turn();
      await move.ended;
      expect(done).toEqual(['offer', 'open image, pause limit 10', 'abort channel: ABORTED', 'close image', 'bring back, withdraw']);
      expect(surprises).toEqual([]);
    } finally {
      process.off('unhandledRejection', note);
    }
  });

  it('has nothing to show before the copy, and no more questions for the hypervisor once it has paused', async () => {
    const { move, turn, imageOpens, pauses, inRound } = newMove();
    expect([await move.progress(), move.isConnected, move.rounds]).toEqual([null, false, []]);
    move.finish().catch(() => undefined);
    imageOpens.resolve();
    await turn();
    expect([(await move.progress())?.round, move.isConnected]).toEqual([1, true]);
    for (const round of [2, 3]) {
      inRound(round);
      await move.progress();
    }
    pauses.resolve({ stoppedAtMs: 0 });
    await move.paused;
    inRound(4);
    expect([(await move.progress())?.round, move.rounds.map(({ round }) => round)]).toEqual([3, [1, 2, 3]]);
    await expect(move.followHold()).rejects.toThrow('NOT_COPYING: VM web-1 is not in its memory rounds (phase stopped)');
  });

  it('ends after as many rounds as its limits have', async () => {
    const { move, done, turn, imageOpens, inRound } = newMove({ maxRounds: 2, stallRounds: 50 });
    const handover = move.finish();
    handover.catch(() => undefined);
    imageOpens.resolve();
    await turn();
    inRound(2);
    await move.progress();
    await turn();
    expect(done).not.toContain('close image');
    inRound(3);
    await move.progress();
    await expect(handover).rejects.toMatchObject({ code: 'COPY_NOT_CONVERGING', message: 'COPY_NOT_CONVERGING: after 2 rounds 2 bytes are still dirty' });
    expect(done.slice(-3)).toEqual(['abort channel: COPY_NOT_CONVERGING', 'close image', 'bring back, withdraw']);
  });

  it('that is aborted before anybody would stop it offers nothing', async () => {
    const { move, done } = newMove();
    move.abort(refuse('ABORTED', { reason: 'a test wanted it' }));
    await expect(move.paused).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(move.finish()).rejects.toMatchObject({ code: 'ABORTED' });
    await move.ended;
    expect(done).toEqual([]);
  });

  it.each<[string, boolean]>([['APPROVAL_MISSING', true], ['ABORTED', false]])('that has paused takes the VM back where it may not be handed over: %s', async (code, awaitsApproval) => {
    const { move, session, done, turn, imageOpens, pauses } = newMove({}, awaitsApproval);
    session.approval = null;
    if (!awaitsApproval) void move.paused.then(() => move.abort(refuse('ABORTED', { reason: 'a test wanted it' })));
    const handover = move.finish();
    handover.catch(() => undefined);
    imageOpens.resolve();
    await turn();
    pauses.resolve({ stoppedAtMs: 0 });
    const refusal = awaitsApproval ? failure('APPROVAL_MISSING', { vm: 'web-1', host: 'host-a' }) : failure('ABORTED', { reason: 'a test wanted it' });
    await expect(handover).rejects.toMatchObject({ failures: [refusal] });
    await move.handedOver;
    expect(done.slice(-3)).toEqual([`abort channel: ${code}`, 'close image', 'bring back, withdraw']);
    expect(done).not.toContain('relinquish');
  });

  it('whose channel breaks during the handover gives nothing back: only a verdict decides', async () => {
    const { move, done, turn, imageOpens, pauses, relinquishes, breaks } = newMove();
    const handover = move.finish();
    handover.catch(() => undefined);
    imageOpens.resolve();
    await turn();
    pauses.resolve({ stoppedAtMs: 0 });
    await turn();
    breaks.reject(new Error('it broke'));
    await move.handedOver;
    await turn();
    expect(done).not.toContain('close image');
    relinquishes.resolve();
    await expect(handover).rejects.toThrow('it broke');
    expect(done.filter((what) => what !== 'release').slice(2)).toEqual(['relinquish', 'close image', 'close channel']);
    expect(move.finish()).toBe(handover);
  });
});

describe('plannedPauseMs', () => {
  it('starts at 10 ms for three rounds, doubles in each later one, and never passes the limit', () => {
    expect([1, 2, 3, 4, 5, 6, 7, 8, 9, 200].map((round) => plannedPauseMs(round, { downtimeLimitMs: 300 }))).toEqual([10, 10, 10, 20, 40, 80, 160, 300, 300, 300]);
    expect([1, 4, 5].map((round) => plannedPauseMs(round, { downtimeLimitMs: 5 }))).toEqual([5, 5, 5]);
    expect(plannedPauseMs(200, { downtimeLimitMs: 10_000 })).toBe(10_000);
  });
});
