/**
 * The source's end of the channel in the hands of one who has the attested keys and the session key, as if TLS protected nothing:
 * changes frames after the channel has digested them and before they are encrypted. What then refuses is the transcript's digest,
 * the frames and the manifest, not TLS.
 */
import { connect as connectTls } from 'node:tls';
import { once } from 'node:events';
import type { NetworkAddress } from '../../../domain/ids.js';
import { Outgoing } from '../../../channel/outgoing.js';
import type { ChannelTerms, OutgoingChannel } from '../../../channel/port.js';
import { tlsOptions } from '../../../channel/tls.js';

/** `change`: of each frame that the source writes; it writes whole ones. CHANNEL_*. */
export async function connectInside(address: NetworkAddress, terms: ChannelTerms, change: (frame: Buffer) => Buffer): Promise<OutgoingChannel> {
  const socket = connectTls({ ...address, ...tlsOptions(terms), servername: '' });
  socket.on('error', () => undefined);
  socket.setNoDelay(true);
  await once(socket, 'secureConnect');
  const write = socket.write.bind(socket) as (bytes: Buffer, done?: (error?: Error | null) => void) => boolean;
  socket.write = ((frame: Buffer, done?: (error?: Error | null) => void) => write(change(frame), done)) as typeof socket.write;
  const channel = new Outgoing(socket, terms);
  await channel.confirmed;
  return channel;
}
