/**
 * A network between two hosts that can fail: passes the channel's TCP bytes on until it is told to cut both ends
 * (as a host that loses power behind a switch that says so) or to swallow what is sent (as a cable that is pulled:
 * the connections stay, and nobody is told).
 */
import { type Socket, connect, createServer } from 'node:net';
import type { NetworkAddress } from '../../domain/ids.js';
import { listenOn } from './ports.js';

export type Direction = 'to destination' | 'to source';

export interface ChannelSwitch {
  readonly address: NetworkAddress;
  /** Resets every connection, and refuses new ones until `mend`. */
  cut(): void;
  /** Swallows what goes in these directions until `mend`; what was swallowed is lost. */
  swallow(...directions: readonly Direction[]): void;
  mend(): void;
  close(): Promise<void>;
}

/** `beforePassing` sees each piece before it is passed on, and may use the switch: then this piece is treated accordingly. */
export async function openChannelSwitch(
  target: NetworkAddress,
  beforePassing: (direction: Direction, piece: Buffer, self: ChannelSwitch) => void = () => undefined,
): Promise<ChannelSwitch> {
  const sockets = new Set<Socket>();
  const swallowed = new Set<Direction>();
  let isCut = false;

  const pass = (direction: Direction, from: Socket, to: Socket) => {
    from.on('data', (piece: Buffer) => {
      beforePassing(direction, piece, self);
      if (isCut || swallowed.has(direction)) return;
      if (!to.write(piece)) from.pause();
    });
    to.on('drain', () => from.resume());
    from.on('error', () => undefined);
    // A pulled cable tells nobody that an end is gone.
    from.on('end', () => void (swallowed.has(direction) || to.end()));
    from.on('close', () => {
      sockets.delete(from);
      if (!swallowed.has(direction)) to.destroy();
    });
    sockets.add(from);
  };

  const server = createServer((source) => {
    if (isCut) return void source.resetAndDestroy();
    const destination = connect(target.port, target.host);
    pass('to destination', source, destination);
    pass('to source', destination, source);
  });
  const self: ChannelSwitch = {
    address: { host: '127.0.0.1', port: await listenOn(server) },
    cut() {
      isCut = true;
      for (const socket of sockets) socket.resetAndDestroy();
    },
    swallow: (...directions) => directions.forEach((d) => swallowed.add(d)),
    mend() {
      isCut = false;
      swallowed.clear();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  return self;
}
