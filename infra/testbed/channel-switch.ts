/**
 * A network between two hosts that can fail: passes the channel's TCP bytes on until it is told to cut both ends
 * (as a host that loses power behind a switch that says so), to swallow what is sent (as a cable that is pulled:
 * the connections stay, and nobody is told), or to hold it back for a while.
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
  /** Holds back what goes in either direction until `mend`, and loses nothing. */
  delay(): void;
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
  let isDelayed = false;

  const pass = (direction: Direction, from: Socket, to: Socket) => {
    from.on('data', (piece: Buffer) => {
      beforePassing(direction, piece, self);
      if (isCut || swallowed.has(direction)) return;
      if (!to.write(piece)) from.pause();
    });
    to.on('drain', () => void (isDelayed || from.resume()));
    from.on('error', () => undefined);
    // A pulled cable tells nobody that an end is gone.
    from.on('end', () => void (swallowed.has(direction) || to.end()));
    from.on('close', () => {
      sockets.delete(from);
      if (!swallowed.has(direction)) to.destroy();
    });
    sockets.add(from);
    if (isDelayed) from.pause();
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
    delay() {
      isDelayed = true;
      for (const socket of sockets) socket.pause();
    },
    mend() {
      isCut = false;
      isDelayed = false;
      swallowed.clear();
      for (const socket of sockets) socket.resume();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  return self;
}
