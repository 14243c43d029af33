/**
 * Phase attest (RFC 9334: each host is Attester and Verifier). Each side issues a nonce and makes
 * an ephemeral TLS key; quotes its PCRs over the binding of both; appraises the other.
 */
import { randomBytes } from 'node:crypto';
import { matchingSet } from '../domain/appraisal.js';
import type { Binding, HostEvidence, SessionOffer, WrappingKeyEvidence } from '../domain/attestation.js';
import { digestOf } from '../domain/canonical.js';
import { KororaError, refuse } from '../domain/failures.js';
import type { Role, Sha256Hex } from '../domain/ids.js';
import type { Order } from '../domain/order.js';
import { type OwnershipRecord, TOMBSTONES_MAX, ownedEpoch, settlementOf } from '../domain/ownership.js';
import { type HostClass, type TrustBundle, classOf, hostIn } from '../domain/trust-bundle.js';
import { admit, admitToSettle, settling } from './admission.js';
import { shownEventLog } from './event-log.js';
import type { WrappingKeyHandle } from '../tpm/port.js';
import type { HostServices } from './services.js';
import type { HostInput } from './inputs.js';
import type { Session } from './session.js';
import type { Settlement } from './settle.js';

export function createAttestation(services: HostServices, { settleHere }: Pick<Settlement, 'settleHere'>, { gatherAhead }: { readonly gatherAhead: (session: Session) => void }) {
  const { hostId, tpm, channels, sessions, ownership } = services;

  /** Idempotent: the same offer while the session lives. ORDER_STALE, ORDER_SETTLED, ORDERS_TOO_MANY: an order is good for one move, from one epoch. */
  async function openSession({ order: envelope, role }: HostInput<'openSession'>): Promise<SessionOffer> {
    const admitted = await admit(services, envelope, role);
    const { order, signed, orderDigest, installed } = admitted;
    const make = async (): Promise<Session> => {
      refuseUsed(await ownership.read(order.vmId), order, role);
      const session: Session = {
        order,
        signed,
        orderDigest,
        role,
        identity: await channels.createIdentity(),
        nonce: { value: randomBytes(32).toString('hex'), issuedAtMs: services.clock.now() },
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
      if (role === 'source') gatherAhead(session);
      else wrappingKeyOf(session, installed.bundle).catch(() => undefined); // told by quoteHost
      return session;
    };
    const session = await sessions.open(admitted, make);
    // Looked at again: a refusal ends a move before anybody closes its session.
    refuseSettled(await ownership.read(order.vmId), order);
    return offerOf(session);
  }

  function refuseSettled(record: OwnershipRecord, { vmId, migrationId }: Order): void {
    const settled = settlementOf(record, migrationId);
    if (settled) throw refuse('ORDER_SETTLED', { host: hostId, move: migrationId, vm: vmId, outcome: settled.outcome });
  }

  function refuseUsed(record: OwnershipRecord, order: Order, role: Role): void {
    const { vmId, epoch } = order;
    refuseSettled(record, order);
    const isFromHere = role === 'source' ? epoch === record.epoch : epoch >= ownedEpoch(record);
    if (!isFromHere) throw refuse('ORDER_STALE', { ordered: epoch, vm: vmId, host: hostId, actual: record.epoch });
    const count = record.settled.filter(({ notAfter }) => notAfter !== null && Date.parse(notAfter) >= services.clock.now()).length;
    if (count >= TOMBSTONES_MAX) throw refuse('ORDERS_TOO_MANY', { host: hostId, vm: vmId, count });
  }

  async function quoteHost({ order: envelope, role, peer }: HostInput<'quoteHost'>): Promise<HostEvidence> {
    const admitted = await admit(services, envelope, role);
    const { bundle } = admitted.installed;
    return sessions.inTurn(admitted, async (session) => {
      const wrappingKey = role === 'destination' ? (await wrappingKeyOf(session, bundle)).evidence : null;
      const binding = bindingOf(session, peer.nonce, role, session.identity.spkiSha256, wrappingKey);
      const policy = policyOf(bundle);
      const { pcrValues, ...quote } = await tpm.quote(policy.pcrs, Buffer.from(digestOf(binding), 'hex'));
      const eventLog = matchingSet(policy, pcrValues) ? null : await shownEventLog(services);
      return { hostId, binding, quote, pcrValues, wrappingKey, eventLog };
    });
  }

  /** All rules of domain/appraisal.ts that the peer's evidence breaks, at once. Returns the reference set that matched. A refusal ends the move here. */
  async function appraisePeer({ order: envelope, role, evidence }: HostInput<'appraisePeer'>): Promise<{ referenceSet: string }> {
    const admitted = await admit(services, envelope, role);
    return sessions.inTurn(admitted, async (session) => {
      if (session.appraised && digestOf(session.appraised.evidence) === digestOf(evidence)) {
        return { referenceSet: session.appraised.peer.referenceSet };
      }
      const result = judge(session, evidence, admitted.installed.bundle);
      session.isNonceUsed = true;
      if (!result.ok) {
        const refusal = new KororaError(result.failures);
        // Whoever was appraised before goes on: other evidence is no reason to end that move.
        if (!session.appraised) await settleHere(settling(services, admitted), refusal.message);
        throw refusal;
      }
      session.appraised = { evidence, peer: result.peer };
      return { referenceSet: result.peer.referenceSet };
    });
  }

  /** However a move ended: no order is good again. As admitToSettle. */
  async function closeSession({ order: envelope, reason }: HostInput<'closeSession'>): Promise<void> {
    const ended = await admitToSettle(services, envelope);
    await sessions.close(ended.order.migrationId, refuse('ABORTED', { reason }));
    await settleHere(ended, reason);
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
      isNonceFresh: !session.isNonceUsed && services.clock.now() - session.nonce.issuedAtMs <= bundle.parameters.nonceLifetimeMs,
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
