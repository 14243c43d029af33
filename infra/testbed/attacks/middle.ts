/** A man in the middle with TLS of his own, while the evidence of both hosts, over another way, is genuine. */
import { type TLSSocket, TLSSocket as TlsOver, connect as connectTls, createSecureContext } from 'node:tls';
import { createIdentity } from '../../../channel/identity.js';
import type { ChannelIdentity } from '../../../channel/port.js';
import { answered } from '../until.js';
import type { Arena } from './arena.js';
import type { Trial } from './flip-trials.js';
import type { WireAttacker } from './wire.js';

export interface Heard {
  /** Bytes inside the TLS connection with the source, and inside the one with the destination. */
  fromSource: number;
  fromDestination: number;
}

/** The key that he shows to either side. */
export interface Masks {
  readonly toSource: ChannelIdentity;
  readonly toDestination: ChannelIdentity;
}

export async function manInTheMiddle({ attacked, move, wires }: Arena): Promise<readonly Trial[]> {
  const heard: Heard = { fromSource: 0, fromDestination: 0 };
  const trial = await attacked('genuine evidence, his own certificates on both sides', 'host-b', ['CHANNEL_PEER_UNKNOWN'], async () => {
    const own = await createIdentity();
    const attacking = wires['host-b'].attackNext(middle({ toSource: own, toDestination: own }, heard));
    const codes = await move('host-b');
    await answered('both sides to hang up on him', attacking, { tell: () => JSON.stringify(heard) });
    return codes;
  });
  const isDeaf = heard.fromSource === 0 && heard.fromDestination === 0;
  return [{ ...trial, problems: [...trial.problems, ...(isDeaf ? [] : [`he heard ${heard.fromSource} bytes of the source and ${heard.fromDestination} of the destination`])] }];
}

/** Meets the destination first, so that both sides have to refuse him by themselves. */
export function middle({ toSource: asDestination, toDestination: asSource }: Masks, heard: Heard): WireAttacker {
  return async (source, target) => {
    const toDestination = connectTls({ ...target, ...termsOf(asSource), rejectUnauthorized: false, servername: '' });
    toDestination.on('data', (bytes: Buffer) => (heard.fromDestination += bytes.length));
    const destinationIsGone = gone(toDestination);
    await Promise.race([destinationIsGone, new Promise((resolve) => toDestination.once('secureConnect', resolve))]);
    const toSource = new TlsOver(source, { isServer: true, secureContext: createSecureContext(termsOf(asDestination)), requestCert: true, rejectUnauthorized: false });
    toSource.on('data', (bytes: Buffer) => (heard.fromSource += bytes.length));
    toDestination.on('data', (bytes: Buffer) => void toSource.write(bytes));
    toSource.on('data', (bytes: Buffer) => void toDestination.write(bytes));
    await Promise.all([gone(toSource), destinationIsGone]);
  };
}

function termsOf({ privateKey, certificate }: ChannelIdentity) {
  return { key: privateKey, cert: certificate, minVersion: 'TLSv1.3' } as const;
}

function gone(socket: TLSSocket): Promise<void> {
  socket.on('error', () => undefined);
  return new Promise((resolve) => socket.once('close', () => resolve()));
}
