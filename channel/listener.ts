/**
 * The destination's door: takes connections until the one attested source has proved itself, then
 * stops listening. Whoever else knocks is turned away and counted, and delays nobody: handshakes
 * run side by side, each within a time limit, and when too many are open the oldest goes.
 *
 *   connection ─► TLS ─► pin ─► confirmation ─► accepted (the door closes)
 *        └──────────┴──────┴──────────┴───────► refused, counted; the door stays open
 */
import { createServer, type TLSSocket } from 'node:tls';
import type { Server as NetServer, Socket } from 'node:net';
import { KororaError, problemOf, refuse, type FailureCode } from '../domain/failures.js';
import type { NetworkAddress } from '../domain/ids.js';
import type { ChannelListener, ChannelTerms, IncomingChannel } from './port.js';
import { Incoming } from './incoming.js';
import { lost } from './link.js';
import { DEFAULT_SILENCE_LIMIT_MS, isAttestedPeer, tlsOptions } from './tls.js';

interface Candidate {
  readonly socket: Socket;
  readonly timer: NodeJS.Timeout;
  /** What it counts as if it goes away now. */
  shortfall: FailureCode;
}

const HANDSHAKES_AT_ONCE = 32;
/** A scanner must not fill the memory either. */
const REFUSALS_KEPT = 1000;

/** Port 0 takes a free one. CHANNEL_UNREACHABLE when the address cannot be listened on. */
export async function listen(address: NetworkAddress, terms: ChannelTerms): Promise<ChannelListener> {
  const door = new Door(terms);
  const bound = await door.open(address).catch(async (error: unknown) => {
    await door.close();
    throw error;
  });
  return { address: bound, refusedPeers: door.refusedPeers, accept: () => door.accepted, close: () => door.close() };
}

class Door {
  readonly accepted: Promise<IncomingChannel>;
  readonly refusedPeers: FailureCode[] = [];
  readonly #terms: ChannelTerms;
  readonly #server;
  /** Connections that are not accepted yet, oldest first, by the peer's address and port. */
  readonly #candidates = new Map<string, Candidate>();
  #resolveAccepted!: (channel: IncomingChannel) => void;
  #rejectAccepted!: (failure: KororaError) => void;
  #isTaken = false;

  constructor(terms: ChannelTerms) {
    this.#terms = { ...terms, sessionKey: terms.sessionKey.copy() };
    this.accepted = new Promise((resolve, reject) => {
      this.#resolveAccepted = resolve;
      this.#rejectAccepted = reject;
    });
    this.accepted.catch(() => undefined);
    this.#server = createServer(tlsOptions(terms));
    (this.#server as NetServer).on('connection', (socket) => this.#admit(socket));
    this.#server.on('secureConnection', (socket) => this.#examine(socket));
  }

  async open({ host, port }: NetworkAddress): Promise<NetworkAddress> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) => reject(refuse('CHANNEL_UNREACHABLE', { address: `${host}:${port}`, problem: problemOf(error) }, error)));
      this.#server.listen({ host, port }, resolve);
    });
    this.#server.on('error', () => undefined);
    const bound = this.#server.address();
    return { host, port: typeof bound === 'object' && bound ? bound.port : port };
  }

  async close(): Promise<void> {
    this.#rejectAccepted(lost('the listener was closed'));
    this.#server.close();
    for (const key of [...this.#candidates.keys()]) this.#dismiss(key);
    this.#terms.sessionKey.destroy();
  }

  #admit(socket: Socket): void {
    const key = keyOf(socket);
    const timer = setTimeout(() => this.#dismiss(key), this.#terms.silenceLimitMs ?? DEFAULT_SILENCE_LIMIT_MS);
    this.#candidates.set(key, { socket, timer, shortfall: 'CHANNEL_PEER_UNKNOWN' });
    socket.once('close', () => this.#refuse(key));
    const [oldest] = this.#candidates.keys();
    if (oldest !== undefined && this.#candidates.size > HANDSHAKES_AT_ONCE) this.#dismiss(oldest);
  }

  #examine(socket: TLSSocket): void {
    const key = keyOf(socket);
    const candidate = this.#candidates.get(key);
    if (!candidate || !isAttestedPeer(socket, this.#terms)) {
      this.#refuse(key);
      socket.destroy();
      return;
    }
    candidate.shortfall = 'CHANNEL_KEY_UNCONFIRMED';
    const channel: Incoming = new Incoming(socket, this.#terms, () => this.#take(key, channel));
    channel.confirmed.catch((error: unknown) => this.#refuse(key, error));
  }

  /** The peer behind `key` proved everything. Only one ever does: the others are sent away. */
  #take(key: string, channel: Incoming): void {
    if (this.#isTaken) throw lost('this move has its source already');
    this.#isTaken = true;
    this.#resolveAccepted(channel);
    this.#release(key);
    void this.close();
  }

  #dismiss(key: string): void {
    const socket = this.#candidates.get(key)?.socket;
    this.#refuse(key);
    socket?.destroy();
  }

  #refuse(key: string, error?: unknown): void {
    const candidate = this.#release(key);
    if (!candidate || this.refusedPeers.length >= REFUSALS_KEPT) return;
    const isFrameInvalid = error instanceof KororaError && error.code === 'CHANNEL_FRAME_INVALID';
    this.refusedPeers.push(isFrameInvalid ? 'CHANNEL_FRAME_INVALID' : candidate.shortfall);
  }

  #release(key: string): Candidate | undefined {
    const candidate = this.#candidates.get(key);
    clearTimeout(candidate?.timer);
    this.#candidates.delete(key);
    return candidate;
  }
}

function keyOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}
