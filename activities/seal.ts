/**
 * Phase seal: the source wraps {session key, vTPM migration key, epoch, vTPM identity, disks, previous verdict} to the
 * destination's attested wrapping key; the destination's TPM opens it, or refuses (promise P3).
 */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { WrappedSecrets } from '../domain/attestation.js';
import { canonicalJson, digestOf } from '../domain/canonical.js';
import { parseDocument } from '../domain/documents.js';
import { KororaError, refuse } from '../domain/failures.js';
import { Base64, Epoch, type HostId, Sha256Hex } from '../domain/ids.js';
import { SECRET_KEY_BYTES, SecretKey } from '../domain/secret-key.js';
import { verdictOf } from '../domain/manifest.js';
import type { OwnershipRecord } from '../domain/ownership.js';
import type { Order } from '../domain/order.js';
import { admit, settling } from './admission.js';
import { diskDigests } from './disks.js';
import { refuseResources } from './resources.js';
import type { HostServices } from './services.js';
import type { HostInput } from './inputs.js';
import { type MoveSecrets, type Session, appraisedPeer } from './session.js';
import type { Settlement } from './settle.js';
import { unsealKeys } from './vtpm-keys.js';

/** The plaintext of the wrapping. */
const SecretsDocument = z.strictObject({
  sessionKey: Base64.length(44),
  vtpmMigrationKey: Base64.length(44),
  epoch: Epoch,
  vtpmIdentity: Sha256Hex,
  disks: z.array(Sha256Hex),
  previousVerdict: Sha256Hex.nullable(),
});

export function createSealing(services: HostServices, { settleHere }: Pick<Settlement, 'settleHere'>) {
  const { hostId, access, tpm, verifier, sessions, ownership, vms } = services;

  /** A second call wraps the same secrets again. */
  async function wrapSecrets({ order: envelope }: HostInput<'wrapSecrets'>): Promise<WrappedSecrets> {
    const admitted = await admit(services, envelope, 'source');
    return sessions.inTurn(admitted, async (session) => {
      const { evidence } = appraisedPeer(session, hostId, 'wrapping the VM secrets');
      if (!evidence.wrappingKey) throw refuse('NOT_ATTESTED', { host: hostId, what: 'wrapping the VM secrets' });
      session.secrets ??= await (session.gathering ??= gatherSecrets(admitted.order));
      const plain = encode(session.secrets);
      try {
        return verifier.wrapSecrets(evidence.wrappingKey.publicArea, plain, contextOf(session, evidence.wrappingKey.name));
      } finally {
        plain.fill(0);
      }
    });
  }

  /** UNSEAL_REFUSED where the PCRs changed since the quote; SECRETS_INVALID. */
  async function unwrapSecrets({ order: envelope, wrapped }: HostInput<'unwrapSecrets'>): Promise<void> {
    const admitted = await admit(services, envelope, 'destination');
    const { order } = admitted;
    await sessions.inTurn(admitted, async (session) => {
      appraisedPeer(session, hostId, 'opening the VM secrets');
      const wrappingKey = await session.wrappingKey;
      if (!wrappingKey) throw refuse('SESSION_LOST', { host: hostId });
      const plain = await wrappingKey.unwrap(wrapped, contextOf(session, wrappingKey.evidence.name)).catch(async (error: unknown) => {
        // A TPM that refuses will not say otherwise: the order is not good for another try.
        if (error instanceof KororaError && error.code === 'UNSEAL_REFUSED') await settleHere(settling(services, admitted), error.message);
        throw error;
      });
      const secrets = decode(plain, hostId);
      if (secrets.epoch !== order.epoch + 1) throw refuse('ORDER_STALE', { vm: order.vmId, ordered: order.epoch, host: order.source, actual: secrets.epoch - 1 });
      // What waits with the first ones has keys of its own.
      session.secrets ??= secrets;
    });
  }

  async function gatherSecrets(order: Order): Promise<MoveSecrets> {
    const [record, installed] = await Promise.all([ownership.read(order.vmId), vms.read(order.vmId)]);
    if (!installed) throw refuse('VM_UNKNOWN', { vm: order.vmId });
    if (!installed.vtpm) throw refuse('VM_WITHOUT_VTPM', { vm: order.vmId });
    if (record.state !== 'owner') throw refuse('VM_NOT_OWNED', { host: hostId, vm: order.vmId, state: record.state });
    if (record.epoch !== order.epoch) throw refuse('ORDER_STALE', { vm: order.vmId, ordered: order.epoch, host: hostId, actual: record.epoch });
    await refuseResources(services, order, installed.vm);
    const { stateKey, migrationKey } = await unsealKeys(tpm, hostId, installed.vtpm.keys);
    stateKey.destroy();
    return {
      sessionKey: SecretKey.of(randomBytes(SECRET_KEY_BYTES)),
      vtpmMigrationKey: migrationKey,
      epoch: Epoch.parse(record.epoch + 1),
      vtpmIdentity: installed.vtpm.identity,
      disks: await diskDigests(access, hostId, installed.vm),
      previousVerdict: originOf(record, hostId),
    };
  }

  /** Starts what wrapping will need while the hosts still attest: opening the VM's keys takes the TPM a while. */
  function gatherAhead(session: Session): void {
    session.gathering = gatherSecrets(session.order);
    session.gathering.catch(() => undefined); // told by wrapSecrets
  }

  return { wrapSecrets, unwrapSecrets, gatherAhead };
}

/** The verdict by which this host came to own the epoch that it owns. */
function originOf(record: OwnershipRecord, hostId: HostId): Sha256Hex | null {
  const settled = record.settled.find(({ epoch, outcome }) => epoch === record.epoch && outcome === 'accepted');
  if (!settled) return null;
  const { migrationId, manifest } = settled;
  return digestOf(verdictOf({ migrationId, vmId: record.vmId, destination: hostId, epoch: Epoch.parse(record.epoch) }, { verdict: 'accepted', manifestDigest: manifest && digestOf(manifest), reason: null }));
}

/** Ties a wrapping to its move and key: bytes for one session open in no other. */
function contextOf(session: Session, wrappingKeyName: string): Buffer {
  const { orderDigest, order } = session;
  return Buffer.from(canonicalJson({ protocol: 'korora/1', purpose: 'seal', migrationId: order.migrationId, orderDigest, wrappingKeyName }));
}

function encode(secrets: MoveSecrets): Buffer {
  const document: z.infer<typeof SecretsDocument> = {
    sessionKey: secrets.sessionKey.use(base64Of),
    vtpmMigrationKey: secrets.vtpmMigrationKey.use(base64Of),
    epoch: secrets.epoch,
    vtpmIdentity: secrets.vtpmIdentity,
    disks: [...secrets.disks],
    previousVerdict: secrets.previousVerdict,
  };
  return Buffer.from(canonicalJson(document));
}

function decode(plain: Buffer, host: string): MoveSecrets {
  try {
    const document = parseDocument(SecretsDocument, JSON.parse(plain.toString('utf8')), 'EVIDENCE_INVALID');
    return {
      sessionKey: SecretKey.of(Buffer.from(document.sessionKey, 'base64')),
      vtpmMigrationKey: SecretKey.of(Buffer.from(document.vtpmMigrationKey, 'base64')),
      epoch: document.epoch,
      vtpmIdentity: document.vtpmIdentity,
      disks: document.disks,
      previousVerdict: document.previousVerdict,
    };
  } catch {
    // The parser's message may quote the plaintext.
    throw refuse('SECRETS_INVALID', { host, problem: 'they are not a secrets document' });
  } finally {
    plain.fill(0);
  }
}

function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
