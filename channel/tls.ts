/**
 * The one TLS configuration of the channel: 1.3 only, no resumption, both sides present a
 * certificate, no chain is checked. Trust comes from the pin that listener.ts and connect.ts
 * apply before any application byte, so `rejectUnauthorized: false` here leaves nothing open.
 */
import { constants } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { ChannelTerms } from './port.js';
import { peerSpkiSha256 } from './identity.js';

export const DEFAULT_SILENCE_LIMIT_MS = 5000;

export function tlsOptions(terms: ChannelTerms) {
  return {
    key: terms.identity.privateKey,
    cert: terms.identity.certificate,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    // With AES-NI the fastest suite of RFC 8446 Appendix B.4.
    ciphers: 'TLS_AES_128_GCM_SHA256',
    sigalgs: 'ecdsa_secp256r1_sha256',
    requestCert: true,
    rejectUnauthorized: false,
    secureOptions: constants.SSL_OP_NO_TICKET,
    noDelay: true,
  } as const;
}

/** True when the handshake was a full one and the peer holds the private key that its host attested. */
export function isAttestedPeer(socket: TLSSocket, terms: ChannelTerms): boolean {
  return !socket.isSessionReused() && peerSpkiSha256(socket) === terms.peerSpkiSha256;
}
