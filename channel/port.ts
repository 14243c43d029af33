/**
 * The attested channel between two hosts: ephemeral mutual TLS 1.3 whose two keys were attested,
 * key confirmation with the session key that only the destination's TPM could unseal, then one
 * stream, its manifest, and the verdict. No hypervisor words here.
 *
 *   destination                          source
 *   listen ◄───────── TLS 1.3 ────────── connect        both pin SHA-256 of the peer's SPKI
 *   CONFIRM (HMAC of TLS exporter) ────►                the destination proves the session key first
 *          ◄──────────────────── CONFIRM                then the source does
 *          ◄──────────────────── DATA …                 SHA-256 runs over the payloads on both sides
 *          ◄──────────────────── MANIFEST
 *   GRANT … ───────────────────────────►                the sink took so much: more may come
 *   VERDICT ───────────────────────────►                a rejection may come before the manifest
 *   either side, any time: ABORT(reason), KEEPALIVE (of a source that has sent its manifest: WAITING)
 */
import type { Readable, Writable } from 'node:stream';
import type { MigrationId, NetworkAddress, Sha256Hex } from '../domain/ids.js';
import type { SecretKey } from '../domain/secret-key.js';
import type { Manifest, Verdict } from '../domain/manifest.js';

/** A P-256 key pair made for one session; the private key never leaves the process. */
export interface ChannelIdentity {
  /** SHA-256 of the DER SubjectPublicKeyInfo. */
  readonly spkiSha256: Sha256Hex;
  /** PEM. */
  readonly certificate: string;
  /** PEM. */
  readonly privateKey: string;
}

export interface ChannelTerms {
  readonly migrationId: MigrationId;
  readonly identity: ChannelIdentity;
  /** The attested key of the peer. */
  readonly peerSpkiSha256: Sha256Hex;
  /** Unsealed by the destination's TPM. A listener keeps a copy of its own. */
  readonly sessionKey: SecretKey;
  /** A peer that says nothing (not even KEEPALIVE) for this long is lost; also the limit of a handshake. Default 5000. */
  readonly silenceLimitMs?: number;
}

export interface StreamSummary {
  readonly bytes: number;
  readonly sha256: Sha256Hex;
}

export interface Channels {
  createIdentity(): Promise<ChannelIdentity>;
  /** Listens for the one attested source. Connections by others are closed and counted, and do not disturb. */
  listen(address: NetworkAddress, terms: ChannelTerms): Promise<ChannelListener>;
  /**
   * CHANNEL_UNREACHABLE, CHANNEL_PEER_UNKNOWN, CHANNEL_KEY_UNCONFIRMED; CHANNEL_LOST when the
   * destination hangs up before its proof (it may not know this source's key); ABORTED by the signal.
   */
  connect(address: NetworkAddress, terms: ChannelTerms, signal: AbortSignal): Promise<OutgoingChannel>;
}

export interface ChannelListener {
  readonly address: NetworkAddress;
  /** The failure code of each peer that was turned away, in order; the first thousand. */
  readonly refusedPeers: readonly string[];
  /** Resolves once the source is connected and both sides confirmed the session key. Rejects when closed. */
  accept(): Promise<IncomingChannel>;
  close(): Promise<void>;
}

export interface OutgoingChannel {
  /**
   * Sends `image` to its end. Rejects with CHANNEL_* as soon as the channel breaks, or with
   * DESTINATION_REJECTED when the verdict comes early, and destroys `image`; with the image's own
   * error when that fails (the channel then stays up for `abort`).
   */
  sendImage(image: Readable): Promise<StreamSummary>;
  /** CHANNEL_*, or DESTINATION_REJECTED when the verdict came early. */
  sendManifest(manifest: Manifest): Promise<void>;
  /** The destination's answer over the attested channel. Waits as long as the peer keeps the channel alive. */
  receiveVerdict(): Promise<Verdict>;
  /** Rejects (never resolves) when the channel breaks or the peer sends ABORT; for racing against. */
  readonly broken: Promise<never>;
  /** Bytes of image payload handed to TLS so far. */
  readonly sentBytes: number;
  /** Tells the peer why (best effort) and closes. No error the second time. */
  abort(reason: string): void;
  close(): Promise<void>;
}

export interface IncomingChannel {
  /**
   * Passes the image to `sink`, ends `sink`, waits until it took everything, and gives what arrived
   * with the manifest that followed it. Compares nothing: summary against manifest is the caller's.
   * Rejects with CHANNEL_* when the channel breaks (and destroys `sink`), with the sink's own error
   * when that fails: the channel then stays up, drops the rest of the image, and takes the rejection.
   */
  receiveImage(sink: Writable): Promise<{ readonly summary: StreamSummary; readonly manifest: Manifest }>;
  /** Resolves when it was handed to the network; whether it arrived only the source can say. */
  sendVerdict(verdict: Verdict): Promise<void>;
  readonly broken: Promise<never>;
  readonly receivedBytes: number;
  abort(reason: string): void;
  close(): Promise<void>;
}
