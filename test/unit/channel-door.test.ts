/** channel/listener.ts, connect.ts and tls.ts on real sockets: what a door tells, keeps and lets go, and what whoever comes to it says of himself. */
import { once } from 'node:events';
import { type AddressInfo, Socket, connect as connectTcp } from 'node:net';
import { TLSSocket, createServer as createTlsServer } from 'node:tls';
import { constants } from 'node:crypto';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { lost } from '../../channel/link.js';
import { tlsOptions } from '../../channel/tls.js';
import { refuse } from '../../domain/failures.js';
import { SecretKey } from '../../domain/secret-key.js';
import { answered } from '../../infra/testbed/until.js';
import { settled } from '../support/settled.js';
import { ANY_PORT, HandWrittenPeer, TYPE, answering, channels, cleanUp, closedOf, failureOf, listenFor, never, newEnds } from './channel-support.js';

afterEach(cleanUp);

const at = (port: number) => ({ ...ANY_PORT, port });
const LONG_MS = 600_000;

/** Someone who connects, and when it is over for him. */
async function knock(port: number) {
  const socket = connectTcp(port, '127.0.0.1');
  const closed = closedOf(socket);
  await once(socket, 'connect');
  return { socket, closed };
}

describe('the door', () => {
  it('says where it is, and why it cannot be there', async () => {
    const { destination } = await newEnds();
    const { address } = await listenFor(destination);
    expect([address.host, address.port > 0]).toEqual(['127.0.0.1', true]);
    const { message } = await failureOf(channels.listen(address, destination));
    expect(message).toMatch(new RegExp(`^CHANNEL_UNREACHABLE: .*127\\.0\\.0\\.1:${address.port}.*EADDRINUSE`));
  });

  it('that closes says so, sends away whoever waits before it, and lets nobody in', async () => {
    const { destination } = await newEnds(LONG_MS);
    const listener = await listenFor(destination);
    const waiting = await knock(listener.address.port);
    const other = await knock(listener.address.port);
    // That the first was let in is known once the second was: they come in order.
    other.socket.write('noise');
    await other.closed;
    const accepting = failureOf(listener.accept());
    await listener.close();
    expect((await accepting).message).toBe(lost('the listener was closed').message);
    await waiting.closed;
    expect(listener.refusedPeers).toEqual(['CHANNEL_PEER_UNKNOWN', 'CHANNEL_PEER_UNKNOWN']);
    const late = connectTcp(listener.address.port, '127.0.0.1');
    onTestFinished(() => void late.destroy());
    await expect(once(late, 'connect')).rejects.toThrow('ECONNREFUSED');
  });

  it('keeps a copy of the session key while it is open, leaves its owner’s alone, and keeps none where it could not open', async () => {
    const { destination } = await newEnds();
    const copies: SecretKey[] = [];
    const own = destination.sessionKey;
    const sessionKey = Object.assign(Object.create(own) as SecretKey, { copy: () => (copies.push(SecretKey.of(Buffer.alloc(32, 3))), copies.at(-1)) });
    const listener = await listenFor({ ...destination, sessionKey });
    expect(copies.map(({ isDestroyed }) => isDestroyed)).toEqual([false]);
    await listener.close();
    expect([copies.map(({ isDestroyed }) => isDestroyed), own.isDestroyed]).toEqual([[true], false]);
    const { address } = await listenFor(destination);
    await failureOf(channels.listen(address, { ...destination, sessionKey }));
    expect(copies.map(({ isDestroyed }) => isDestroyed)).toEqual([true, true]);
  });

  it('has 32 wait before it, and no more: the oldest goes', async () => {
    const { destination } = await newEnds(LONG_MS);
    const listener = await listenFor(destination);
    const crowd = [];
    for (let count = 0; count < 33; count++) crowd.push(await knock(listener.address.port));
    await crowd[0]?.closed;
    const last = crowd.at(-1);
    last?.socket.write('noise');
    await last?.closed;
    expect(listener.refusedPeers).toHaveLength(2);
    for (const { socket } of crowd) socket.destroy();
  });

  it('remembers the first thousand that it turned away', async () => {
    const { source, destination } = await newEnds();
    const listener = await listenFor(destination);
    const first = await HandWrittenPeer.asSource(listener.address.port, source);
    first.send(TYPE.DATA, Buffer.from('too early'));
    await first.closed;
    for (let count = 0; count < 41; count++) {
      const crowd = await Promise.all(Array.from({ length: 25 }, () => knock(listener.address.port)));
      for (const { socket } of crowd) socket.end('noise');
      await Promise.all(crowd.map(({ closed }) => closed));
    }
    expect([listener.refusedPeers.length, new Set(listener.refusedPeers), listener.refusedPeers[0]]).toEqual([1000, new Set(['CHANNEL_FRAME_INVALID', 'CHANNEL_PEER_UNKNOWN']), 'CHANNEL_FRAME_INVALID']);
  });

  it('leaves no clock behind for whoever it sent away or let in', async () => {
    const cleared = vi.spyOn(globalThis, 'clearTimeout');
    onTestFinished(() => cleared.mockRestore());
    const ends = await newEnds(LONG_MS);
    const listener = await listenFor(ends.destination);
    const set = vi.spyOn(globalThis, 'setTimeout');
    onTestFinished(() => set.mockRestore());
    const clocksOf = (ms: number) => set.mock.results.filter((_, i) => set.mock.calls[i]?.[1] === ms).map(({ value }) => value as NodeJS.Timeout);
    const stranger = await knock(listener.address.port);
    stranger.socket.write('noise');
    await stranger.closed;
    const [outgoing, incoming] = await Promise.all([channels.connect(listener.address, ends.source, never), listener.accept()]);
    const clocks = clocksOf(LONG_MS);
    expect([clocks.length, clocks.every((clock) => cleared.mock.calls.some(([one]) => one === clock))]).toEqual([3, true]);
    outgoing.abort('done');
    await Promise.all([incoming.close(), outgoing.close()]);
  });
});

