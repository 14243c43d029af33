/**
 * Phase verify, on the destination: takes the image, compares it with the manifest, decides once
 * and durably, and only then runs the vCPUs (promise P4). Accepting is the point of no return.
 */
import { digestOf } from '../domain/canonical.js';
import { type Failure, KororaError, failure, problemOf, refuse } from '../domain/failures.js';
import type { DestinationTimings } from '../domain/evidence.js';
import { type Manifest, type VerdictStatement, verdictOf } from '../domain/manifest.js';
import type { Order } from '../domain/order.js';
import { settlementOf } from '../domain/ownership.js';
import type { IncomingChannel, StreamSummary } from '../channel/port.js';
import type { IncomingImage } from '../hypervisor/port.js';
import { admit } from './admission.js';
import { cancellable } from './edge.js';
import type { HostServices } from './services.js';
import type { HostInput } from './inputs.js';
import { type IncomingMove, type MoveSecrets, type Session, secretsOf } from './session.js';
import type { SettledDestination, Settlement } from './settle.js';

export interface Verification {
  readonly statement: VerdictStatement;
  /** As in SettledDestination. */
  readonly isAbsent: boolean;
  /** That was accepted; null where none was. */
  readonly manifest: Manifest | null;
  /** Null where this is the answer to a repeated question. */
  readonly timings: DestinationTimings | null;
}

export function createVerification(services: HostServices, settlement: Settlement) {
  const { hostId, sessions, ownership } = services;

  /** Resolves with the signed verdict, whatever it is; a second call gives the same one. */
  async function verifyImage({ order: envelope }: HostInput<'verifyImage'>): Promise<Verification> {
    const admitted = await admit(services, envelope, 'destination');
    const { order } = admitted;
    if (settlementOf(await ownership.read(order.vmId), order.migrationId)) {
      const answer = await settlement.settle({ order, shown: null, reason: 'repeated' });
      if ('verdict' in answer) return { ...verificationOf(answer), timings: null };
    }
    // What it joins is the session's; the waiting is not: other steps take their turn beside it.
    const { giveUp, verification } = await sessions.inTurn(admitted, async (session) => {
      const secrets = secretsOf(session, hostId, 'taking the image');
      const { incoming } = session;
      if (!incoming) throw refuse('SESSION_LOST', { host: hostId });
      const joined = (incoming.verification ??= receive(session, secrets, incoming));
      joined.catch(() => undefined);
      return { giveUp: incoming.giveUp, verification: joined };
    });
    return cancellable(hostId, (why) => giveUp.abort(why), () => verification);
  }

  async function receive(session: Session, secrets: MoveSecrets, incoming: IncomingMove): Promise<Verification> {
    const { order } = session;
    const { image, listener, giveUp } = incoming;
    let channel: IncomingChannel | null = null;
    const onGiveUp = () => {
      channel?.abort('the destination gave up');
      void listener.close();
    };
    if (giveUp.signal.aborted) onGiveUp();
    giveUp.signal.addEventListener('abort', onGiveUp);
    try {
      channel = await listener.accept();
      incoming.isConnected = true;
      const received = await channel.receiveImage(image.sink).catch((error: unknown) => {
        // The channel's own failures have codes; the rest is the hypervisor that stopped reading.
        throw error instanceof KororaError ? error : refuse('IMAGE_NOT_LOADED', { host: hostId, problem: problemOf(error) }, error);
      });
      const { manifest } = received;
      const manifestAtMs = Date.now();
      await Promise.race([image.loaded(), channel.broken]);
      const loadedAtMs = Date.now();
      const problems = compareManifest(manifest, received.summary, order, secrets);
      const [first, ...rest] = problems;
      if (first) throw new KororaError([first, ...rest]);
      const { decidedAtMs, runningAtMs } = await acceptAndRun(order, secrets, manifest, image);
      const verdict = verdictOf({ ...order, epoch: secrets.epoch }, { verdict: 'accepted', manifestDigest: digestOf(manifest), reason: null });
      // The VM runs here now: a source that does not hear it asks again and gets the statement.
      await channel.sendVerdict(verdict).catch(() => undefined);
      await image.close();
      const [statement] = await Promise.all([settlement.sign(verdict), ownership.renew(order.vmId)]);
      session.acceptedAt = { manifestAtMs, loadedAtMs, decidedAtMs, runningAtMs };
      return { statement, isAbsent: false, manifest, timings: session.acceptedAt };
    } catch (error) {
      return await settleAfter(giveUp.signal.aborted ? giveUp.signal.reason : error, order, incoming, channel);
    } finally {
      await channel?.close();
      await listener.close();
    }
  }

  /** As one: nothing that ends the ownership comes between the decision and the first instruction. */
  function acceptAndRun({ vmId, migrationId }: Order, { epoch }: MoveSecrets, manifest: Manifest, image: IncomingImage) {
    return ownership.hold(vmId, async (_, apply) => {
      await apply({ type: 'accept', migrationId, epoch, manifest });
      const decidedAtMs = Date.now();
      const { runningAtMs } = await image.activate();
      return { decidedAtMs, runningAtMs };
    });
  }

  /** Rejects, unless it had accepted already: then the VM must run here. */
  async function settleAfter(
    error: unknown,
    order: Order,
    { image }: IncomingMove,
    channel: IncomingChannel | null,
  ): Promise<Verification> {
    const reason = error instanceof KororaError ? error.message : problemOf(error);
    await image.close();
    const decision = await settlement.decide(order, reason, null);
    if (!('verdict' in decision)) throw error;
    await channel?.sendVerdict(decision.verdict).catch(() => undefined);
    return { ...verificationOf(await settlement.carryOut(decision)), timings: null };
  }

  return { verifyImage };
}

function verificationOf({ verdict, quote, isAbsent, manifest }: SettledDestination): Omit<Verification, 'timings'> {
  return { statement: { verdict, quote }, isAbsent, manifest };
}

/** Every difference between what arrived and what the manifest and the wrapped secrets say. */
export function compareManifest(manifest: Manifest, summary: StreamSummary, order: Order, secrets: Pick<MoveSecrets, 'epoch' | 'vtpmIdentity' | 'previousVerdict'>): Failure[] {
  const failures: Failure[] = [];
  const named = { migrationId: order.migrationId, vmId: order.vmId, epoch: secrets.epoch, vtpmIdentity: secrets.vtpmIdentity, previousVerdict: secrets.previousVerdict };
  for (const field of Object.keys(named) as (keyof typeof named)[]) {
    if (manifest[field] !== named[field]) failures.push(failure('MANIFEST_MISMATCH', { field, actual: manifest[field] ?? 'none', expected: named[field] ?? 'none' }));
  }
  if (summary.bytes !== manifest.streamBytes) {
    failures.push(failure('STREAM_LENGTH_MISMATCH', { actual: summary.bytes, expected: manifest.streamBytes }));
  }
  if (summary.sha256 !== manifest.streamSha256) {
    failures.push(failure('STREAM_DIGEST_MISMATCH', { actual: summary.sha256, expected: manifest.streamSha256 }));
  }
  return failures;
}
