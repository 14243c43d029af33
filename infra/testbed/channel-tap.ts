/**
 * An attacker on the wire: passes the channel's TCP bytes on and flips one bit of what the source
 * sends, the first time that `isTime` says so.
 */
import { connect, createServer } from 'node:net';
import type { NetworkAddress } from '../../domain/ids.js';
import { listenOn } from './ports.js';

export interface ChannelTap {
  readonly address: NetworkAddress;
  /** Bits flipped so far: 0 or 1. */
  readonly flips: number;
  close(): Promise<void>;
}

/** Listens on a free port of `host`. */
export async function tapChannel(target: NetworkAddress, isTime: (passedBytes: number) => boolean, host = '127.0.0.1'): Promise<ChannelTap> {
  let flips = 0;
  let passedBytes = 0;
  const server = createServer((source) => {
    const destination = connect(target.port, target.host);
    for (const [from, to] of [[source, destination], [destination, source]] as const) {
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
    }
    destination.pipe(source);
    source.on('data', (chunk) => {
      passedBytes += chunk.length;
      if (flips === 0 && isTime(passedBytes)) {
        const at = chunk.length >> 1;
        chunk.writeUInt8(chunk.readUInt8(at) ^ 1, at);
        flips += 1;
      }
      if (!destination.write(chunk)) source.pause();
    });
    destination.on('drain', () => source.resume());
    source.on('end', () => destination.end());
  });
  const port = await listenOn(server, host);
  return {
    address: { host, port },
    get flips() {
      return flips;
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
