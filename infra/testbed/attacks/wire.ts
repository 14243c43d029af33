/**
 * The attacker's place on the network: every connection to a host's channel comes here first. It is passed on as it is, unless
 * an attacker was set on the next one: he then has both ends, and decides what either hears.
 */
import { type Socket, connect, createServer } from 'node:net';
import type { NetworkAddress } from '../../../domain/ids.js';
import { listenOn } from '../ports.js';

/** Has the source's connection, and may reach the host that the source meant. Resolves when both are over. */
export type WireAttacker = (source: Socket, target: NetworkAddress) => Promise<void>;

export interface Wire {
  /** Where peers connect to. */
  readonly address: NetworkAddress;
  /** The channel's own address, behind it. */
  readonly target: NetworkAddress;
  /** Of the next connection only; resolves when the attacker is done with it. */
  attackNext(attacker: WireAttacker): Promise<void>;
  close(): Promise<void>;
}

export async function openWire(target: NetworkAddress): Promise<Wire> {
  const sockets = new Set<Socket>();
  let waiting: { readonly attacker: WireAttacker; readonly over: (error?: unknown) => void } | null = null;
  const server = createServer((source) => {
    sockets.add(source);
    source.on('close', () => sockets.delete(source)).on('error', () => undefined);
    const { attacker, over } = waiting ?? { attacker: passOn, over: () => undefined };
    waiting = null;
    attacker(source, target).then(() => over(), over);
  });
  return {
    address: { host: '127.0.0.1', port: await listenOn(server) },
    target,
    attackNext: (attacker) =>
      new Promise((resolve, reject) => {
        waiting = { attacker, over: (error) => (error === undefined ? resolve() : reject(error as Error)) };
      }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

export type Direction = 'to destination' | 'to source';

/** What becomes of a piece on its way; as it is where it gives back the same. */
export type Change = (direction: Direction, piece: Buffer) => Buffer;

/** Passes bytes on in both directions, each piece as `change` gives it back. */
export function passing(change: Change): WireAttacker {
  return async (source, target) => {
    const destination = connect(target.port, target.host);
    await Promise.all([pass('to destination', source, destination, change), pass('to source', destination, source, change)]);
  };
}

const passOn = passing((_, piece) => piece);

function pass(direction: Direction, from: Socket, to: Socket, change: Change): Promise<void> {
  from.on('data', (piece: Buffer) => {
    if (!to.write(change(direction, piece))) from.pause();
  });
  to.on('drain', () => from.resume());
  from.on('error', () => undefined);
  from.on('end', () => to.end());
  return new Promise((resolve) => {
    from.on('close', () => {
      to.destroy();
      resolve();
    });
  });
}

/** All bytes of a connection. */
export type Recording = Readonly<Record<Direction, Buffer>>;

/** Passes on as it is, and keeps what passed. */
export function recording(): { readonly attacker: WireAttacker; readonly recorded: () => Recording } {
  const pieces: Record<Direction, Buffer[]> = { 'to destination': [], 'to source': [] };
  const attacker = passing((direction, piece) => {
    pieces[direction].push(piece);
    return piece;
  });
  return { attacker, recorded: () => ({ 'to destination': Buffer.concat(pieces['to destination']), 'to source': Buffer.concat(pieces['to source']) }) };
}
