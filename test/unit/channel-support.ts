/**
 * What the channel tests share: terms of both ends, a TCP proxy that can record, change, hold and
 * cut, and hand-written peers that hold the right keys but follow no rules. The peers are written
 * from the protocol's text, not with the channel's own code. Nothing here waits for a duration.
 */
import { createHash, createHmac, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from 'node:net';
import { Readable, Writable } from 'node:stream';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { createChannels } from '../../channel/relay.js';
import type { ChannelTerms, IncomingChannel, OutgoingChannel } from '../../channel/port.js';
import { KororaError } from '../../domain/failures.js';
import { Epoch, HostId, MigrationId, type NetworkAddress, VmId } from '../../domain/ids.js';
import { SecretKey } from '../../domain/secret-key.js';
import type { Manifest, Verdict } from '../../domain/manifest.js';
import { answered } from '../../infra/testbed/until.js';

export const channels = createChannels();
export const never: AbortSignal = new AbortController().signal;
export const ANY_PORT = { host: '127.0.0.1', port: 0 };
export const TYPE = { CONFIRM: 1, DATA: 2, MANIFEST: 3, VERDICT: 4, KEEPALIVE: 5, ABORT: 6, GRANT: 7, WAITING: 8 };

const cleanups: (() => void)[] = [];
export function cleanUp(): void {
  for (const cleanup of cleanups.splice(0)) cleanup();
}

export interface Ends {
  readonly source: ChannelTerms;
  readonly destination: ChannelTerms;
}

export async function newEnds(silenceLimitMs = 5000): Promise<Ends> {
  const [a, b] = await Promise.all([channels.createIdentity(), channels.createIdentity()]);
  const common = { migrationId: MigrationId.parse(randomUUID()), sessionKey: SecretKey.of(randomBytes(32)), silenceLimitMs };
  return {
    source: { ...common, identity: a, peerSpkiSha256: b.spkiSha256 },
    destination: { ...common, identity: b, peerSpkiSha256: a.spkiSha256 },
  };
}

export async function listenFor(terms: ChannelTerms) {
  const listener = await channels.listen(ANY_PORT, terms);
  cleanups.push(() => void listener.close());
  return listener;
}

export interface Pair {
  readonly outgoing: OutgoingChannel;
  readonly incoming: IncomingChannel;
  readonly proxy: Proxy;
  readonly ends: Ends;
}

/** A confirmed channel whose bytes pass through a proxy. */
export async function newPair(silenceLimitMs?: number): Promise<Pair> {
  const ends = await newEnds(silenceLimitMs);
  const listener = await listenFor(ends.destination);
  const proxy = await newProxy(listener.address.port);
  const [outgoing, incoming] = await Promise.all([
    channels.connect({ ...ANY_PORT, port: proxy.port }, ends.source, never),
    listener.accept(),
  ]);
  cleanups.push(() => outgoing.abort('test over'), () => incoming.abort('test over'));
  return { outgoing, incoming, proxy, ends };
}

export type Direction = 'toDestination' | 'toSource';

export interface Proxy {
  readonly port: number;
  /** Chunks that passed so far. */
  readonly passed: Record<Direction, number>;
  readonly passedBytes: Record<Direction, number>;
  /** Stops forwarding; connections stay open. */
  hold(): void;
  /** Ends both sides after what was forwarded. */
  cut(): void;
  /** Applied to each chunk from now on. */
  change(direction: Direction, change: (chunk: Buffer) => Buffer): void;
  /** Resolves after so many further chunks in that direction. */
  chunks(direction: Direction, count: number): Promise<void>;
}

export async function newProxy(targetPort: number): Promise<Proxy> {
  const passed = { toDestination: 0, toSource: 0 };
  const passedBytes = { toDestination: 0, toSource: 0 };
  const changes: Record<Direction, (chunk: Buffer) => Buffer> = { toDestination: (c) => c, toSource: (c) => c };
  const waiters: (() => void)[] = [];
  const sockets: Socket[] = [];
  let isHeld = false;
  const forward = (direction: Direction, from: Socket, to: Socket) => {
    from.on('data', (chunk: Buffer) => {
      if (isHeld) return;
      passed[direction]++;
      passedBytes[direction] += chunk.length;
      if (!to.write(changes[direction](chunk))) {
        from.pause();
        to.once('drain', () => from.resume());
      }
      for (const waiter of [...waiters]) waiter();
    });
    from.on('end', () => isHeld || to.end());
    from.on('error', () => to.destroy());
    from.on('close', () => isHeld || to.destroy());
  };
  const server = createServer((near) => {
    const far = connectTcp({ port: targetPort, host: '127.0.0.1' });
    sockets.push(near, far);
    forward('toDestination', near, far);
    forward('toSource', far, near);
  });
  const port = await listening(server);
  cleanups.push(() => sockets.forEach((s) => s.destroy()), () => server.close());
  return {
    port,
    passed,
    passedBytes,
    hold: () => (isHeld = true),
    cut: () => sockets.forEach((s) => s.end()),
    change: (direction, change) => (changes[direction] = change),
    chunks: (direction, count) => {
      const goal = passed[direction] + count;
      const passing = new Promise<void>((resolve) => {
        const check = () => passed[direction] >= goal && resolve();
        waiters.push(check);
      });
      return answered(`chunk ${goal} ${direction}`, passing, { tell: () => JSON.stringify(passed) });
    },
  };
}

/** An address whose connections a test does with as it likes; what they say is read and dropped. */
export async function answering(answer: (socket: Socket) => void): Promise<NetworkAddress> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined).resume();
    cleanups.push(() => socket.destroy());
    answer(socket);
  });
  cleanups.push(() => server.close());
  return { ...ANY_PORT, port: await listening(server) };
}

