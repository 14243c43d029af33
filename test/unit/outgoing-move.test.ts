/**
 * activities/outgoing-move.ts in the order of its steps, over stand-ins for hypervisor, channel and record that do
 * what a test tells them. No claim about a move rests on them: those are test/e2e's, on the real parts.
 */
import { refuse } from '../../domain/failures.js';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createOutgoingMove } from '../../activities/outgoing-move.js';
import type { HostServices } from '../../activities/services.js';
import type { Session } from '../../activities/session.js';
import type { StreamSummary } from '../../channel/port.js';
import type { AppraisedPeer } from '../../domain/appraisal.js';
import { Epoch } from '../../domain/ids.js';
import type { OwnershipEvent } from '../../domain/ownership.js';
import { type CopyLimits, type CopyProgress, plannedPauseMs } from '../../domain/progress.js';
import { settleable } from '../../domain/settleable.js';
import type { PauseFacts } from '../../hypervisor/port.js';
import { digest, manifestOf, orderOf, samples, verdictOf, vmDocument } from '../support/documents.js';

function newMove(limits: Partial<CopyLimits> = {}) {
  const order = orderOf({ limits: { ...samples.order.limits, ...limits } });
  /** What was done, in order. */
  const done: string[] = [];
  const imageOpens = settleable<void>();
  const pauses = settleable<PauseFacts>();
  const relinquishes = settleable<void>();
  const sent = settleable<StreamSummary>();
  const breaks = settleable<never>();
  let progress: CopyProgress = { round: 1, sentBytes: 1, remainingBytes: 2, totalBytes: 3, dirtyBytesPerSecond: null, elapsedMs: 4 };
  const image = {
    image: new PassThrough(),
    paused: pauses.promise,
    progress: async () => progress,
    setLimits: async ({ downtimeLimitMs }: CopyLimits) => void done.push(`pause limit ${downtimeLimitMs}`),
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
      async openOutgoing(_: unknown, __: unknown, { downtimeLimitMs }: CopyLimits) {
        done.push(`open image, pause limit ${downtimeLimitMs}`);
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
  const bringBack = async () => {
    done.push('bring back');
    return 'runs' as const;
  };
  const move = createOutgoingMove(services, { bringBack }, {
    session: { order, identity: { spkiSha256: digest(1), certificate: '', privateKey: '' } } as unknown as Session,
    vm: vmDocument(),
    address: { host: '127.0.0.1', port: 1 },
    peer: { evidence: samples.destinationEvidence } as unknown as AppraisedPeer,
    secrets: { sessionKey: Buffer.alloc(32), vtpmMigrationKey: Buffer.alloc(32), epoch: Epoch.parse(2), vtpmIdentity: manifestOf().vtpmIdentity },
  });
  const turn = () => new Promise(setImmediate);
  return { move, done, turn, imageOpens, pauses, relinquishes, sent, breaks, inRound: (round: number) => (progress = { ...progress, round }) };
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

  it('plans a longer pause as memory rounds go by, up to the limit in force', async () => {
    const { move, done, turn, imageOpens, inRound } = newMove({ downtimeLimitMs: 60 });
    move.finish().catch(() => undefined);
    imageOpens.resolve();
    await turn();
    for (const round of [2, 3, 4, 5, 6, 7]) {
      inRound(round);
      await move.progress();
    }
    await move.setLimits({ downtimeLimitMs: 100, bandwidthBytesPerSecond: null, maxRounds: 200 });
    expect(done.slice(2)).toEqual(['pause limit 20', 'pause limit 40', 'pause limit 60', 'pause limit 100']);
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
      expect(done).toEqual(['offer', 'open image, pause limit 10', 'abort channel: ABORTED', 'close image', 'bring back', 'withdraw']);
      expect(surprises).toEqual([]);
    } finally {
      process.off('unhandledRejection', note);
    }
  });
});

describe('plannedPauseMs', () => {
  it('starts at 10 ms for three rounds, doubles in each later one, and never passes the limit', () => {
    expect([1, 2, 3, 4, 5, 6, 7, 8, 9, 200].map((round) => plannedPauseMs(round, { downtimeLimitMs: 300 }))).toEqual([10, 10, 10, 20, 40, 80, 160, 300, 300, 300]);
    expect([1, 4, 5].map((round) => plannedPauseMs(round, { downtimeLimitMs: 5 }))).toEqual([5, 5, 5]);
    expect(plannedPauseMs(200, { downtimeLimitMs: 10_000 })).toBe(10_000);
  });
});
