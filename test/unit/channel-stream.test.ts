/** An image on its way: what arrives, who holds back whom, and every way in which it can break. */
import { randomBytes } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import type { IncomingChannel, OutgoingChannel, StreamSummary } from '../../channel/port.js';
import { WINDOW_BYTES } from '../../channel/frames.js';
import { encodeDocument } from '../../channel/documents.js';
import { until } from '../../infra/testbed/until.js';
import { settled } from '../support/settled.js';
import {
  ANY_PORT, channels, cleanUp, codeOf, failureOf, HandWrittenPeer, imageOf, listenFor, manifestOf, never, newEnds, newPair, sha256, Sink, TYPE, verdictOf, type Ends,
} from './channel-support.js';

afterEach(cleanUp);

const image = randomBytes(20 * 1024 * 1024 + 123);

async function send(outgoing: OutgoingChannel, ends: Ends, bytes: Buffer): Promise<StreamSummary> {
  const summary = await outgoing.sendImage(imageOf(bytes));
  await outgoing.sendManifest(manifestOf(ends, summary));
  return summary;
}

/** Neither of the channels reports a break: shown by the next turns of the event loop, after everything else is done. */
async function expectUnbroken(...ends: (OutgoingChannel | IncomingChannel)[]): Promise<void> {
  const broken = Promise.race(ends.map((end) => end.broken.then(() => 'broken', () => 'broken')));
  expect(await Promise.race([broken, settled().then(() => 'whole')])).toBe('whole');
}

describe('a good move', () => {
  it('carries the image, the manifest and the verdict, and ends clean on both sides', async () => {
    const { outgoing, incoming, ends } = await newPair();
    const sink = new Sink();
    const [sent, received] = await Promise.all([send(outgoing, ends, image), incoming.receiveImage(sink)]);
    expect(sent).toEqual({ bytes: image.length, sha256: sha256(image) });
    expect(received).toEqual({ summary: sent, manifest: manifestOf(ends, sent) });
    expect(sink.bytes.equals(image)).toBe(true);
    expect(sink.writableFinished).toBe(true);
    expect([outgoing.sentBytes, incoming.receivedBytes]).toEqual([image.length, image.length]);

    const verdict = verdictOf(ends, 'accepted');
    await incoming.sendVerdict(verdict);
    expect(await outgoing.receiveVerdict()).toEqual(verdict);
    await Promise.all([incoming.close(), outgoing.close()]);
    await expectUnbroken(outgoing, incoming);
    await Promise.all([incoming.close(), outgoing.close()]);
  });

  it.each([0, 1, 256 * 1024, 256 * 1024 + 1, 1024 * 1024 + 1])('carries an image of %d bytes in one piece', async (bytes) => {
    const { outgoing, incoming, ends } = await newPair();
    const whole = randomBytes(bytes);
    const sink = new Sink();
    const sending = outgoing.sendImage(imageOf(whole, 2 ** 30)).then((summary) => outgoing.sendManifest(manifestOf(ends, summary)));
    const { summary } = await incoming.receiveImage(sink);
    await sending;
    expect(summary).toEqual({ bytes, sha256: sha256(whole) });
    expect(sink.bytes.equals(whole)).toBe(true);
  });

  it('gives the verdict even when the destination closes at once', async () => {
    const { outgoing, incoming, ends } = await newPair();
    const sending = send(outgoing, ends, image.subarray(0, 1000));
    await incoming.receiveImage(new Sink());
    await sending;
    await incoming.sendVerdict(verdictOf(ends, 'rejected', 'STREAM_DIGEST_MISMATCH'));
    await incoming.close();
    expect((await outgoing.receiveVerdict()).verdict).toBe('rejected');
    await expectUnbroken(outgoing, incoming);
  });

  it('loses nothing that comes before the destination asks for it', async () => {
    const { outgoing, incoming, ends } = await newPair();
    const sending = send(outgoing, ends, image.subarray(0, 100_000));
    await sending;
    await until('all bytes', () => incoming.receivedBytes, (bytes) => bytes === 100_000, { everyMs: 1 });
    const sink = new Sink();
    expect((await incoming.receiveImage(sink)).summary).toEqual(await sending);
    expect(sink.bytes.equals(image.subarray(0, 100_000))).toBe(true);
  });
});

