/**
 * A destination for many flips: the real channel, the real verifyImage with the real ownership record and ledger on disk; a sink
 * stands in the place of QEMU's process, a number in memory in that of the TPM's counter, and verdicts are not signed. One move
 * costs tens of milliseconds and the time of its bytes, instead of seconds.
 */
import { createHash } from 'node:crypto';
import { Readable, Writable } from 'node:stream';
import { type Context, asyncLocalStorage } from '@temporalio/activity';
import type { HostServices } from '../../../activities/services.js';
import { type IncomingMove, type MoveSecrets, type Session, type SessionKey, createSessions } from '../../../activities/session.js';
import { createSettlement } from '../../../activities/settle.js';
import { createVerification } from '../../../activities/verify.js';
import type { ChannelTerms, StreamSummary } from '../../../channel/port.js';
import { createChannels } from '../../../channel/relay.js';
import { SECRET_KEY_BYTES, SecretKey } from '../../../domain/secret-key.js';
import { digestOf } from '../../../domain/canonical.js';
import { type Signer, signEnvelope } from '../../../domain/envelope.js';
import { KororaError, problemOf, refuse } from '../../../domain/failures.js';
import { Epoch, type NetworkAddress, VmId } from '../../../domain/ids.js';
import type { Manifest } from '../../../domain/manifest.js';
import { Order } from '../../../domain/order.js';
import { settlementOf } from '../../../domain/ownership.js';
import { DEFAULT_LIMITS } from '../../../domain/progress.js';
import { settleable } from '../../../domain/settleable.js';
import type { InstalledBundle } from '../../../domain/trust-bundle.js';
import { createLocalHost } from '../../../host/local.js';
import { createOwnershipStore } from '../../../host/ownership-store.js';
import { createVmStore } from '../../../host/vm-store.js';
import type { Hypervisor, IncomingImage } from '../../../hypervisor/port.js';
import { connectInside } from './inside.js';
import { type WireAttacker, openWire } from './wire.js';

/** What is done to one move; left out: nothing. */
export interface SinkAttack {
  /** On the wire. */
  readonly wire?: WireAttacker;
  /** Inside the TLS connection. */
  readonly change?: (frame: Buffer) => Buffer;
  /** When all of the image has arrived, and its manifest is about to leave. */
  readonly beforeManifest?: () => void;
  /** The image that is sent in the place of the recorded one. */
  readonly image?: Buffer;
  /** The manifest that is sent in the place of the right one. */
  readonly manifest?: (right: Manifest) => Manifest;
}

export interface SinkOutcome {
  /** Of the refusal, the destination's own first; empty where the move was accepted. */
  readonly codes: readonly string[];
  /** Whether the sink was told to run the VM, or the record says that it may. */
  readonly hasRun: boolean;
  readonly receivedSha256: string;
}

export interface SinkHost {
  move(attack?: SinkAttack): Promise<SinkOutcome>;
  close(): Promise<void>;
}

export interface SinkHostParts {
  readonly installed: InstalledBundle;
  /** An operator of the bundle by this name, who may move anything between its first two hosts. */
  readonly operator: { readonly name: string; readonly signer: Signer };
  /** For records; made, and left behind. */
  readonly folder: string;
  readonly image: Buffer;
}

const SILENCE_LIMIT_MS = 1000;
const ANY_PORT = { host: '127.0.0.1', port: 0 };
const VTPM = 'ab'.repeat(32);
const PIECE_BYTES = 64 * 1024;

