/**
 * The source's way in: TCP, TLS, the pin, the confirmation of the session key. Resolves only when
 * the destination proved both keys; until then no byte of ours but the handshake was sent.
 */
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { problemOf, refuse, type KororaError } from '../domain/failures.js';
import type { NetworkAddress } from '../domain/ids.js';
import type { ChannelTerms, OutgoingChannel } from './port.js';
import { Outgoing } from './outgoing.js';
import { DEFAULT_SILENCE_LIMIT_MS, isAttestedPeer, tlsOptions } from './tls.js';

/**
 * CHANNEL_UNREACHABLE, CHANNEL_PEER_UNKNOWN, CHANNEL_KEY_UNCONFIRMED; CHANNEL_LOST when the
 * destination hangs up in between (it may not know this source's key); ABORTED by the signal.
 */
export async function connect(address: NetworkAddress, terms: ChannelTerms, signal: AbortSignal): Promise<OutgoingChannel> {
  const limitMs = terms.silenceLimitMs ?? DEFAULT_SILENCE_LIMIT_MS;
  const socket = connectTls({ ...address, ...tlsOptions(terms), servername: '' });
  socket.on('error', () => undefined);
  socket.setNoDelay(true); // tls.connect() does not pass on `noDelay`: the manifest would wait 40 ms for the peer's delayed acknowledgement
  const limit = setTimeout(() => socket.destroy(new Error(`no answer within ${limitMs} ms`)), limitMs);
  const onAbort = () => socket.destroy(aborted(signal));
  signal.addEventListener('abort', onAbort);
  try {
    if (signal.aborted) throw aborted(signal);
    await secured(socket, address);
    if (!isAttestedPeer(socket, terms)) throw refuse('CHANNEL_PEER_UNKNOWN', {});
    const channel = new Outgoing(socket, terms);
    await channel.confirmed;
    return channel;
  } catch (error) {
    if (!isConversing(socket)) socket.destroy();
    throw signal.aborted ? aborted(signal) : error;
  } finally {
    clearTimeout(limit);
    signal.removeEventListener('abort', onAbort);
  }
}

function secured(socket: TLSSocket, { host, port }: NetworkAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', () => resolve());
    socket.once('error', (error: NodeJS.ErrnoException) =>
      // OpenSSL's complaints mean that somebody answered who does not speak this channel.
      reject(error.code?.startsWith('ERR_SSL') ? refuse('CHANNEL_PEER_UNKNOWN', {}, error) : unreachable(problemOf(error))),
    );
    socket.once('close', () => reject(unreachable('the connection closed')));
  });

  function unreachable(problem: string): KororaError {
    return refuse('CHANNEL_UNREACHABLE', { address: `${host}:${port}`, problem });
  }
}

/** True while a last word to the peer (ABORT) is on its way. */
function isConversing(socket: TLSSocket): boolean {
  return socket.writableEnded && !socket.destroyed;
}

function aborted(signal: AbortSignal): KororaError {
  return refuse('ABORTED', { reason: problemOf(signal.reason) });
}
