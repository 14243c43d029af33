/**
 * What a host worker knows of one running move. Keys live here, in memory, and nowhere else: a
 * worker that restarts answers SESSION_LOST and the move is compensated.
 *
 * Whoever owns Temporal calls any step at any time beside any other. So there is one session a migration, its steps take turns, and one that is
 * being closed lets no step in any more. Closing ends the copy, waits for it, and only then destroys the keys; what works beyond its turn has keys of its own.
 */
import type { HostEvidence } from '../domain/attestation.js';
import type { AppraisedPeer } from '../domain/appraisal.js';
import type { Envelope } from '../domain/envelope.js';
import { type KororaError, refuse } from '../domain/failures.js';
import type { Epoch, MigrationId, Role, Sha256Hex } from '../domain/ids.js';
import type { DestinationTimings } from '../domain/evidence.js';
import type { Approval, LimitsChange, Order } from '../domain/order.js';
import type { SecretKey } from '../domain/secret-key.js';
import type { ChannelIdentity, ChannelListener } from '../channel/port.js';
import type { IncomingImage } from '../hypervisor/port.js';
import type { WrappingKeyHandle } from '../tpm/port.js';
import type { OutgoingMove } from './outgoing-move.js';
import type { Verification } from './verify.js';

/** Made by the source, opened by the destination's TPM. */
export interface MoveSecrets {
  /** Proves on the channel that the TPM opened the wrapping. */
  readonly sessionKey: SecretKey;
  /** Of the vTPM's state inside the stream. */
  readonly vtpmMigrationKey: SecretKey;
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
  /** Whether the source has connected. */
  isConnected: boolean;
  /** The one receiving of the image, which a repeated verifyImage joins. */
  verification: Promise<Verification> | null;
}

export interface Session {
  readonly order: Order;
  /** Of the order. */
  readonly signed: Envelope;
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

/** Which session a step is for: SESSION_LOST where the order or the role is not the one that it was opened for. */
export interface SessionKey {
  readonly migrationId: MigrationId;
  readonly orderDigest: Sha256Hex;
  readonly role: Role;
}

/** How long a move may take from its first step to the connection of its hosts. An order whose time ends meanwhile is good until then, not for longer. */
export const SESSION_LIFETIME_MS = 600_000;

export interface Sessions {
  /** For looking: what is found may be closed at any time. */
  find(migrationId: MigrationId): Session | undefined;
  /** Whether a session of this order is open in which the move goes on. */
  isUnderWay(key: SessionKey): boolean;
  /** Makes the one session of a migration; the one that is there where two make it at once. SESSION_LOST. */
  open(key: SessionKey, make: () => Promise<Session>): Promise<Session>;
  /** One step at a time. SESSION_LOST where there is none, or it is being closed. */
  inTurn<T>(key: SessionKey, step: (session: Session) => Promise<T>): Promise<T>;
  /** As inTurn, for what names a migration alone; null where there is no session of it. */
  inTurnOf<T>(migrationId: MigrationId, step: (session: Session) => Promise<T>): Promise<T | null>;
  /** Lets no step in any more, ends and awaits those that work beyond their turn, then destroys the keys. No effect where there is no session. */
  close(migrationId: MigrationId, why: KororaError): Promise<void>;
}

interface Place {
  readonly key: SessionKey;
  readonly opening: Promise<Session>;
  session: Session | null;
  last: Promise<unknown>;
  closing: Promise<void> | null;
  expiry: NodeJS.Timeout | null;
  /** Whether the next expiry is its end, whatever it does. */
  isLast: boolean;
}

export function createSessions(hostId: string, lifetimeMs = SESSION_LIFETIME_MS): Sessions {
  const places = new Map<MigrationId, Place>();
  const lost = () => refuse('SESSION_LOST', { host: hostId });

  function placeOf({ migrationId, orderDigest, role }: SessionKey): Place {
    const place = places.get(migrationId);
    if (!place || place.closing || place.key.role !== role || place.key.orderDigest !== orderDigest) throw lost();
    return place;
  }

  function turn<T>(place: Place, step: (session: Session) => Promise<T>): Promise<T> {
    const next = place.last.then(async () => {
      const session = await place.opening;
      if (place.closing) throw lost();
      return step(session);
    });
    place.last = next.catch(() => undefined);
    return next;
  }

  async function closeNow(place: Place, why: KororaError): Promise<void> {
    if (place.expiry) clearTimeout(place.expiry);
    const session = await place.opening.catch(() => null);
    if (session) {
      // A step that waits for one of these ends with it; only then is the last turn over.
      session.outgoing?.abort(why);
      session.incoming?.giveUp.abort(why);
      await place.last;
      session.outgoing?.abort(why);
      session.incoming?.giveUp.abort(why);
      await session.outgoing?.ended;
      await session.incoming?.verification?.catch(() => undefined);
      await session.incoming?.listener.close();
      const gathered = await session.gathering?.catch(() => null);
      for (const secrets of [session.secrets, gathered]) {
        secrets?.sessionKey.destroy();
        secrets?.vtpmMigrationKey.destroy();
      }
      await (await session.wrappingKey?.catch(() => null))?.forget();
    }
    leave(place);
  }

  /** Its place may be another session's by now. */
  function leave(place: Place): void {
    if (places.get(place.key.migrationId) === place) places.delete(place.key.migrationId);
  }

  function closePlace(place: Place, why: KororaError): Promise<void> {
    return (place.closing ??= closeNow(place, why));
  }

  function close(migrationId: MigrationId, why: KororaError): Promise<void> {
    const place = places.get(migrationId);
    return place ? closePlace(place, why) : Promise.resolve();
  }

  /** Where its hosts have met it lasts as long as the copy does, and once more that long for what comes after, if nobody closes it. */
  function expire(place: Place): void {
    const { session } = place;
    const isCopying = !place.isLast && (session?.outgoing?.isConnected || session?.incoming?.isConnected);
    if (!isCopying) return void closePlace(place, lost()).catch(() => undefined);
    place.isLast = true;
    void Promise.allSettled([session.outgoing?.ended, session.incoming?.verification]).then(() => arm(place));
  }

  function arm(place: Place): void {
    if (!place.closing) place.expiry = setTimeout(() => expire(place), lifetimeMs).unref();
  }

  return {
    find: (migrationId) => places.get(migrationId)?.session ?? undefined,
    isUnderWay({ migrationId, orderDigest }) {
      const place = places.get(migrationId);
      return place !== undefined && !place.closing && place.key.orderDigest === orderDigest;
    },
    async open(key, make) {
      const known = places.get(key.migrationId);
      if (known) return placeOf(key).opening;
      const place: Place = { key, opening: make(), session: null, last: Promise.resolve(), closing: null, expiry: null, isLast: false };
      places.set(key.migrationId, place);
      try {
        place.session = await place.opening;
      } catch (error) {
        leave(place);
        throw error;
      }
      arm(place);
      return place.session;
    },
    inTurn: async (key, step) => turn(placeOf(key), step),
    async inTurnOf(migrationId, step) {
      const place = places.get(migrationId);
      return place && !place.closing ? turn(place, step) : null;
    },
    close,
  };
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