export async function openSinkHost({ installed, operator, folder, image }: SinkHostParts): Promise<SinkHost> {
  const [source, destination] = installed.bundle.hosts.map(({ hostId }) => hostId);
  if (!source || !destination) throw new Error('the bundle has fewer than two hosts');
  const access = createLocalHost(destination);
  let count = 0;
  const counter = { read: async () => count, raise: async () => ++count };
  const ownership = createOwnershipStore(access, { hostId: destination, vmsDir: `${folder}/vms`, ledgerFile: `${folder}/ledger.json`, counter });
  await ownership.begin();
  const sessions = createSessions(destination);
  const channels = createChannels();
  const hasRun = new Set<VmId>();
  const services = {
    hostId: destination,
    sessions,
    ownership,
    vms: createVmStore(access, { vmsDir: `${folder}/vms`, runDir: `${folder}/run` }),
    installedBundle: async () => installed,
    clock: { now: () => Date.now() },
    hypervisor: { status: async () => 'absent', ensureRunning: async (vmId: VmId) => void hasRun.add(vmId), ensureDestroyed: async () => undefined } as Pick<Hypervisor, 'status' | 'ensureRunning' | 'ensureDestroyed'>,
    vtpms: { ensureStopped: async () => undefined },
    tpm: { quote: async () => ({ attest: '', signature: '' }) },
  } as unknown as HostServices;
  const { verifyImage } = createVerification(services, createSettlement(services));
  let moves = 0;

  async function move(attack: SinkAttack = {}): Promise<SinkOutcome> {
    moves += 1;
    const vmId = VmId.parse(`sunk-${moves}`);
    const order = Order.parse({
      kind: 'korora/order', version: 2, migrationId: crypto.randomUUID(), vmId, vmDigest: VTPM, epoch: 1, source, destination, bundleDigest: installed.digest,
      limits: DEFAULT_LIMITS, requiresApproval: false, by: operator.name, notAfter: new Date(Date.now() + 3_600_000).toISOString(),
    });
    const signed = await signEnvelope(order, operator.signer);
    const secrets: MoveSecrets = { sessionKey: SecretKey.of(Buffer.alloc(SECRET_KEY_BYTES, 1 + (moves % 255))), vtpmMigrationKey: SecretKey.of(Buffer.alloc(SECRET_KEY_BYTES, 1)), epoch: Epoch.parse(2), vtpmIdentity: VTPM, disks: [], previousVerdict: null };
    const [ofSource, ofDestination] = [await channels.createIdentity(), await channels.createIdentity()];
    const common = { migrationId: order.migrationId, sessionKey: secrets.sessionKey, silenceLimitMs: SILENCE_LIMIT_MS };
    const sourceTerms: ChannelTerms = { ...common, identity: ofSource, peerSpkiSha256: ofDestination.spkiSha256 };
    const listener = await channels.listen(ANY_PORT, { ...common, identity: ofDestination, peerSpkiSha256: ofSource.spkiSha256 });
    await ownership.apply(vmId, { type: 'expect', migrationId: order.migrationId, source: order.source, epoch: secrets.epoch, order: signed });
    const sink = sinkOf(() => hasRun.add(vmId));
    const incoming: IncomingMove = { image: sink.image, listener, giveUp: new AbortController(), isConnected: false, verification: null };
    const key: SessionKey = { migrationId: order.migrationId, orderDigest: digestOf(order), role: 'destination' };
    await sessions.open(key, async () => ({ ...key, order, signed, secrets, incoming }) as unknown as Session);

    const wire = attack.wire ? await openWire(listener.address) : null;
    if (attack.wire) void wire?.attackNext(attack.wire);
    const verifying = asActivity(() => verifyImage({ order: signed }));
    const manifestOf = (summary: StreamSummary): Manifest => ({
      protocol: 'korora/1', migrationId: order.migrationId, vmId, epoch: secrets.epoch, streamBytes: summary.bytes, streamSha256: summary.sha256, vtpmIdentity: VTPM, previousVerdict: null,
    });
    const sent = await send(wire?.address ?? listener.address, sourceTerms, attack, manifestOf, sink.untilReceived).catch(codesIn);
    // As the workflow does it: what fails on one side ends the other.
    if (sent.length > 0) incoming.giveUp.abort(refuse('ABORTED', { reason: 'the source failed' }));
    const { statement: { verdict } } = await verifying;
    await wire?.close();
    await sessions.close(order.migrationId, refuse('ABORTED', { reason: 'the move has ended' }));
    const record = await ownership.read(vmId);
    const isAccepted = verdict.verdict === 'accepted' || record.state === 'owner' || settlementOf(record, order.migrationId)?.outcome !== 'rejected';
    const said = [...codesInReason(verdict.reason), ...listener.refusedPeers, ...sent].filter((code) => code !== 'ABORTED');
    return { codes: isAccepted ? [] : [said[0] ?? 'ABORTED'], hasRun: isAccepted || hasRun.has(vmId), receivedSha256: sink.sha256() };
  }

  /** The source's part, in the order of outgoing-move.ts. Rejects with what broke it; ends with a verdict. */
  async function send(address: NetworkAddress, terms: ChannelTerms, attack: SinkAttack, manifestOf: (summary: StreamSummary) => Manifest, untilReceived: (bytes: number) => Promise<void>): Promise<readonly string[]> {
    const bytes = attack.image ?? image;
    const channel = await (attack.change ? connectInside(address, terms, attack.change) : channels.connect(address, terms, new AbortController().signal));
    try {
      const summary = await channel.sendImage(inPieces(bytes));
      await Promise.race([untilReceived(bytes.length), channel.broken]);
      attack.beforeManifest?.();
      await channel.sendManifest(attack.manifest?.(manifestOf(summary)) ?? manifestOf(summary));
      await channel.receiveVerdict();
      return [];
    } finally {
      await channel.close();
    }
  }

  return { move, close: () => access.remove(folder) };
}

/** Takes an image, and says of its VM only that it was told to run. */
function sinkOf(onRun: () => void) {
  const hash = createHash('sha256');
  const all = settleable<void>();
  let wanted = Infinity;
  let bytes = 0;
  const look = () => {
    if (bytes >= wanted) all.resolve();
  };
  const image: IncomingImage = {
    sink: new Writable({
      highWaterMark: 1024 * 1024,
      write(chunk: Buffer, _, done) {
        hash.update(chunk);
        bytes += chunk.length;
        look();
        done();
      },
    }),
    loaded: async () => undefined,
    async activate() {
      onRun();
      return { runningAtMs: Date.now() };
    },
    close: async () => undefined,
  };
  const untilReceived = (count: number) => {
    wanted = count;
    look();
    return all.promise;
  };
  image.sink.on('error', () => undefined);
  return { image, untilReceived, sha256: () => hash.copy().digest('hex') };
}

function inPieces(bytes: Buffer): Readable {
  const pieces = Array.from({ length: Math.ceil(bytes.length / PIECE_BYTES) }, (_, i) => bytes.subarray(i * PIECE_BYTES, (i + 1) * PIECE_BYTES));
  return Readable.from(pieces, { objectMode: false });
}

/** verifyImage asks its activity's context whether it was cancelled; this one never is. */
function asActivity<T>(work: () => Promise<T>): Promise<T> {
  return asyncLocalStorage.run({ cancellationSignal: new AbortController().signal } as Context, work);
}

function codesIn(error: unknown): readonly string[] {
  return error instanceof KororaError ? error.failures.map(({ code }) => code) : [`not a refusal: ${problemOf(error)}`];
}

/** Of `CODE: text`, anywhere in a reason. */
export function codesInReason(reason: string | null): readonly string[] {
  return [...(reason ?? '').matchAll(/\b(ABORTED|INTERNAL|[A-Z]+(?:_[A-Z]+)+):/g)].flatMap(([, code]) => code ?? []);
}
