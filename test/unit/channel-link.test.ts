/**
 * channel/link.ts, tick by tick and event by event, over a socket made of streams and a clock that stands still: what ends a link, what its user and its peer are told, and
 * what it writes. That real connections end so is shown by channel-stream.test.ts and channel-slow-peers.test.ts.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FRAMES, encodeControl } from '../../channel/frames.js';
import { Link, lost } from '../../channel/link.js';
import { KororaError, refuse } from '../../domain/failures.js';
import type { Role } from '../../domain/ids.js';
import { settled } from '../support/settled.js';
import { Wire, dataOf, termsOf } from '../support/wire.js';

const LIMIT_MS = 4000;
const TICK_MS = 1000;

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] }));
afterEach(() => void vi.useRealTimers());

/** A link of one end, and its peer's word; confirmed unless asked otherwise. */
async function begin({ role = 'destination', isConfirmed = true, silenceLimitMs = LIMIT_MS, throws }: { readonly role?: Role; readonly isConfirmed?: boolean; readonly silenceLimitMs?: number | null; readonly throws?: Error } = {}) {
  const wire = new Wire();
  const terms = termsOf(silenceLimitMs);
  const told: string[] = [];
  const link = new Link(role, wire.socket, terms, {
    onConfirmed: () => told.push('confirmed'),
    onData: (piece) => {
      if (throws) throw throws;
      told.push(`data ${piece.toString()}`);
    },
    onControl: (name, payload) => told.push(`${name} ${payload.toString()}`),
    onBroken: ({ message }) => told.push(message),
  });
  const peer: Role = role === 'source' ? 'destination' : 'source';
  const hear = (bytes: Buffer) => wire.hear(bytes);
  const confirm = () => wire.confirmBy(peer, terms);
  const broken = () => Promise.race([link.broken.catch((error: unknown) => (error as Error).message), settled().then(() => 'whole')]);
  const tick = (ticks = 1) => vi.advanceTimersByTime(ticks * TICK_MS);
  if (isConfirmed) {
    await confirm();
    await link.confirmed;
    told.length = 0;
    wire.frames.length = 0;
  }
  return { wire, link, told, hear, confirm, broken, tick };
}

describe('the session key is confirmed', () => {
  it('by the destination first, and by the source once it heard so', async () => {
    const destination = await begin({ isConfirmed: false });
    expect([destination.wire.frames, destination.told]).toEqual([['CONFIRM'], []]);
    await destination.confirm();
    await destination.link.confirmed;
    expect([destination.wire.frames, destination.told]).toEqual([['CONFIRM'], ['confirmed']]);
    const source = await begin({ role: 'source', isConfirmed: false });
    expect(source.wire.frames).toEqual([]);
    await source.confirm();
    await source.link.confirmed;
    expect([source.wire.frames, source.told]).toEqual([['CONFIRM'], ['confirmed']]);
  });

  it('or the link is broken, and the peer hears why', async () => {
    const { wire, told, hear, broken, link } = await begin({ isConfirmed: false });
    const { message } = refuse('CHANNEL_KEY_UNCONFIRMED', {});
    await hear(encodeControl('CONFIRM', Buffer.alloc(32)));
    expect([wire.frames, told, await broken(), link.failure?.message]).toEqual([['CONFIRM', `ABORT ${message}`], [message], message, message]);
  });

  it('before the link says that it lives', async () => {
    const { wire, tick } = await begin({ isConfirmed: false });
    tick(20);
    expect(wire.frames).toEqual(['CONFIRM']);
  });
});