describe('holding back', () => {
  it('a sink that takes nothing stops the source at the window; both stay alive; then it goes on', async () => {
    const { outgoing, incoming, ends, proxy } = await newPair(800);
    const sink = new Sink(true);
    const sending = send(outgoing, ends, image);
    const receiving = incoming.receiveImage(sink);
    // Each KEEPALIVE is a chunk of its own: eight of them are two silence limits.
    await proxy.chunks('toSource', 8);
    await proxy.chunks('toDestination', 8);
    expect(incoming.receivedBytes).toBeLessThanOrEqual(WINDOW_BYTES);
    expect(incoming.receivedBytes).toBeGreaterThan(WINDOW_BYTES - 1024 * 1024);
    await expectUnbroken(outgoing, incoming);
    sink.release();
    expect((await receiving).summary).toEqual(await sending);
    expect(sink.bytes.equals(image)).toBe(true);
  });

  it('an image that stands still does not count as silence', async () => {
    const { outgoing, incoming, ends, proxy } = await newPair(800);
    const slow = new PassThrough();
    slow.write('first');
    const sending = outgoing.sendImage(slow).then(async (summary) => (await outgoing.sendManifest(manifestOf(ends, summary)), summary));
    const receiving = incoming.receiveImage(new Sink());
    await Promise.all([proxy.chunks('toSource', 8), proxy.chunks('toDestination', 8)]);
    slow.end('last');
    expect((await receiving).summary).toEqual(await sending);
    expect((await sending).sha256).toBe(sha256(Buffer.from('firstlast')));
  });

  it('an abort reaches a destination whose sink is stuck', async () => {
    const { outgoing, incoming } = await newPair();
    const sink = new Sink(true);
    const receiving = failureOf(incoming.receiveImage(sink));
    const sending = codeOf(outgoing.sendImage(imageOf(image)));
    await until('most of a window', () => incoming.receivedBytes, (bytes) => bytes > WINDOW_BYTES - 1024 * 1024, { everyMs: 1 });
    outgoing.abort('the operator said stop');
    expect((await receiving).message).toContain('the operator said stop');
    expect(await sending).toBe('CHANNEL_LOST');
    expect(sink.destroyed).toBe(true);
  });
});