/** A peer with the right keys that sends what the test tells it to. */
export class HandWrittenPeer {
  readonly received: { readonly type: number; readonly payload: Buffer }[] = [];
  readonly socket: TLSSocket;
  readonly closed: Promise<void>;
  readonly #terms: ChannelTerms;
  #bytes = Buffer.alloc(0);
  #wake: (() => void)[] = [];

  constructor(socket: TLSSocket, terms: ChannelTerms) {
    this.socket = socket;
    this.#terms = terms;
    cleanups.push(() => socket.destroy());
    socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      while (this.#bytes.length >= 5 && this.#bytes.length >= 5 + this.#bytes.readUInt32BE(1)) {
        const end = 5 + this.#bytes.readUInt32BE(1);
        this.received.push({ type: this.#bytes.readUInt8(0), payload: this.#bytes.subarray(5, end) });
        this.#bytes = this.#bytes.subarray(end);
      }
      for (const wake of this.#wake.splice(0)) wake();
    });
  }

  static async asSource(port: number, terms: ChannelTerms): Promise<HandWrittenPeer> {
    const socket = connectTls({ port, host: '127.0.0.1', key: terms.identity.privateKey, cert: terms.identity.certificate, rejectUnauthorized: false });
    const peer = new HandWrittenPeer(socket, terms);
    await Promise.race([once(socket, 'secureConnect'), peer.closed]);
    return peer;
  }

  /** Listens. `peer` resolves with the first connection that gets through TLS, `gone` when the first connection has ended. */
  static async asDestination(terms: ChannelTerms): Promise<{ port: number; peer: Promise<HandWrittenPeer>; gone: Promise<void> }> {
    const server = createTlsServer({ key: terms.identity.privateKey, cert: terms.identity.certificate, requestCert: true, rejectUnauthorized: false });
    const peer = once(server, 'secureConnection').then(([socket]) => new HandWrittenPeer(socket as TLSSocket, terms));
    const gone = Promise.race([once(server, 'tlsClientError'), peer.then((p) => p.closed)]).then(() => undefined);
    cleanups.push(() => server.close());
    return { port: await listening(server), peer, gone };
  }

  send(type: number, payload: Buffer = Buffer.alloc(0), claimedBytes = payload.length): void {
    const header = Buffer.alloc(5);
    header.writeUInt8(type, 0);
    header.writeUInt32BE(claimedBytes, 1);
    this.socket.write(Buffer.concat([header, payload]));
  }

  proofOf(role: 'source' | 'destination', key = this.#terms.sessionKey): Buffer {
    const exported = this.socket.exportKeyingMaterial(32, 'EXPORTER-korora-channel', Buffer.from(this.#terms.migrationId));
    return key.use((bytes) => createHmac('sha256', bytes).update(`korora/1 channel confirmation\0${role}\0${this.#terms.migrationId}\0`).update(exported).digest());
  }

  next(type: number): Promise<Buffer> {
    const found = async () => {
      for (;;) {
        const frame = this.received.find((one) => one.type === type);
        if (frame) return frame.payload;
        await Promise.race([new Promise<void>((resolve) => this.#wake.push(resolve)), this.closed.then(() => Promise.reject(new Error(`closed before frame ${type}`)))]);
      }
    };
    return answered(`frame ${type}`, found(), { tell: () => `frames ${this.received.map((frame) => frame.type).join(' ')}` });
  }
}

export function manifestOf(ends: Ends, summary: { bytes: number; sha256: string }): Manifest {
  return {
    protocol: 'korora/1', migrationId: ends.source.migrationId, vmId: VmId.parse('vm1'), epoch: Epoch.parse(2),
    streamBytes: summary.bytes, streamSha256: summary.sha256, previousVerdict: null, vtpmIdentity: '0'.repeat(64),
  };
}

export function verdictOf(ends: Ends, verdict: 'accepted' | 'rejected', reason: string | null = null): Verdict {
  return {
    protocol: 'korora/1', purpose: 'verdict', verdict, migrationId: ends.source.migrationId, vmId: VmId.parse('vm1'),
    destination: HostId.parse('host-b'), epoch: Epoch.parse(2), manifestDigest: verdict === 'accepted' ? 'a'.repeat(64) : null, reason,
  };
}

/** The KororaError that `work` rejects with. */
export async function failureOf(work: Promise<unknown>): Promise<KororaError> {
  const error = await answered('a refusal, or its absence', work, { tell: () => 'neither' }).then(
    (value) => new Error(`resolved with ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  );
  if (error instanceof KororaError) return error;
  throw error;
}

export async function codeOf(work: Promise<unknown>): Promise<string> {
  return (await failureOf(work)).code;
}

/** Resolves when `socket` is closed, whether by an error or not. */
export function closedOf(socket: Socket): Promise<void> {
  socket.on('error', () => undefined);
  socket.resume();
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function imageOf(bytes: Buffer, pieceBytes = 50_000): Readable {
  const pieces = Array.from({ length: Math.ceil(bytes.length / pieceBytes) }, (_, i) => bytes.subarray(i * pieceBytes, (i + 1) * pieceBytes));
  return Readable.from(pieces, { objectMode: false });
}

/** Keeps what it gets; `isHeld` makes it take nothing until `release`. */
export class Sink extends Writable {
  readonly chunks: Buffer[] = [];
  #held: (() => void) | undefined;
  #isHeld: boolean;

  constructor(isHeld = false) {
    super();
    this.#isHeld = isHeld;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  release(): void {
    this.#isHeld = false;
    this.#held?.();
  }

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.chunks.push(chunk);
    if (this.#isHeld) this.#held = done;
    else done();
  }
}

async function listening(server: { listen(port: number, host: string): unknown; address(): unknown } & NodeJS.EventEmitter): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}