describe('a link says that it lives', () => {
  it('every quarter of its limit, of a source that has sent its manifest in another word', async () => {
    const { wire, link, tick, hear } = await begin({ role: 'source' });
    const alive = async () => {
      tick();
      await hear(encodeControl('KEEPALIVE'));
    };
    vi.advanceTimersByTime(TICK_MS - 1);
    expect(wire.frames).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(wire.frames).toEqual(['KEEPALIVE']);
    await alive();
    expect(wire.frames).toEqual(['KEEPALIVE', 'KEEPALIVE']);
    await link.send('MANIFEST', Buffer.from('{}'));
    await alive();
    expect(wire.frames.slice(2)).toEqual(['MANIFEST', 'WAITING']);
  });

  it('in the same word as before where what it sent is no manifest', async () => {
    const { wire, link, tick } = await begin();
    await link.send('VERDICT', Buffer.from('{}'));
    tick();
    expect(wire.frames).toEqual(['VERDICT', 'KEEPALIVE']);
  });

  it('and queues no KEEPALIVE behind bytes that are stuck', async () => {
    const { wire, tick } = await begin();
    wire.stuckBytes = 1;
    tick();
    expect(wire.frames).toEqual([]);
    wire.stuckBytes = 0;
    tick();
    expect(wire.frames).toEqual(['KEEPALIVE']);
  });

  it('no more once it has ended, or is broken', async () => {
    const [ended, failed] = [await begin(), await begin()];
    ended.link.end();
    failed.link.fail(lost('a test'));
    for (const { tick } of [ended, failed]) tick(20);
    expect([ended.wire.frames, ended.told, failed.wire.frames, vi.getTimerCount()]).toEqual([[], [], [], 0]);
  });
});

describe('a peer', () => {
  it('that says nothing for longer than the limit is lost, and hears nothing', async () => {
    const { wire, told, tick, broken } = await begin();
    tick(5);
    expect(told).toEqual([]);
    tick();
    const { message } = refuse('CHANNEL_SILENT', { seconds: 4 });
    expect([told, await broken(), wire.destroyed, wire.frames.filter((name) => name !== 'KEEPALIVE')]).toEqual([[message], message, true, []]);
  });

  it('has five seconds where its terms say nothing', async () => {
    const { told } = await begin({ silenceLimitMs: null });
    vi.advanceTimersByTime(5 * 1250);
    expect(told).toEqual([]);
    vi.advanceTimersByTime(1250);
    expect(told).toEqual([refuse('CHANNEL_SILENT', { seconds: 5 }).message]);
  });

  it('that says anything begins anew', async () => {
    const { told, tick, hear } = await begin();
    tick(5);
    await hear(encodeControl('KEEPALIVE'));
    tick(5);
    expect(told).toEqual([]);
    await hear(encodeControl('KEEPALIVE'));
    tick(5);
    expect(told).toEqual([]);
    tick();
    expect(told).toHaveLength(1);
  });

  it('that never ends a frame is refused after four limits, however much it says', async () => {
    const { wire, told, tick, hear, broken } = await begin();
    await hear(Buffer.of(FRAMES.DATA.type, 0, 0, 1, 0));
    for (let ticks = 0; ticks < 17; ticks++) {
      await hear(Buffer.from('x'));
      tick();
    }
    expect(told.filter((text) => text !== 'data x')).toEqual([]);
    await hear(Buffer.from('x'));
    tick();
    const { message } = refuse('CHANNEL_FRAME_INVALID', { problem: 'a frame did not end in 16 s' });
    expect([await broken(), wire.frames.at(-1)]).toEqual([message, `ABORT ${message}`]);
  });

  it('may send frame after frame, each of which is on its way at a tick', async () => {
    const { told, tick, hear } = await begin();
    const data = dataOf(Buffer.from('xy'));
    await hear(data.subarray(0, 6));
    for (let ticks = 0; ticks < 40; ticks++) {
      tick();
      await hear(Buffer.concat([data.subarray(6), data.subarray(0, 6)]));
    }
    expect(told.filter((text) => !text.startsWith('data'))).toEqual([]);
    // And where none is.
    await hear(data.subarray(6));
    for (let ticks = 0; ticks < 40; ticks++) {
      tick();
      await hear(encodeControl('KEEPALIVE'));
    }
    expect(told.filter((text) => !text.startsWith('data'))).toEqual([]);
  });

  it('that gives up says why, in one line', async () => {
    const { told, hear, wire, broken } = await begin();
    await hear(encodeControl('ABORT', Buffer.from(`disk\u0000\u001f\u007f\u009f gone ~\u00a0é\n${'x'.repeat(3000)}`)));
    const message = lost(`disk     gone ~\u00a0é ${'x'.repeat(3000)}`.slice(0, 2000)).message;
    expect([told, await broken(), wire.destroyed, wire.frames]).toEqual([[message], message, true, []]);
  });

  it.each<[string, (wire: Wire) => void, string]>([
    ['fails', (wire) => wire.destroy(new Error('read ECONNRESET')), 'read ECONNRESET'],
    ['fails in TLS', (wire) => wire.destroy(Object.assign(new Error('long line'), { reason: 'bad record mac' })), 'TLS: bad record mac'],
    ['fails for a reason that is no text', (wire) => wire.destroy(Object.assign(new Error('the line'), { reason: 7 })), 'the line'],
    ['is closed by the peer', (wire) => wire.push(null), 'the peer closed it'],
    ['is gone', (wire) => wire.destroy(), 'the connection closed'],
  ])('whose connection %s is lost', async (_, happen, problem) => {
    const { wire, told, broken } = await begin();
    happen(wire);
    await settled();
    expect([told, await broken(), wire.destroyed]).toEqual([[lost(problem).message], lost(problem).message, true]);
  });
});