describe('a broken move', () => {
  it('an abort tells the peer why, and is no error the second time', async () => {
    const { outgoing, incoming } = await newPair();
    incoming.abort('disk is gone\u001b[2J');
    incoming.abort('again');
    const failure = await failureOf(outgoing.broken);
    expect(failure.code).toBe('CHANNEL_LOST');
    expect(failure.message).toContain('disk is gone [2J');
    expect(await codeOf(outgoing.receiveVerdict())).toBe('CHANNEL_LOST');
    expect(await codeOf(incoming.receiveImage(new Sink()))).toBe('CHANNEL_LOST');
    await Promise.all([incoming.close(), outgoing.close()]);
  });

  it('a connection that ends in the middle of the image is lost on both sides; image and sink are destroyed', async () => {
    const { outgoing, incoming, proxy } = await newPair();
    const sink = new Sink();
    const source = new PassThrough();
    source.write(image.subarray(0, 100_000));
    const sending = codeOf(outgoing.sendImage(source));
    const receiving = codeOf(incoming.receiveImage(sink));
    await proxy.chunks('toDestination', 1);
    proxy.cut();
    expect(await Promise.all([sending, receiving])).toEqual(['CHANNEL_LOST', 'CHANNEL_LOST']);
    expect([source.destroyed, sink.destroyed]).toEqual([true, true]);
  });

  it('a connection that ends between manifest and verdict is lost, not answered', async () => {
    const { outgoing, incoming, ends, proxy } = await newPair();
    await Promise.all([send(outgoing, ends, image.subarray(0, 1000)), incoming.receiveImage(new Sink())]);
    const waiting = codeOf(outgoing.receiveVerdict());
    proxy.cut();
    expect(await waiting).toBe('CHANNEL_LOST');
    expect(await codeOf(incoming.broken)).toBe('CHANNEL_LOST');
  });

  it.each(['toDestination', 'toSource'] as const)('one bit flipped on the wire %s breaks it for both, and no manifest is taken', async (direction) => {
    const { outgoing, incoming, ends, proxy } = await newPair(800);
    let isFlipped = false;
    proxy.change(direction, (chunk) => {
      if (isFlipped) return chunk;
      isFlipped = true;
      const changed = Buffer.from(chunk);
      const at = changed.length >> 1;
      changed.writeUInt8(changed.readUInt8(at) ^ 0x10, at);
      return changed;
    });
    const sending = failureOf(send(outgoing, ends, image));
    const receiving = failureOf(incoming.receiveImage(new Sink()));
    expect((await receiving).code).toBe('CHANNEL_LOST');
    expect((await sending).code).toBe('CHANNEL_LOST');
  });

  it('a peer that goes silent is noticed by both, whoever waits for whom', async () => {
    const { outgoing, incoming, proxy } = await newPair(800);
    const sending = codeOf(outgoing.sendImage(new PassThrough()));
    const receiving = codeOf(incoming.receiveImage(new Sink(true)));
    await proxy.chunks('toSource', 1);
    proxy.hold();
    expect(await Promise.all([sending, receiving])).toEqual(['CHANNEL_SILENT', 'CHANNEL_SILENT']);
  });

  it('a source that dies while the sink is stuck is noticed', async () => {
    const { outgoing, incoming, proxy } = await newPair(800);
    const receiving = codeOf(incoming.receiveImage(new Sink(true)));
    const sending = codeOf(outgoing.sendImage(imageOf(image)));
    await proxy.chunks('toDestination', 20);
    proxy.hold();
    expect(await Promise.all([sending, receiving])).toEqual(['CHANNEL_SILENT', 'CHANNEL_SILENT']);
  });

  it('an image that fails at its origin rejects with its own error and leaves the channel for the reason', async () => {
    const { outgoing, incoming } = await newPair();
    const receiving = failureOf(incoming.receiveImage(new Sink()));
    const source = new PassThrough();
    source.write('some');
    source.destroy(new Error('the hypervisor died'));
    await expect(outgoing.sendImage(source)).rejects.toThrow('the hypervisor died');
    outgoing.abort('the hypervisor died');
    expect((await receiving).message).toContain('the hypervisor died');
  });

  it('a sink that fails does not stop the link: the rest of the image is read and dropped', async () => {
    const { outgoing, incoming, ends } = await newPair();
    const sink = new Sink(true);
    const receiving = incoming.receiveImage(sink);
    const sending = send(outgoing, ends, image);
    sink.destroy(new Error('the hypervisor refused'));
    await expect(receiving).rejects.toThrow('the hypervisor refused');
    expect((await sending).bytes).toBe(image.length);
  });

  it('a sink that fails rejects with its own error; the rejection still reaches the source and stops the image', async () => {
    const { outgoing, incoming, ends } = await newPair();
    const source = imageOf(image);
    const sending = failureOf(outgoing.sendImage(source));
    const sink = new Sink(true);
    sink.destroy(new Error('the hypervisor refused'));
    await expect(incoming.receiveImage(sink)).rejects.toThrow('the hypervisor refused');
    const verdict = verdictOf(ends, 'rejected', 'IMAGE_NOT_LOADED');
    await incoming.sendVerdict(verdict);
    const failure = await sending;
    // A small machine may have sent the whole image before the verdict comes; then sendManifest says it.
    expect(failure.code).toBe('DESTINATION_REJECTED');
    expect(source.destroyed).toBe(true);
    expect(await codeOf(outgoing.sendManifest(manifestOf(ends, { bytes: 0, sha256: '0'.repeat(64) })))).toBe('DESTINATION_REJECTED');
    expect(await outgoing.receiveVerdict()).toEqual(verdict);
    await Promise.all([incoming.close(), outgoing.close()]);
    await expectUnbroken(outgoing, incoming);
  });
});