describe('whoever comes to it', () => {
  it('sends no server name (SNI), and small frames at once (TCP_NODELAY)', async () => {
    const { source, destination } = await newEnds();
    const noDelay = vi.spyOn(Socket.prototype, 'setNoDelay');
    onTestFinished(() => noDelay.mockRestore());
    const server = createTlsServer({ key: destination.identity.privateKey, cert: destination.identity.certificate, requestCert: true, rejectUnauthorized: false });
    onTestFinished(() => void server.close());
    server.listen(0, 'localhost');
    await once(server, 'listening');
    const connecting = failureOf(channels.connect({ host: 'localhost', port: (server.address() as AddressInfo).port }, source, never));
    const [socket] = await answered('a connection through TLS', once(server, 'secureConnection') as Promise<[TLSSocket]>, { tell: () => 'none' });
    const { servername } = socket as unknown as { readonly servername: unknown };
    expect([servername, noDelay.mock.calls]).toEqual([false, [[true]]]);
    socket.destroy();
    await connecting;
  });

  it('hears where nobody is, where it was cut off, and how long it waited', async () => {
    const { source } = await newEnds(200);
    const unreachable = (port: number, problem: string) => refuse('CHANNEL_UNREACHABLE', { address: `127.0.0.1:${port}`, problem }).message;
    const silent = await answering(() => undefined);
    expect((await failureOf(channels.connect(silent, source, never))).message).toBe(unreachable(silent.port, 'no answer within 200 ms'));
    const ending = await answering((socket) => socket.end());
    expect((await failureOf(channels.connect(ending, { ...source, silenceLimitMs: LONG_MS }, never))).message).toMatch(/^CHANNEL_UNREACHABLE: /);
    const listener = await listenFor(source);
    await listener.close();
    expect((await failureOf(channels.connect(listener.address, source, never))).message).toMatch(new RegExp(`^CHANNEL_UNREACHABLE: .*127\\.0\\.0\\.1:${listener.address.port}.*ECONNREFUSED`));
  });

  it('does not know one that speaks no TLS', async () => {
    const { source } = await newEnds();
    const talking = await answering((socket) => socket.end('HTTP/1.0 400 Bad Request\r\n\r\n'));
    const failure = await failureOf(channels.connect(talking, source, never));
    expect([failure.code, (failure.cause as NodeJS.ErrnoException).code?.startsWith('ERR_SSL')]).toEqual(['CHANNEL_PEER_UNKNOWN', true]);
  });

  it('is stopped before it begins, while it waits, and not once it is in', async () => {
    const ends = await newEnds(LONG_MS);
    const enough = refuse('ABORTED', { reason: 'enough' }).message;
    const stop = new AbortController();
    stop.abort(new Error('enough'));
    const listener = await listenFor(ends.destination);
    expect((await failureOf(channels.connect(listener.address, ends.source, stop.signal))).message).toBe(enough);
    const later = new AbortController();
    const silent = await answering(() => later.abort(new Error('enough')));
    expect((await failureOf(channels.connect(silent, ends.source, later.signal))).message).toBe(enough);
    const late = new AbortController();
    const [outgoing, incoming] = await Promise.all([channels.connect(listener.address, ends.source, late.signal), listener.accept()]);
    late.abort(new Error('enough'));
    const broken = Promise.race([outgoing.broken, incoming.broken]).catch((error: unknown) => error);
    expect(await Promise.race([broken, settled().then(() => 'whole')])).toBe('whole');
    outgoing.abort('done');
  });

  it('tells a destination with the right keys of TLS and another session key why it goes', async () => {
    const ends = await newEnds();
    const { port, peer } = await HandWrittenPeer.asDestination(ends.destination);
    const connecting = failureOf(channels.connect(at(port), ends.source, never));
    const destination = await peer;
    destination.send(TYPE.CONFIRM, destination.proofOf('destination', SecretKey.of(Buffer.alloc(32, 9))));
    const { message } = refuse('CHANNEL_KEY_UNCONFIRMED', {});
    const destroyed = vi.spyOn(TLSSocket.prototype, 'destroy');
    onTestFinished(() => destroyed.mockRestore());
    expect((await connecting).message).toBe(message);
    // Its last word is on its way: it hangs up, and does not cut off.
    expect(destroyed).not.toHaveBeenCalled();
    expect((await destination.next(TYPE.ABORT)).toString()).toBe(message);
    expect(destination.received.map(({ type }) => type)).toEqual([TYPE.ABORT]);
  });

  it('hangs up on a stranger, and hears when a destination hangs up before its proof', async () => {
    const ends = await newEnds();
    const stranger = await HandWrittenPeer.asDestination({ ...ends.destination, identity: await channels.createIdentity() });
    expect((await failureOf(channels.connect(at(stranger.port), ends.source, never))).message).toBe(refuse('CHANNEL_PEER_UNKNOWN', {}).message);
    await stranger.gone;
    const { port, peer } = await HandWrittenPeer.asDestination(ends.destination);
    void peer.then(({ socket }) => socket.end());
    expect((await failureOf(channels.connect(at(port), ends.source, never))).message).toBe(lost('the peer closed it').message);
  });
});

describe('TLS', () => {
  it('is 1.3 with one suite and one signature, both sides show a certificate, and nothing is taken up again', async () => {
    const { source } = await newEnds();
    expect(tlsOptions(source)).toEqual({
      key: source.identity.privateKey, cert: source.identity.certificate, minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256', sigalgs: 'ecdsa_secp256r1_sha256',
      requestCert: true, rejectUnauthorized: false, secureOptions: constants.SSL_OP_NO_TICKET, noDelay: true,
    });
  });
});
