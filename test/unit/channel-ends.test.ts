/** channel/outgoing.ts and incoming.ts, frame by frame, over a connection made of streams (test/support/wire.ts): credit, gathering, what is destroyed, and the verdict that comes early. */
import { Duplex, PassThrough, Readable, Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { encodeDocument } from '../../channel/documents.js';
import { WINDOW_BYTES, encodeControl, invalid } from '../../channel/frames.js';
import { Incoming } from '../../channel/incoming.js';
import { lost } from '../../channel/link.js';
import { Outgoing } from '../../channel/outgoing.js';
import { refuse } from '../../domain/failures.js';
import type { Verdict } from '../../domain/manifest.js';
import { settled } from '../support/settled.js';
import { Wire, dataOf, termsOf } from '../support/wire.js';
import { Sink, manifestOf, sha256, verdictOf, type Ends } from './channel-support.js';

const KIB = 1024;
const STAGE_BYTES = 256 * KIB;
const GRANT_STEP_BYTES = 256 * KIB;

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] }));
afterEach(() => void vi.useRealTimers());

const grantOf = (bytes: number) => {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return encodeControl('GRANT', payload);
};
/** The message of what `work` rejects with; nothing is left unhandled meanwhile. */
const messageOf = (work: Promise<unknown>) => work.then((value) => `resolved with ${JSON.stringify(value)}`, (error: unknown) => (error as Error).message);
const isSettled = async (work: Promise<unknown>) => (await Promise.race([work.then(() => true, () => true), settled().then(() => false)]));

async function source() {
  const wire = new Wire();
  const terms = termsOf(4000);
  const outgoing = new Outgoing(wire.socket, terms);
  await wire.confirmBy('destination', terms);
  await outgoing.confirmed;
  wire.frames.length = 0;
  wire.payloads.length = 0;
  const ends = { source: terms } as unknown as Ends;
  const answer = (verdict: Verdict) => wire.hear(encodeControl('VERDICT', encodeDocument(verdict)));
  return { wire, outgoing, ends, answer, sizes: () => wire.payloads.map(({ length }) => length) };
}

async function destination() {
  const wire = new Wire();
  const terms = termsOf(4000);
  const incoming = new Incoming(wire.socket, terms, () => undefined);
  await wire.confirmBy('source', terms);
  await incoming.confirmed;
  wire.frames.length = 0;
  wire.payloads.length = 0;
  const ends = { source: terms } as unknown as Ends;
  const granted = () => wire.frames.flatMap((name, i) => (name === 'GRANT' ? [wire.payloads[i]?.readUInt32BE(0)] : []));
  const finish = (bytes: number, digest: string) => wire.hear(encodeControl('MANIFEST', encodeDocument(manifestOf(ends, { bytes, sha256: digest }))));
  return { wire, incoming, ends, granted, finish };
}

/** An image whose pieces a test pushes. */
const imageOf = () => new Readable({ read: () => undefined, highWaterMark: 2 ** 30 });

/** A source that has sent all that it may, and 100 bytes more wait. */
async function windowSent() {
  const { wire, outgoing, sizes } = await source();
  const image = imageOf();
  const sending = outgoing.sendImage(image);
  for (let sent = 0; sent < WINDOW_BYTES; sent += STAGE_BYTES) {
    image.push(Buffer.alloc(STAGE_BYTES));
    await settled();
  }
  image.push(Buffer.alloc(100));
  return { wire, outgoing, sizes, image, sending };
}