describe('what is sent on a channel that broke before', () => {
  it('is refused with what broke it; the connection\'s later end surprises nobody', async () => {
    const surprises: unknown[] = [];
    const note = (reason: unknown) => surprises.push(reason);
    process.on('unhandledRejection', note);
    try {
      const { outgoing, incoming, ends } = await newPair();
      incoming.abort('a test wanted it');
      expect(await codeOf(incoming.sendVerdict(verdictOf(ends, 'rejected', 'ABORTED')))).toBe('CHANNEL_LOST');
      await expect(outgoing.broken).rejects.toThrow('a test wanted it');
      await Promise.all([incoming.close(), outgoing.close()]);
      await new Promise(setImmediate); // rejections without a handler are reported between two turns
      expect(surprises).toEqual([]);
    } finally {
      process.off('unhandledRejection', note);
    }
  });
});

describe('a peer with the right keys that follows no rules', () => {
  async function againstSource() {
    const ends = await newEnds();
    const { port, peer } = await HandWrittenPeer.asDestination(ends.destination);
    const connecting = channels.connect({ ...ANY_PORT, port }, ends.source, never);
    const destination = await peer;
    destination.send(TYPE.CONFIRM, destination.proofOf('destination'));
    return { ends, outgoing: await connecting, destination };
  }

  async function againstDestination(silenceLimitMs?: number) {
    const ends = await newEnds(silenceLimitMs);
    const listener = await listenFor(ends.destination);
    const source = await HandWrittenPeer.asSource(listener.address.port, ends.source);
    await source.next(TYPE.CONFIRM);
    source.send(TYPE.CONFIRM, source.proofOf('source'));
    return { ends, incoming: await listener.accept(), source };
  }

  it.each<[string, (source: HandWrittenPeer, ends: Ends) => void]>([
    ['an unknown type', (source) => source.send(42)],
    ['DATA that claims 4 GiB', (source) => source.send(TYPE.DATA, Buffer.alloc(10), 0xffffffff)],
    ['a manifest of 10 MiB', (source) => source.send(TYPE.MANIFEST, Buffer.alloc(10), 10 * 1024 * 1024)],
    ['a verdict', (source, ends) => source.send(TYPE.VERDICT, encodeDocument(verdictOf(ends, 'accepted')))],
    ['a manifest with a field too many', (source, ends) => source.send(TYPE.MANIFEST, encodeDocument({ ...manifestOf(ends, { bytes: 0, sha256: '0'.repeat(64) }), x: 1 }))],
    ['more than the window', (source) => { for (let i = 0; i < WINDOW_BYTES / 2 ** 20 + 1; i++) source.send(TYPE.DATA, Buffer.alloc(2 ** 20)); }],
  ])('destination: %s breaks the channel, and the peer is told', async (_, misbehave) => {
    const { incoming, source, ends } = await againstDestination();
    const receiving = codeOf(incoming.receiveImage(new Sink(true)));
    misbehave(source, ends);
    expect(await receiving).toBe('CHANNEL_FRAME_INVALID');
    expect((await source.next(TYPE.ABORT)).toString()).toContain('invalid frame');
  });

  it('destination: a frame that never ends breaks the channel, also where the source is never silent', async () => {
    const { incoming, source } = await againstDestination(400);
    const receiving = failureOf(incoming.receiveImage(new Sink()));
    // As a length that was changed on its way: the source goes on with KEEPALIVEs, which are taken for the rest of it.
    source.send(TYPE.MANIFEST, Buffer.alloc(10), 60_000);
    const alive = setInterval(() => source.send(TYPE.KEEPALIVE), 50);
    const failure = await receiving;
    clearInterval(alive);
    expect([failure.code, failure.message]).toEqual(['CHANNEL_FRAME_INVALID', expect.stringContaining('a frame did not end in 1.6 s')]);
  });

  it('destination: a second manifest after the first cannot change what was received', async () => {
    const { incoming, source, ends } = await againstDestination();
    const manifest = encodeDocument(manifestOf(ends, { bytes: 0, sha256: sha256(Buffer.alloc(0)) }));
    const receiving = incoming.receiveImage(new Sink());
    source.send(TYPE.MANIFEST, manifest);
    await receiving;
    source.send(TYPE.MANIFEST, manifest);
    expect(await codeOf(incoming.broken)).toBe('CHANNEL_FRAME_INVALID');
  });

  it.each<[string, (destination: HandWrittenPeer, ends: Ends) => void]>([
    ['credit that was never owed', (destination) => destination.send(TYPE.GRANT, Buffer.from([0, 0, 0, 1]))],
    ['an acceptance before the manifest', (destination, ends) => destination.send(TYPE.VERDICT, encodeDocument(verdictOf(ends, 'accepted')))],
    ['image bytes', (destination) => destination.send(TYPE.DATA, Buffer.alloc(1))],
    ['a second confirmation', (destination) => destination.send(TYPE.CONFIRM, destination.proofOf('destination'))],
    ['a verdict that is no JSON', (destination) => destination.send(TYPE.VERDICT, Buffer.from('{{'))],
  ])('source: %s breaks the channel, and the peer is told', async (_, misbehave) => {
    const { outgoing, destination, ends } = await againstSource();
    misbehave(destination, ends);
    expect(await codeOf(outgoing.broken)).toBe('CHANNEL_FRAME_INVALID');
    expect((await destination.next(TYPE.ABORT)).toString()).toContain('invalid frame');
  });

  it('source: credit is kept: no more than the window leaves without a grant', async () => {
    const { outgoing, destination } = await againstSource();
    const sending = codeOf(outgoing.sendImage(imageOf(image)));
    const received = () => destination.received.reduce((sum, { type, payload }) => sum + (type === TYPE.DATA ? payload.length : 0), 0);
    // The first KEEPALIVE after a standstill: the source had nothing else to send.
    await destination.next(TYPE.KEEPALIVE);
    expect(received()).toBeLessThanOrEqual(WINDOW_BYTES);
    expect(received()).toBe(outgoing.sentBytes);
    outgoing.abort('done');
    expect(await sending).toBe('CHANNEL_LOST');
  });

  it('destination: a source that waits for a verdict on a manifest that never came breaks the channel', async () => {
    const { incoming, source } = await againstDestination();
    const receiving = failureOf(incoming.receiveImage(new Sink()));
    // As a manifest whose type was changed on its way.
    source.send(TYPE.DATA, Buffer.from('{}'));
    source.send(TYPE.WAITING);
    const failure = await receiving;
    expect([failure.code, failure.message]).toEqual(['CHANNEL_FRAME_INVALID', expect.stringContaining('WAITING from the source while streaming')]);
  });

  it('source: once its manifest has left, its sign of life is WAITING', async () => {
    const { outgoing, destination, ends } = await againstSource();
    await destination.next(TYPE.KEEPALIVE);
    await outgoing.sendManifest(manifestOf(ends, await outgoing.sendImage(imageOf(Buffer.from('x')))));
    await destination.next(TYPE.WAITING);
    const types = destination.received.map(({ type }) => type);
    expect(types.slice(types.indexOf(TYPE.MANIFEST) + 1).every((type) => type === TYPE.WAITING)).toBe(true);
    outgoing.abort('done');
  });

  it('source: a verdict with the stream cut right behind it counts', async () => {
    const { outgoing, destination, ends } = await againstSource();
    const summary = await outgoing.sendImage(imageOf(Buffer.from('x')));
    await outgoing.sendManifest(manifestOf(ends, summary));
    await destination.next(TYPE.MANIFEST);
    destination.send(TYPE.VERDICT, encodeDocument(verdictOf(ends, 'accepted')));
    destination.socket.end();
    expect((await outgoing.receiveVerdict()).verdict).toBe('accepted');
    await outgoing.close();
    await expectUnbroken(outgoing);
  });
});
