/**
 * Key confirmation: each side proves that it holds the session key, bound to this very TLS
 * connection. A middle man who terminates TLS has two connections with two different exporter
 * values, so a proof that it passes on is wrong on the other side, whatever keys it holds.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Role } from '../domain/ids.js';
import type { ChannelTerms } from './port.js';

const LABEL = 'korora/1 channel confirmation';
/** TLS exporter (RFC 8446 §7.5, RFC 5705), label in the private form "EXPORTER-". */
const EXPORTER_LABEL = 'EXPORTER-korora-channel';
const EXPORTER_BYTES = 32;

/** HMAC-SHA256(session key, label ‖ 0 ‖ role ‖ 0 ‖ migration id ‖ 0 ‖ exporter value): the proof that `role` sends. */
export function confirmationOf(role: Role, socket: TLSSocket, terms: ChannelTerms): Buffer {
  const exported = socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.from(terms.migrationId));
  return terms.sessionKey.use((key) => createHmac('sha256', key).update(`${LABEL}\0${role}\0${terms.migrationId}\0`).update(exported).digest());
}

export function isSameConfirmation(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
