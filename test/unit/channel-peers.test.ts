/** Who gets in: pins on both sides, confirmation of the session key on both sides, one source only. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { SecretKey } from '../../domain/secret-key.js';
import { afterEach, describe, expect, it } from 'vitest';
import { ANY_PORT, channels, cleanUp, closedOf, codeOf, HandWrittenPeer, imageOf, listenFor, manifestOf, never, newEnds, Sink, TYPE, verdictOf } from './channel-support.js';

afterEach(cleanUp);

const at = (port: number) => ({ ...ANY_PORT, port });

/** Shows that the listener still takes the right source. */
async function expectStillOpen(listener: Awaited<ReturnType<typeof listenFor>>, ends: Awaited<ReturnType<typeof newEnds>>) {
  const [outgoing, incoming] = await Promise.all([channels.connect(listener.address, ends.source, never), listener.accept()]);
  const sink = new Sink();
  const [sent, received] = await Promise.all([
    outgoing.sendImage(imageOf(Buffer.from('image'))).then(async (summary) => (await outgoing.sendManifest(manifestOf(ends, summary)), summary)),
    incoming.receiveImage(sink),
  ]);
  expect(received.summary).toEqual(sent);
  await Promise.all([incoming.sendVerdict(verdictOf(ends, 'accepted')), outgoing.receiveVerdict()]);
  await Promise.all([outgoing.close(), incoming.close()]);
}

describe('the TLS keys', () => {
  it('a source without the attested key is turned away and counted; the right one still gets in', async () => {
    const ends = await newEnds();
    const listener = await listenFor(ends.destination);
    const stranger = { ...ends.source, identity: await channels.createIdentity() };
    expect(await codeOf(channels.connect(listener.address, stranger, never))).toBe('CHANNEL_LOST');
    expect(listener.refusedPeers).toEqual(['CHANNEL_PEER_UNKNOWN']);
    await expectStillOpen(listener, ends);
  });

  it('a destination without the attested key gets nothing from the source', async () => {
    const ends = await newEnds();
    const stranger = await HandWrittenPeer.asDestination({ ...ends.destination, identity: await channels.createIdentity() });
    const received: Buffer[] = [];
    void stranger.peer.then((peer) => peer.socket.on('data', (chunk: Buffer) => received.push(chunk)));
    expect(await codeOf(channels.connect(at(stranger.port), ends.source, never))).toBe('CHANNEL_PEER_UNKNOWN');
    await stranger.gone;
    expect(received).toEqual([]);
  });

  it('a man in the middle with TLS keys of his own is refused by both', async () => {
    const ends = await newEnds();
    const listener = await listenFor(ends.destination);
    const own = await channels.createIdentity();
    const middle = await HandWrittenPeer.asDestination({ ...ends.destination, identity: own });
    const connecting = codeOf(channels.connect(at(middle.port), ends.source, never));
    const toDestination = await HandWrittenPeer.asSource(listener.address.port, { ...ends.source, identity: own });
    await toDestination.closed;
    expect(await connecting).toBe('CHANNEL_PEER_UNKNOWN');
    expect(toDestination.received).toEqual([]);
    expect(listener.refusedPeers).toEqual(['CHANNEL_PEER_UNKNOWN']);
  });

  it('a man in the middle who stole both TLS keys still fails at the confirmation: proofs do not carry over', async () => {
    const ends = await newEnds();
    const listener = await listenFor(ends.destination);
    const blind = { sessionKey: SecretKey.of(randomBytes(32)) };
    const middle = await HandWrittenPeer.asDestination({ ...ends.destination, ...blind });
    const connecting = codeOf(channels.connect(at(middle.port), ends.source, never));
    const toDestination = await HandWrittenPeer.asSource(listener.address.port, { ...ends.source, ...blind });
    const toSource = await middle.peer;
    toSource.send(TYPE.CONFIRM, await toDestination.next(TYPE.CONFIRM));
    expect(await connecting).toBe('CHANNEL_KEY_UNCONFIRMED');
    toDestination.send(TYPE.CONFIRM, toDestination.proofOf('source'));
    await toDestination.closed;
    expect(listener.refusedPeers).toEqual(['CHANNEL_KEY_UNCONFIRMED']);
  });

  it('no certificate at all, TLS 1.2, and noise are turned away and counted', async () => {
    const ends = await newEnds();
    const listener = await listenFor(ends.destination);
    await closedOf(connectTls({ port: listener.address.port, rejectUnauthorized: false }));
    await closedOf(connectTls({ port: listener.address.port, rejectUnauthorized: false, maxVersion: 'TLSv1.2' }));
    const scanner = connectTcp(listener.address.port);
    scanner.end('GET / HTTP/1.0\r\n\r\n');
    await closedOf(scanner);
    await expectStillOpen(listener, ends);
    expect(listener.refusedPeers).toEqual(Array(3).fill('CHANNEL_PEER_UNKNOWN'));
  });

  it('a crowd that connects and says nothing does not keep the source out', async () => {
    const ends = await newEnds();
    const listener = await listenFor(ends.destination);
    const crowd = Array.from({ length: 60 }, () => connectTcp(listener.address.port));
    const closed = crowd.map(closedOf);
    await Promise.all(crowd.map((socket) => once(socket, 'connect')));
    await expectStillOpen(listener, ends);
    await Promise.all(closed);
  });

  it('one who connects and says nothing is dropped after the limit', async () => {
    const ends = await newEnds(200);
    const listener = await listenFor(ends.destination);
    const idle = connectTcp(listener.address.port);
    await closedOf(idle);
    expect(listener.refusedPeers).toEqual(['CHANNEL_PEER_UNKNOWN']);
  });
});