describe('the source', () => {
  it('sends what there is at once, and gathers the rest while that is on its way', async () => {
    const { wire, outgoing, sizes } = await source();
    const image = imageOf();
    const sending = outgoing.sendImage(image);
    wire.isHeld = true;
    image.push(Buffer.from('ab'));
    await settled();
    expect([wire.frames, wire.payloads.map(String), outgoing.sentBytes]).toEqual([['DATA'], ['ab'], 2]);
    image.push(Buffer.from('cd'));
    image.push(Buffer.from('ef'));
    await settled();
    expect([sizes(), outgoing.sentBytes]).toEqual([[2], 2]);
    wire.release();
    await settled();
    expect([wire.payloads.map(String), outgoing.sentBytes]).toEqual([['ab', 'cdef'], 6]);
    image.push(null);
    await settled();
    expect(await isSettled(sending)).toBe(false);
    wire.release();
    expect(await sending).toEqual({ bytes: 6, sha256: sha256(Buffer.from('abcdef')) });
  });

  it('takes as much as fits a frame, and lets the image stand still until there is room', async () => {
    const { wire, outgoing, sizes } = await source();
    const image = imageOf();
    const bytes = Buffer.alloc(2 * STAGE_BYTES + 10, 'x');
    wire.isHeld = true;
    const sending = outgoing.sendImage(image);
    image.push(bytes);
    await settled();
    expect([sizes(), image.isPaused()]).toEqual([[STAGE_BYTES], true]);
    wire.release();
    await settled();
    expect([sizes(), image.isPaused()]).toEqual([[STAGE_BYTES, STAGE_BYTES], false]);
    image.push(null);
    wire.release();
    await settled();
    wire.release();
    expect(await sending).toEqual({ bytes: bytes.length, sha256: sha256(bytes) });
    expect(sizes()).toEqual([STAGE_BYTES, STAGE_BYTES, 10]);
  });

  it('sends no more than the window until it is granted more, and then what waited', async () => {
    const { wire, outgoing, sizes, image, sending } = await windowSent();
    await settled();
    expect([sizes(), outgoing.sentBytes]).toEqual([Array(8).fill(STAGE_BYTES), WINDOW_BYTES]);
    await wire.hear(grantOf(99));
    expect(outgoing.sentBytes).toBe(WINDOW_BYTES);
    await wire.hear(grantOf(1));
    expect([sizes().at(-1), outgoing.sentBytes]).toEqual([100, WINDOW_BYTES + 100]);
    image.push(null);
    expect((await sending).bytes).toBe(WINDOW_BYTES + 100);
  });

  it('is not done where its image has ended and its last bytes wait for credit', async () => {
    const { wire, outgoing, image, sending } = await windowSent();
    image.push(null);
    expect([await isSettled(sending), outgoing.sentBytes]).toEqual([false, WINDOW_BYTES]);
    await wire.hear(grantOf(100));
    expect((await sending).bytes).toBe(WINDOW_BYTES + 100);
  });

  it('sends the whole image although its socket closed before the last byte left', async () => {
    const { wire, outgoing } = await source();
    wire.isHeld = true;
    const image = new Duplex({ read: () => undefined, write: (_, __, done) => done() });
    const sending = outgoing.sendImage(image);
    image.push(Buffer.from('ab'));
    image.push(null);
    await settled();
    image.destroy();
    expect(await isSettled(sending)).toBe(false);
    wire.release();
    expect((await sending).bytes).toBe(2);
  });

  it('takes back what it sent, and not a byte more', async () => {
    const { wire, outgoing } = await source();
    const image = imageOf();
    const sending = messageOf(outgoing.sendImage(image));
    image.push(Buffer.alloc(10));
    await settled();
    await wire.hear(grantOf(10));
    expect(await isSettled(sending)).toBe(false);
    await wire.hear(grantOf(1));
    const { message } = invalid('GRANT of more than was sent');
    expect([await sending, wire.frames.at(-1), image.destroyed]).toEqual([message, `ABORT ${message}`, true]);
  });

  it('sends one image on one channel', async () => {
    const { outgoing } = await source();
    const image = imageOf();
    const sending = outgoing.sendImage(image);
    const other = imageOf();
    expect(await messageOf(outgoing.sendImage(other))).toBe(refuse('INTERNAL', { problem: 'an image was sent on this channel already' }).message);
    expect([image.destroyed, other.destroyed]).toEqual([false, false]);
    image.push(null);
    expect((await sending).bytes).toBe(0);
  });

  it('sends nothing where the channel is broken, and destroys the image', async () => {
    const { wire, outgoing, ends } = await source();
    outgoing.abort('a test');
    wire.frames.length = 0;
    const image = imageOf();
    const { message } = lost('aborted on this side: a test');
    expect([await messageOf(outgoing.sendImage(image)), image.destroyed]).toEqual([message, true]);
    expect(await messageOf(outgoing.sendManifest(manifestOf(ends, { bytes: 0, sha256: 'ab'.repeat(32) })))).toBe(message);
    expect([await messageOf(outgoing.receiveVerdict()), wire.frames]).toEqual([message, []]);
  });

  it('destroys an image on its way when the channel breaks, and sends none of it', async () => {
    const { wire, outgoing, sizes } = await source();
    wire.isHeld = true;
    const image = imageOf();
    const sending = messageOf(outgoing.sendImage(image));
    image.push(Buffer.from('ab'));
    image.push(Buffer.from('cd'));
    await settled();
    outgoing.abort('a test');
    wire.release();
    expect([await sending, image.destroyed]).toEqual([lost('aborted on this side: a test').message, true]);
    await settled();
    expect([wire.frames, sizes()[0]]).toEqual([['DATA', 'ABORT a test'], 2]);
  });

  it('fails with the image’s own failure, and stays for the reason', async () => {
    const { wire, outgoing } = await source();
    const image = imageOf();
    const sending = messageOf(outgoing.sendImage(image));
    image.destroy(new Error('the hypervisor died'));
    expect([await sending, wire.frames]).toEqual(['the hypervisor died', []]);
    outgoing.abort('it died');
    expect(wire.frames).toEqual(['ABORT it died']);
  });

  it('stops where it is rejected early', async () => {
    const { wire, outgoing, ends, answer } = await source();
    const image = imageOf();
    const sending = messageOf(outgoing.sendImage(image));
    image.push(Buffer.from('ab'));
    await settled();
    const verdict = verdictOf(ends, 'rejected', 'STREAM_DIGEST_MISMATCH');
    await answer(verdict);
    const { message } = refuse('DESTINATION_REJECTED', { reason: 'STREAM_DIGEST_MISMATCH' });
    expect([await sending, image.destroyed]).toEqual([message, true]);
    expect(await outgoing.receiveVerdict()).toEqual(verdict);
    wire.frames.length = 0;
    const other = imageOf();
    expect([await messageOf(outgoing.sendImage(other)), other.destroyed]).toEqual([message, true]);
    expect(await messageOf(outgoing.sendManifest(manifestOf(ends, { bytes: 0, sha256: 'ab'.repeat(32) })))).toBe(message);
    expect(wire.frames).toEqual([]);
    wire.destroy();
    expect(await isSettled(outgoing.broken)).toBe(false);
  });

  it('is rejected before it has an image', async () => {
    const { outgoing, ends, answer } = await source();
    await answer(verdictOf(ends, 'rejected', 'no room'));
    expect(await outgoing.receiveVerdict()).toMatchObject({ reason: 'no room' });
    const image = imageOf();
    expect([await messageOf(outgoing.sendImage(image)), image.destroyed, await isSettled(outgoing.broken)]).toEqual([refuse('DESTINATION_REJECTED', { reason: 'no room' }).message, true, false]);
  });

  it('believes no acceptance before its manifest, and one after it; then the end is no failure', async () => {
    const early = await source();
    await early.answer(verdictOf(early.ends, 'accepted'));
    const { message } = invalid('VERDICT accepted before the manifest');
    expect([await messageOf(early.outgoing.broken), early.wire.frames]).toEqual([message, [`ABORT ${message}`]]);
    for (const verdict of ['accepted', 'rejected'] as const) {
      const { wire, outgoing, ends, answer } = await source();
      await outgoing.sendManifest(manifestOf(ends, { bytes: 0, sha256: 'ab'.repeat(32) }));
      await answer(verdictOf(ends, verdict, verdict === 'rejected' ? 'x' : null));
      expect(await outgoing.receiveVerdict()).toMatchObject({ verdict });
      wire.push(null);
      expect([await isSettled(outgoing.broken), wire.frames]).toEqual([false, ['MANIFEST']]);
    }
  });

  it('sends its manifest as a document of one form', async () => {
    const { wire, outgoing, ends } = await source();
    const manifest = manifestOf(ends, { bytes: 0, sha256: 'ab'.repeat(32) });
    await outgoing.sendManifest(manifest);
    expect([wire.frames, wire.payloads.map(String)]).toEqual([['MANIFEST'], [encodeDocument(manifest).toString()]]);
  });
});

