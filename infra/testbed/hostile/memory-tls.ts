/**
 * TLS 1.3 between hosts in memory, in the place of node:tls, so that the channel's own code runs on it. What it keeps of TLS: each side has proved the key that the
 * other one pins, both get one exporter value that nobody else has, bytes arrive in order or not at all. It encrypts nothing; nobody listens in.
 */
import { type KeyObject, createHash, createHmac, createPublicKey, randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';
import { Duplex } from 'node:stream';
import tls, { type TLSSocket } from 'node:tls';
import type { NetworkAddress } from '../../../domain/ids.js';
import type { Life, Turns } from './turns.js';

interface Identity {
  readonly key: string;
}

/** Who answers on every port of a host that is in other hands. */
export type Intruder = (socket: TLSSocket) => void;

/** The network of one world; one at a time is the one that node:tls stands for. */
export class Network {
  readonly #doors = new Map<string, Door>();
  readonly #lives = new Map<string, Life>();
  readonly #intruders = new Map<string, { readonly identity: () => Identity | null; readonly meet: Intruder }>();
  readonly #sockets = new Set<MemorySocket>();
  #caller = '';
  #port = 1000;

  constructor(readonly turns: Turns) {}

  /** Whoever opens or asks for a connection until the next turn. */
  from(host: string, life: Life): void {
    this.#caller = host;
    this.#lives.set(host, life);
  }

  takeOver(host: string, identity: () => Identity | null, meet: Intruder): void {
    this.cutOff(host);
    this.#intruders.set(host, { identity, meet });
  }

  /** As the end of a worker's process. */
  cutOff(host: string): void {
    for (const [at, door] of this.#doors) if (door.owner === host) this.#doors.delete(at);
    for (const socket of this.#sockets) if (socket.owner === host) socket.destroy();
  }

  /** Of a host: where it still listens. */
  doorsOf(host: string): readonly string[] {
    return [...this.#doors].flatMap(([at, { owner }]) => (owner === host ? [at] : []));
  }

  connect({ host, port, key }: NetworkAddress & Identity): TLSSocket {
    const life = { isOver: false };
    const [mine, theirs] = pair(this, this.#caller, host, (this.#port += 1));
    void this.turns.take(`${this.#caller} reaches for ${host}`, life).then(() => {
      const door = this.#doors.get(`${host}:${port}`);
      const intruder = this.#intruders.get(host);
      const identity = intruder ? intruder.identity() : door && { key: door.options.key };
      if (!identity || mine.destroyed) return mine.destroy(Object.assign(new Error(`connect ECONNREFUSED ${host}:${port}`), { code: 'ECONNREFUSED' }));
      mine.isBetween(identity.key, theirs, key);
      mine.emit('secureConnect');
      if (intruder) intruder.meet(theirs as unknown as TLSSocket);
      else door?.meet(theirs);
    });
    return mine as unknown as TLSSocket;
  }

  door(options: Identity): Door {
    return new Door(this, this.#caller, options);
  }

  open(door: Door, { host, port }: NetworkAddress): number {
    const chosen = port === 0 ? (this.#port += 1) : port;
    this.#doors.set(`${host}:${chosen}`, door);
    return chosen;
  }

  shut(door: Door): void {
    for (const [at, open] of this.#doors) if (open === door) this.#doors.delete(at);
  }

  note(socket: MemorySocket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }
}

class Door extends EventEmitter {
  #address: NetworkAddress | null = null;

  constructor(
    private readonly network: Network,
    readonly owner: string,
    readonly options: Identity,
  ) {
    super();
  }

  listen({ host, port }: NetworkAddress, done: () => void): this {
    this.#address = { host, port: this.network.open(this, { host, port }) };
    process.nextTick(done);
    return this;
  }

  address(): NetworkAddress | null {
    return this.#address;
  }

  close(): this {
    this.network.shut(this);
    return this;
  }

  meet(socket: MemorySocket): void {
    this.emit('connection', socket);
    if (!socket.destroyed) this.emit('secureConnection', socket);
  }
}

class MemorySocket extends Duplex {
  readonly remoteAddress: string;
  readonly #life: Life = { isOver: false };
  #peer: MemorySocket | null = null;
  #peerKey: KeyObject | null = null;
  #secret: Buffer | null = null;

  constructor(
    private readonly network: Network,
    readonly owner: string,
    peer: string,
    readonly remotePort: number,
  ) {
    super({ allowHalfOpen: false });
    this.remoteAddress = peer;
    this.on('error', () => undefined);
    network.note(this);
  }

  isBetween(theirKey: string, peer: MemorySocket, ownKey: string): void {
    const secret = randomBytes(32);
    [this.#peer, this.#peerKey, this.#secret] = [peer, publicOf(theirKey), secret];
    [peer.#peer, peer.#peerKey, peer.#secret] = [this, publicOf(ownKey), secret];
  }

  setNoDelay(): this {
    return this;
  }

  isSessionReused(): boolean {
    return false;
  }

  getPeerX509Certificate(): { readonly publicKey: KeyObject } | undefined {
    return this.#peerKey ? { publicKey: this.#peerKey } : undefined;
  }

  exportKeyingMaterial(length: number, label: string, context: Buffer): Buffer {
    return createHmac('sha256', this.#secret ?? Buffer.alloc(0)).update(label).update(context).digest().subarray(0, length);
  }

  override _read(): void {
    // What arrives is pushed.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const bytes = Buffer.from(chunk);
    void this.network.turns.take(`bytes from ${this.owner} arrive at ${this.remoteAddress}`, this.#life).then(() => {
      if (this.#peer && !this.#peer.destroyed) this.#peer.push(bytes);
      done();
    });
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#peer && !this.#peer.destroyed) this.#peer.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#life.isOver = true;
    const peer = this.#peer;
    void this.network.turns.take(`the connection from ${this.owner} to ${this.remoteAddress} breaks`, { isOver: false }).then(() => {
      if (peer && !peer.destroyed) peer.destroy();
    });
    done(error);
  }
}

function pair(network: Network, from: string, to: string, port: number): [MemorySocket, MemorySocket] {
  return [new MemorySocket(network, from, to, port), new MemorySocket(network, to, from, port)];
}

const known = new Map<string, KeyObject>();

function publicOf(privateKey: string): KeyObject {
  const name = createHash('sha256').update(privateKey).digest('hex');
  const found = known.get(name) ?? createPublicKey(privateKey);
  known.set(name, found);
  return found;
}

let current: Network | null = null;

/** From now on node:tls is of this network, for the whole process. */
export function standInForTls(network: Network): void {
  if (!current) {
    Object.assign(tls, {
      connect: (options: NetworkAddress & Identity) => current?.connect(options),
      createServer: (options: Identity) => current?.door(options),
    });
    syncBuiltinESMExports();
  }
  current = network;
}