describe('what is heard', () => {
  it('goes to the user, but for signs of life', async () => {
    const { told, hear } = await begin();
    await hear(Buffer.concat([encodeControl('KEEPALIVE'), dataOf(Buffer.from('x')), encodeControl('MANIFEST', Buffer.from('{}')), encodeControl('WAITING')]));
    expect(told).toEqual(['data x', 'MANIFEST {}']);
    const source = await begin({ role: 'source' });
    await source.hear(Buffer.concat([encodeControl('GRANT', Buffer.from('abcd')), encodeControl('VERDICT', Buffer.from('{}'))]));
    expect(source.told).toEqual(['GRANT abcd', 'VERDICT {}']);
  });

  it('is dropped once the link has ended, or is broken', async () => {
    const frame = dataOf(Buffer.from('x'));
    const ended = await begin();
    ended.link.end();
    await ended.hear(frame);
    await ended.hear(Buffer.of(99, 0, 0, 0, 0));
    const failed = await begin();
    failed.link.fail(lost('a test'), 'a test');
    await failed.hear(frame);
    expect([ended.told, ended.wire.frames, failed.told, failed.wire.frames]).toEqual([[], [], [lost('a test').message], ['ABORT a test']]);
  });

  it.each<[Error, string]>([
    [new TypeError('x is not a function'), refuse('INTERNAL', { problem: 'x is not a function' }).message],
    [refuse('CHANNEL_FRAME_INVALID', { problem: 'beyond' }), refuse('CHANNEL_FRAME_INVALID', { problem: 'beyond' }).message],
  ])('and does not suit the user breaks the link: %s', async (throws, message) => {
    const { wire, told, hear, link } = await begin({ throws });
    await hear(dataOf(Buffer.from('x')));
    expect([told, wire.frames, link.failure instanceof KororaError]).toEqual([[message], [`ABORT ${message}`], true]);
    expect(link.failure === throws || link.failure?.cause === throws).toBe(true);
  });
});

