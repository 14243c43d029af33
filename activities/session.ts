/**
 * What a host worker knows of one running move. Keys live here, in memory, and nowhere else: a
 * worker that restarts answers SESSION_LOST and the move is compensated.
 */
import type { HostEvidence } from '../domain/attestation.js';
import type { AppraisedPeer } from '../domain/appraisal.js';
import { refuse } from '../domain/failures.js';
import type { Epoch, MigrationId, Role, Sha256Hex } from '../domain/ids.js';
import type { DestinationTimings } from '../domain/evidence.js';
import type { Approval, LimitsChange, Order } from '../domain/order.js';
import type { ChannelIdentity, ChannelListener } from '../channel/port.js';
import type { IncomingImage } from '../hypervisor/port.js';
import type { WrappingKeyHandle } from '../tpm/port.js';
import type { OutgoingMove } from './outgoing-move.js';
import type { Verification } from './verify.js';

/** Made by the source, opened by the destination's TPM. */
export interface MoveSecrets {
  /** 32 bytes; proves on the channel that the TPM opened the wrapping. */
  readonly sessionKey: Buffer;
  /** 32 bytes; the key of the vTPM's state inside the stream. */
  readonly vtpmMigrationKey: Buffer;
  /** The epoch that the destination will own. */
  readonly epoch: Epoch;
  readonly vtpmIdentity: Sha256Hex;
  /** Of what the source sees of each disk; only whoever has the session key could have said it. */
  readonly disks: readonly Sha256Hex[];
  /** As in the manifest. */
  readonly previousVerdict: Sha256Hex | null;
}

/** The destination's waiting copy. */
export interface IncomingMove {
  readonly image: IncomingImage;
  readonly listener: ChannelListener;
  /** Ends the receiving; its reason is the KororaError that says why. */
  readonly giveUp: AbortController;
  /** The one receiving of the image, which a repeated verifyImage joins. */
  verification: Promise<Verification> | null;
}

export interface Session {
  readonly order: Order;
  readonly orderDigest: Sha256Hex;
  readonly role: Role;
  readonly identity: ChannelIdentity;
  readonly nonce: { readonly value: string; readonly issuedAtMs: number };
  /** The destination's, which its TPM makes while the offers travel; null on the source. */
  wrappingKey: Promise<WrappingKeyHandle> | null;
  /** The evidence that used up the nonce, and what came of it. */
  appraised: { readonly evidence: HostEvidence; readonly peer: AppraisedPeer } | null;
  isNonceUsed: boolean;
  secrets: MoveSecrets | null;
  /** Secrets on their way out of the source's TPM; not wrapped, nor used, before the peer is appraised. */
  gathering: Promise<MoveSecrets> | null;
  incoming: IncomingMove | null;
  /** When the image was accepted; null before, and on the source. */
  acceptedAt: DestinationTimings | null;
  outgoing: OutgoingMove | null;
  /** Whether the copy is to be held, also where it has yet to open. */
  isHeld: boolean;
  /** Of the order that asks for one; null while it was not given, and where none is asked for. */
  approval: Approval | null;
  /** Other limits that operators signed and this source went by, oldest first. */
  limitsChanges: readonly LimitsChange[];
}

export interface Sessions {
  find(migrationId: MigrationId): Session | undefined;
  add(session: Session): void;
  remove(migrationId: MigrationId): void;
}

export function createSessions(): Sessions {
  const open = new Map<MigrationId, Session>();
  return {
    find: (migrationId) => open.get(migrationId),
    add: (session) => void open.set(session.order.migrationId, session),
    remove: (migrationId) => void open.delete(migrationId),
  };
}

/** SESSION_LOST; also where the order or the role is not the one that the session was opened for. */
export function sessionOf(sessions: Sessions, order: Order, role: Role, orderDigest: Sha256Hex, host: string): Session {
  const session = sessions.find(order.migrationId);
  if (!session || session.role !== role || session.orderDigest !== orderDigest) throw refuse('SESSION_LOST', { host });
  return session;
}

/** The peer as appraised. NOT_ATTESTED: every step that trusts the peer asks here (promise P1). */
export function appraisedPeer(session: Session, host: string, what: string): AppraisedPeer {
  if (!session.appraised) throw refuse('NOT_ATTESTED', { host, what });
  return session.appraised.peer;
}

export function secretsOf(session: Session, host: string, what: string): MoveSecrets {
  if (!session.secrets) throw refuse('NOT_ATTESTED', { host, what });
  return session.secrets;
}

/** Whether nobody has yet said that the source may be stopped. */
export function awaitsApproval({ order, approval }: Session): boolean {
  return order.requiresApproval && approval === null;
}