describe('the destination', () => {
  it('gives the image to its sink, in one write what came at once, and keeps what comes before there is one', async () => {
    const { wire, incoming, ends, finish } = await destination();
    const writes: string[][] = [];
    const sink = new Writable({ writev: (chunks, done) => (writes.push(chunks.map(({ chunk }) => String(chunk))), done()) });
    await wire.hear(Buffer.concat([dataOf(Buffer.from('ab')), dataOf(Buffer.from('cd'))]));
    expect(incoming.receivedBytes).toBe(4);
    const receiving = incoming.receiveImage(sink);
    await settled();
    expect(writes).toEqual([['ab', 'cd']]);
    await wire.hear(Buffer.concat([dataOf(Buffer.from('e')), dataOf(Buffer.from('f')), dataOf(Buffer.from('g'))]));
    expect(writes.slice(1)).toEqual([['e', 'f', 'g']]);
    await wire.hear(dataOf(Buffer.from('h')));
    const digest = sha256(Buffer.from('abcdefgh'));
    await finish(8, digest);
    expect(await receiving).toEqual({ summary: { bytes: 8, sha256: digest }, manifest: manifestOf(ends, { bytes: 8, sha256: digest }) });
    expect([writes.flat().join(''), sink.writableFinished]).toEqual(['abcdefgh', true]);
  });

  it('gives the sink what came in one piece with the manifest', async () => {
    const { wire, incoming, ends } = await destination();
    const sink = new Sink();
    const receiving = incoming.receiveImage(sink);
    const digest = sha256(Buffer.from('ab'));
    await wire.hear(Buffer.concat([dataOf(Buffer.from('ab')), encodeControl('MANIFEST', encodeDocument(manifestOf(ends, { bytes: 2, sha256: digest })))]));
    expect((await receiving).summary).toEqual({ bytes: 2, sha256: digest });
    expect(sink.bytes.toString()).toBe('ab');
  });

  it('grants what its sink took, an eighth of the window at a time', async () => {
    const { wire, incoming, granted } = await destination();
    const sink = new Sink();
    const receiving = messageOf(incoming.receiveImage(sink));
    await wire.hear(dataOf(Buffer.alloc(GRANT_STEP_BYTES - 1)));
    expect(granted()).toEqual([]);
    await wire.hear(dataOf(Buffer.alloc(1)));
    expect(granted()).toEqual([GRANT_STEP_BYTES]);
    await wire.hear(dataOf(Buffer.alloc(GRANT_STEP_BYTES + 7)));
    expect(granted()).toEqual([GRANT_STEP_BYTES, GRANT_STEP_BYTES + 7]);
    incoming.abort('done');
    await receiving;
  });

  it('grants nothing that its sink did not take, and nothing after its verdict', async () => {
    const { wire, incoming, ends, granted } = await destination();
    const sink = new Sink(true);
    const receiving = messageOf(incoming.receiveImage(sink));
    await wire.hear(dataOf(Buffer.alloc(GRANT_STEP_BYTES)));
    expect(granted()).toEqual([]);
    await incoming.sendVerdict(verdictOf(ends, 'rejected', 'x'));
    sink.release();
    await settled();
    expect([wire.frames, wire.payloads.map(String)]).toEqual([['VERDICT'], [encodeDocument(verdictOf(ends, 'rejected', 'x')).toString()]]);
    wire.push(null);
    expect([await isSettled(incoming.broken), await isSettled(receiving)]).toEqual([false, false]);
  });

  it('takes the window and not a byte more, again and again', async () => {
    const { wire, incoming, granted } = await destination();
    const sink = new Sink(true);
    const receiving = messageOf(incoming.receiveImage(sink));
    const half = dataOf(Buffer.alloc(WINDOW_BYTES / 2));
    await wire.hear(Buffer.concat([half, half]));
    sink.release();
    await settled();
    expect(granted()).toEqual([WINDOW_BYTES]);
    await wire.hear(Buffer.concat([half, half]));
    expect([granted(), incoming.receivedBytes, await isSettled(receiving)]).toEqual([[WINDOW_BYTES, WINDOW_BYTES], 2 * WINDOW_BYTES, false]);
    await wire.hear(Buffer.concat([half, half, dataOf(Buffer.alloc(1))]));
    const { message } = invalid('DATA beyond the granted window');
    expect([await receiving, wire.frames.at(-1), sink.destroyed]).toEqual([message, `ABORT ${message}`, true]);
  });

  it('fails with its sink’s own failure, reads and drops what comes then, and grants it', async () => {
    const { wire, incoming, granted, ends } = await destination();
    const sink = new Sink(true);
    const receiving = messageOf(incoming.receiveImage(sink));
    await wire.hear(dataOf(Buffer.alloc(GRANT_STEP_BYTES)));
    await wire.hear(dataOf(Buffer.alloc(GRANT_STEP_BYTES)));
    sink.destroy(new Error('no memory'));
    expect(await receiving).toBe('no memory');
    await wire.hear(dataOf(Buffer.alloc(GRANT_STEP_BYTES)));
    expect(granted()).toEqual([GRANT_STEP_BYTES]);
    await incoming.sendVerdict(verdictOf(ends, 'rejected', 'x'));
    expect(wire.frames).toEqual(['GRANT', 'VERDICT']);
  });

  it('does not grant what was written to a sink that had failed already', async () => {
    const { wire, incoming, granted } = await destination();
    await wire.hear(dataOf(Buffer.alloc(GRANT_STEP_BYTES)));
    const sink = new Sink(true);
    sink.destroy(new Error('no memory'));
    expect(await messageOf(incoming.receiveImage(sink))).toBe('no memory');
    await settled();
    expect([granted(), sink.chunks]).toEqual([[], []]);
  });

  it('waits for the manifest where its sink is done before it', async () => {
    const { incoming, finish } = await destination();
    const sink = new PassThrough();
    sink.resume();
    const receiving = incoming.receiveImage(sink);
    sink.end();
    await settled();
    expect(await isSettled(receiving)).toBe(false);
    await finish(0, sha256(Buffer.alloc(0)));
    expect((await receiving).summary).toEqual({ bytes: 0, sha256: sha256(Buffer.alloc(0)) });
  });

  it('does not wait for the reading side of a sink that is a socket', async () => {
    const { incoming, finish, wire } = await destination();
    const sink = new Duplex({ read: () => undefined, write: (_, __, done) => done(), autoDestroy: false });
    const receiving = incoming.receiveImage(sink);
    await wire.hear(dataOf(Buffer.from('ab')));
    await finish(2, sha256(Buffer.from('ab')));
    expect((await receiving).summary.bytes).toBe(2);
  });

  it('is done once its sink took everything, or fails where the channel breaks before', async () => {
    const { incoming, finish, wire } = await destination();
    const sink = new Sink(true);
    const receiving = messageOf(incoming.receiveImage(sink));
    await wire.hear(dataOf(Buffer.from('ab')));
    await finish(2, sha256(Buffer.from('ab')));
    expect([await isSettled(receiving), sink.writableEnded]).toEqual([false, true]);
    incoming.abort('a test');
    expect([await receiving, sink.destroyed]).toEqual([lost('aborted on this side: a test').message, true]);
  });

  it('receives one image on one channel, and none where it is broken', async () => {
    const { incoming, wire } = await destination();
    const receiving = messageOf(incoming.receiveImage(new Sink()));
    expect(await messageOf(incoming.receiveImage(new Sink()))).toBe(refuse('INTERNAL', { problem: 'the image of this channel was received already' }).message);
    incoming.abort('a test');
    await receiving;
    const broken = await destination();
    await broken.wire.hear(dataOf(Buffer.from('ab')));
    broken.incoming.abort('a test');
    const sink = new Sink();
    expect([await messageOf(broken.incoming.receiveImage(sink)), sink.destroyed, sink.chunks]).toEqual([lost('aborted on this side: a test').message, true, []]);
    expect(wire.frames).toEqual(['ABORT a test']);
  });

  it('turns a source away that its door does not want any more', async () => {
    const wire = new Wire();
    const terms = termsOf(4000);
    const why = lost('this move has its source already');
    const incoming = new Incoming(wire.socket, terms, () => {
      throw why;
    });
    const confirmed = messageOf(incoming.confirmed);
    await wire.confirmBy('source', terms);
    expect([await confirmed, wire.frames]).toEqual([why.message, ['CONFIRM', `ABORT ${why.message}`]]);
  });

  it('does not take what is no manifest', async () => {
    const { wire, incoming } = await destination();
    await wire.hear(encodeControl('MANIFEST', Buffer.from('{}')));
    expect(await messageOf(incoming.broken)).toMatch(/^CHANNEL_FRAME_INVALID: /);
  });
});

describe('either end', () => {
  it.each([['source', async () => { const { wire, outgoing } = await source(); return { wire, end: outgoing }; }], ['destination', async () => { const { wire, incoming } = await destination(); return { wire, end: incoming }; }]] as const)('is closed with a word, and once it is gone: %s', async (_, begin) => {
    const { wire, end } = await begin();
    const closing = end.close();
    expect([await isSettled(closing), wire.frames, wire.writableEnded]).toEqual([false, ['ABORT the channel was closed before the verdict'], true]);
    wire.push(null);
    await closing;
    expect(wire.destroyed).toBe(true);
  });
});