describe('the session key', () => {
  it('a destination that did not unseal it is refused by the source', async () => {
    const ends = await newEnds();
    const listener = await listenFor({ ...ends.destination, sessionKey: SecretKey.of(randomBytes(32)) });
    expect(await codeOf(channels.connect(listener.address, ends.source, never))).toBe('CHANNEL_KEY_UNCONFIRMED');
  });

  it('a source that does not hold it is refused by the destination, which goes on listening', async () => {
    const ends = await newEnds();
    const listener = await listenFor(ends.destination);
    const peer = await HandWrittenPeer.asSource(listener.address.port, ends.source);
    await peer.next(TYPE.CONFIRM);
    peer.send(TYPE.CONFIRM, peer.proofOf('source', SecretKey.of(randomBytes(32))));
    await peer.closed;
    expect(listener.refusedPeers).toEqual(['CHANNEL_KEY_UNCONFIRMED']);
    await expectStillOpen(listener, ends);
  });

  it('the destination\'s own proof, sent back, proves nothing', async () => {
    const ends = await newEnds();
    const listener = await listenFor(ends.destination);
    const peer = await HandWrittenPeer.asSource(listener.address.port, ends.source);
    peer.send(TYPE.CONFIRM, await peer.next(TYPE.CONFIRM));
    await peer.closed;
    expect(listener.refusedPeers).toEqual(['CHANNEL_KEY_UNCONFIRMED']);
  });

  it('another migration with the same keys is refused', async () => {
    const ends = await newEnds();
    const other = await newEnds();
    const listener = await listenFor(ends.destination);
    const source = { ...ends.source, migrationId: other.source.migrationId };
    expect(await codeOf(channels.connect(listener.address, source, never))).toBe('CHANNEL_KEY_UNCONFIRMED');
  });

  it('the source sends nothing at all before the destination has proved it, and no image byte before its own proof', async () => {
    const ends = await newEnds();
    const { port, peer } = await HandWrittenPeer.asDestination(ends.destination);
    const connecting = channels.connect(at(port), ends.source, never);
    const destination = await peer;
    let isConnected = false;
    void connecting.then(() => (isConnected = true));
    // A round trip of an unrelated connection: the source had every chance to speak.
    const bystander = await HandWrittenPeer.asDestination(ends.destination);
    const other = channels.connect(at(bystander.port), ends.source, never);
    const otherPeer = await bystander.peer;
    otherPeer.send(TYPE.CONFIRM, otherPeer.proofOf('destination'));
    (await other).abort('done');
    expect(destination.received).toEqual([]);
    expect(isConnected).toBe(false);

    destination.send(TYPE.CONFIRM, destination.proofOf('destination'));
    const outgoing = await connecting;
    void outgoing.sendImage(imageOf(Buffer.from('secret'))).catch(() => undefined);
    expect(await destination.next(TYPE.DATA)).toEqual(Buffer.from('secret'));
    expect(destination.received[0]).toEqual({ type: TYPE.CONFIRM, payload: destination.proofOf('source') });
    outgoing.abort('done');
  });

  it('an image pushed before the proof breaks the connection', async () => {
    const ends = await newEnds();
    const listener = await listenFor(ends.destination);
    const peer = await HandWrittenPeer.asSource(listener.address.port, ends.source);
    peer.send(TYPE.DATA, Buffer.from('too early'));
    await peer.closed;
    expect(listener.refusedPeers).toEqual(['CHANNEL_FRAME_INVALID']);
    await expectStillOpen(listener, ends);
  });
});

describe('one source', () => {
  it('a second authentic connection after the first finds the door closed', async () => {
    const ends = await newEnds();
    const listener = await listenFor(ends.destination);
    const [first] = await Promise.all([channels.connect(listener.address, ends.source, never), listener.accept()]);
    expect(await codeOf(channels.connect(listener.address, ends.source, never))).toBe('CHANNEL_UNREACHABLE');
    first.abort('done');
  });

  it('of two authentic connections at once only the first to prove itself is taken', async () => {
    const ends = await newEnds();
    const listener = await listenFor(ends.destination);
    const slow = await HandWrittenPeer.asSource(listener.address.port, ends.source);
    await slow.next(TYPE.CONFIRM);
    const proof = slow.proofOf('source');
    const [first, incoming] = await Promise.all([channels.connect(listener.address, ends.source, never), listener.accept()]);
    slow.send(TYPE.CONFIRM, proof);
    await slow.closed;
    expect(listener.refusedPeers).toHaveLength(1);
    const received = incoming.receiveImage(new Sink());
    const summary = await first.sendImage(imageOf(Buffer.from('still ours')));
    await first.sendManifest(manifestOf(ends, summary));
    expect((await received).summary).toEqual(summary);
    first.abort('done');
  });
});
