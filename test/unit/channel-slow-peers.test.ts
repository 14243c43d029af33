/** Peers that are slow on purpose, in front of either end: what is not proven within the limit is over, however often a byte comes. Real sockets. */
import { type Socket, connect as connectTcp } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ANY_PORT, HandWrittenPeer, TYPE, answering, channels, cleanUp, closedOf, codeOf, listenFor, never, newEnds } from './channel-support.js';

const LIMIT_MS = 300;
const DRIP_MS = 20;
/** The header of a TLS record of 16 KiB that is a handshake; then a hello that goes on and on. */
const ENDLESS_RECORD = Buffer.from('1603014000', 'hex');

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
  cleanUp();
});

/** A byte every few milliseconds for as long as the connection lives. */
function drip(socket: Pick<Socket, 'write' | 'on' | 'destroyed'>, first: Buffer, next: number): void {
  socket.on('error', () => undefined);
  socket.write(first);
  const timer = setInterval(() => socket.destroyed || socket.write(Buffer.of(next)), DRIP_MS);
  ends.push(() => clearInterval(timer));
}

describe('the destination drops', () => {
  it('one who sends a handshake byte by byte', async () => {
    const { destination } = await newEnds(LIMIT_MS);
    const listener = await listenFor(destination);
    const socket = connectTcp(listener.address.port, '127.0.0.1');
    drip(socket, ENDLESS_RECORD, 1);
    await closedOf(socket);
    expect(listener.refusedPeers).toEqual(['CHANNEL_PEER_UNKNOWN']);
  });

  it('one with the attested key who confirms nothing', async () => {
    const { source, destination } = await newEnds(LIMIT_MS);
    const listener = await listenFor(destination);
    const peer = await HandWrittenPeer.asSource(listener.address.port, source);
    await peer.closed;
    expect(listener.refusedPeers).toEqual(['CHANNEL_KEY_UNCONFIRMED']);
  });

  it.each([
    ['the confirmation', TYPE.CONFIRM, 32],
    ['a reason to give up', TYPE.ABORT, 64 * 1024],
  ])('one with the attested key who sends %s byte by byte', async (_, type, bytes) => {
    const { source, destination } = await newEnds(LIMIT_MS);
    const listener = await listenFor(destination);
    const peer = await HandWrittenPeer.asSource(listener.address.port, source);
    drip(peer.socket, Buffer.of(type, 0, bytes >> 16, (bytes >> 8) & 0xff, bytes & 0xff), 0x61);
    await peer.closed;
    expect(['CHANNEL_KEY_UNCONFIRMED']).toEqual(listener.refusedPeers);
  });
});

describe('the source gives up on', () => {
  it.each<[string, (socket: Socket) => void]>([
    ['one who says nothing', () => undefined],
    ['one who sends a handshake byte by byte', (socket) => drip(socket, ENDLESS_RECORD, 2)],
  ])('%s', async (_, greet) => {
    const { source } = await newEnds(LIMIT_MS);
    expect(await codeOf(channels.connect(await answering(greet), source, never))).toBe('CHANNEL_UNREACHABLE');
  });

  it.each([false, true])('one with the attested key who does not confirm in time (byte by byte: %s)', async (isDripping) => {
    const { source, destination } = await newEnds(LIMIT_MS);
    const { port, peer } = await HandWrittenPeer.asDestination(destination);
    void peer.then(({ socket }) => isDripping && drip(socket, Buffer.of(TYPE.CONFIRM, 0, 0, 0, 32), 0));
    expect(await codeOf(channels.connect({ ...ANY_PORT, port }, source, never))).toBe('CHANNEL_LOST');
  });
});