describe('a link that breaks', () => {
  it('does so once, by what came first, and tells the peer in 2000 characters', async () => {
    const { wire, told, link, broken } = await begin();
    link.fail(lost('one'), 'y'.repeat(3000));
    link.fail(lost('other'), 'other');
    expect([told, link.failure?.message, await broken(), wire.frames]).toEqual([[lost('one').message], lost('one').message, lost('one').message, [`ABORT ${'y'.repeat(2000)}`]]);
  });

  it('hangs up, and is gone after the limit where the peer does not', async () => {
    const { wire, link } = await begin();
    link.abort('enough');
    expect([link.failure?.message, wire.frames, wire.writableEnded, wire.destroyed]).toEqual([lost('aborted on this side: enough').message, ['ABORT enough'], true, false]);
    vi.advanceTimersByTime(LIMIT_MS - 1);
    expect(wire.destroyed).toBe(false);
    vi.advanceTimersByTime(1);
    expect(wire.destroyed).toBe(true);
  });

  it('leaves no clock behind where the peer hangs up too', async () => {
    const { wire, link } = await begin();
    link.abort('enough');
    wire.push(null);
    await settled();
    expect([wire.destroyed, vi.getTimerCount()]).toEqual([true, 0]);
  });

  it('after its end does not: no failure, nobody is told', async () => {
    const { wire, told, link, broken } = await begin();
    link.end();
    link.fail(lost('late'), 'late');
    wire.destroy();
    await settled();
    expect([told, link.failure, await broken(), wire.frames]).toEqual([[], undefined, 'whole', []]);
  });

  it('is closed: with a word where no verdict came, without one after, and until it is gone', async () => {
    for (const isEnded of [false, true]) {
      const { wire, told, link } = await begin();
      if (isEnded) link.end();
      let isClosed = false;
      const closing = link.close().then(() => (isClosed = true));
      await settled();
      const word = 'the channel was closed before the verdict';
      expect([wire.frames, wire.writableEnded, isClosed]).toEqual([isEnded ? [] : [`ABORT ${word}`], true, false]);
      expect(told).toEqual(isEnded ? [] : [lost(`aborted on this side: ${word}`).message]);
      vi.advanceTimersByTime(LIMIT_MS);
      await closing;
      expect(wire.destroyed).toBe(true);
    }
  });
});

describe('what is sent', () => {
  it('is written in order, and reported once it is handed to the network', async () => {
    const { wire, link } = await begin();
    const written: string[] = [];
    link.post(encodeControl('GRANT', Buffer.from('abcd')), () => written.push('GRANT'));
    link.post(encodeControl('KEEPALIVE'));
    await link.send('VERDICT', Buffer.from('{}'));
    expect([wire.frames, written]).toEqual([['GRANT', 'KEEPALIVE', 'VERDICT'], ['GRANT']]);
  });

  it('on a broken link is refused with what broke it, and not written', async () => {
    const { wire, link } = await begin();
    wire.isHeld = true;
    link.fail(lost('a test'), 'a test');
    await expect(link.send('VERDICT', Buffer.from('{}'))).rejects.toBe(link.failure);
    const written: string[] = [];
    link.post(encodeControl('KEEPALIVE'), () => written.push('KEEPALIVE'));
    wire.release();
    await settled();
    // A write after its end would have it destroyed, and its last word might be lost.
    expect([wire.frames, written, wire.destroyed]).toEqual([['ABORT a test'], [], false]);
  });

  it('and does not get out is not reported as sent', async () => {
    const { wire, link } = await begin();
    wire.fails = new Error('write EPIPE');
    const written: string[] = [];
    link.post(encodeControl('GRANT', Buffer.from('abcd')), () => written.push('GRANT'));
    await settled();
    expect([written, link.failure?.message]).toEqual([[], lost('write EPIPE').message]);
    const after = await begin();
    after.link.end();
    after.wire.fails = new Error('write EPIPE');
    await expect(after.link.send('VERDICT', Buffer.from('{}'))).rejects.toThrow(lost('the connection closed').message);
  });

  it('comes second to what breaks the link', async () => {
    const { link } = await begin();
    const waiting = link.guard(new Promise<void>(() => undefined));
    link.fail(lost('a test'));
    await expect(waiting).rejects.toBe(link.failure);
    await expect(link.guard(Promise.resolve('done'))).resolves.toBe('done');
  });
});
