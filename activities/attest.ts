/**
 * Phase attest (RFC 9334: each host is Attester and Verifier). Each side issues a nonce and makes
 * an ephemeral TLS key; quotes its PCRs over the binding of both; appraises the other.
 */
import { randomBytes } from 'node:crypto';
import { matchingSet } from '../domain/appraisal.js';
import { type Binding, HostEvidence, SessionOffer, type WrappingKeyEvidence } from '../domain/attestation.js';
import { digestOf } from '../domain/canonical.js';
import { parseDocument } from '../domain/documents.js';
import { KororaError, refuse } from '../domain/failures.js';
import type { Role, Sha256Hex } from '../domain/ids.js';
import type { Envelope } from '../domain/envelope.js';
import { type HostClass, type TrustBundle, classOf, hostIn } from '../domain/trust-bundle.js';
import { admit } from './admission.js';
import { shownEventLog } from './event-log.js';
import type { WrappingKeyHandle } from '../tpm/port.js';
import type { HostServices } from './services.js';
import { type Session, sessionOf } from './session.js';
import type { MoveKey } from './settle.js';

export interface RoleRequest {
  readonly order: Envelope;
  readonly role: Role;
}

export function createAttestation(services: HostServices, { gatherAhead }: { readonly gatherAhead: (session: Session) => void }) {
  const { hostId, tpm, channels, sessions } = services;

  /** Idempotent: the same offer while the session lives. */
  async function openSession({ order: value, role }: RoleRequest): Promise<SessionOffer> {
    const { order, orderDigest, installed } = await admit(services, value, role);
    const known = sessions.find(order.migrationId);
    if (known) return offerOf(sessionOf(sessions, order, role, orderDigest, hostId));
    const identity = await channels.createIdentity();
    const session: Session = {
      order,
      orderDigest,
      role,
      identity,
      nonce: { value: randomBytes(32).toString('hex'), issuedAtMs: Date.now() },
      wrappingKey: null,
      appraised: null,
      isNonceUsed: false,
      secrets: null,
      gathering: null,
      incoming: null,
      acceptedAt: null,
      outgoing: null,
      isHeld: order.requiresApproval,
      approval: null,
      limitsChanges: [],
    };
    sessions.add(session);
    if (role === 'source') gatherAhead(session);
    else wrappingKeyOf(session, installed.bundle).catch(() => undefined); // told by quoteHost
    return offerOf(session);
  }

  async function quoteHost({ order: value, role, peer: offer }: RoleRequest & { readonly peer: SessionOffer }): Promise<HostEvidence> {
    const { order, orderDigest, installed } = await admit(services, value, role);
    const session = sessionOf(sessions, order, role, orderDigest, hostId);
    const peer = parseDocument(SessionOffer, offer, 'EVIDENCE_INVALID');
    const wrappingKey = role === 'destination' ? (await wrappingKeyOf(session, installed.bundle)).evidence : null;
    const binding = bindingOf(session, peer.nonce, role, session.identity.spkiSha256, wrappingKey);
    const policy = policyOf(installed.bundle);
    const { pcrValues, ...quote } = await tpm.quote(policy.pcrs, Buffer.from(digestOf(binding), 'hex'));
    const eventLog = matchingSet(policy, pcrValues) ? null : await shownEventLog(services);
    return { hostId, binding, quote, pcrValues, wrappingKey, eventLog };
  }

  /** All rules of domain/appraisal.ts that the peer's evidence breaks, at once. Returns the reference set that matched. */
  async function appraisePeer({ order: value, role, evidence: received }: RoleRequest & { readonly evidence: HostEvidence }): Promise<{ referenceSet: string }> {
    const { order, orderDigest, installed } = await admit(services, value, role);
    const session = sessionOf(sessions, order, role, orderDigest, hostId);
    const evidence = parseDocument(HostEvidence, received, 'EVIDENCE_INVALID');
    if (session.appraised && digestOf(session.appraised.evidence) === digestOf(evidence)) {
      return { referenceSet: session.appraised.peer.referenceSet };
    }
    const result = judge(session, evidence, installed.bundle);
    session.isNonceUsed = true;
    if (!result.ok) throw new KororaError(result.failures);
    session.appraised = { evidence, peer: result.peer };
    return { referenceSet: result.peer.referenceSet };
  }

  async function closeSession({ move }: { readonly move: MoveKey }): Promise<void> {
    const session = sessions.find(move.migrationId);
    if (!session) return;
    // While its copy runs the session is how settling finds that copy, and waits for its end.
    session.outgoing?.abort(refuse('ABORTED', { reason: 'its session was closed' }));
    await session.outgoing?.ended;
    sessions.remove(move.migrationId);
    const secrets = session.secrets ?? (await session.gathering?.catch(() => null));
    secrets?.sessionKey.fill(0);
    secrets?.vtpmMigrationKey.fill(0);
    await session.incoming?.listener.close();
    await (await session.wrappingKey?.catch(() => null))?.forget();
  }

  function judge(session: Session, evidence: HostEvidence, bundle: TrustBundle) {
    const { verifier } = services;
    const peerRole = session.role === 'source' ? 'destination' : 'source';
    const host = hostIn(bundle, session.order[peerRole]);
    return verifier.appraise({
      host,
      hostClass: classOf(bundle, host),
      evidence,
      role: peerRole,
      migrationId: session.order.migrationId,
      orderDigest: session.orderDigest,
      verifierNonce: session.nonce.value,
      isNonceFresh: !session.isNonceUsed && Date.now() - session.nonce.issuedAtMs <= bundle.parameters.nonceLifetimeMs,
    });
  }

  /** One a session; a TPM that failed is asked again by the next caller. */
  function wrappingKeyOf(session: Session, bundle: TrustBundle): Promise<WrappingKeyHandle> {
    return (session.wrappingKey ??= tpm.createWrappingKey(policyOf(bundle).pcrs).catch((error: unknown) => {
      session.wrappingKey = null;
      throw error;
    }));
  }

  function policyOf(bundle: TrustBundle): HostClass {
    return classOf(bundle, hostIn(bundle, hostId));
  }

  return { openSession, quoteHost, appraisePeer, closeSession };
}

function offerOf(session: Session): SessionOffer {
  return {
    hostId: session.order[session.role],
    role: session.role,
    nonce: session.nonce.value,
    tlsSpkiSha256: session.identity.spkiSha256,
  };
}

function bindingOf(session: Session, verifierNonce: Sha256Hex, role: Role, tlsSpkiSha256: Sha256Hex, wrappingKey: WrappingKeyEvidence | null): Binding {
  return {
    protocol: 'korora/1',
    purpose: 'attest',
    migrationId: session.order.migrationId,
    orderDigest: session.orderDigest,
    role,
    verifierNonce,
    tlsSpkiSha256,
    wrappingKeyName: wrappingKey?.name ?? null,
  };
}
