/**
 * The source's side of one running copy. Two activities work on it, copyMemory and stopAndCopy;
 * it lives in the session so that a repeated activity finds the copy rather than starting another.
 *
 *   waiting ─► copying ─► paused ─► relinquished ─► decided
 *      └──────────┴─────────┘ abort or failure: the VM runs on, the offer is withdrawn
 *
 * The copy starts only when stop-copy is there, so that nothing but this process stands between
 * the pause and the verdict (promise P6). Once `relinquished` is being written this file never resumes
 * the VM without the destination's proven rejection (promise P5).
 */
import { type RoundStart, judgeConvergence, stallFailure } from '../domain/convergence.js';
import type { TpmBoot } from '../domain/attestation.js';
import { KororaError, refuse } from '../domain/failures.js';
import type { SourceTimings } from '../domain/evidence.js';
import { type NetworkAddress, assertNever } from '../domain/ids.js';
import type { Verdict } from '../domain/manifest.js';
import { type CopyLimits, type CopyProgress, plannedPauseMs } from '../domain/progress.js';
import { settleable } from '../domain/settleable.js';
import type { Hold } from '../domain/status.js';
import type { VmDocument } from '../domain/vm.js';
import type { OutgoingChannel, StreamSummary } from '../channel/port.js';
import type { OutgoingImage, PauseFacts } from '../hypervisor/port.js';
import type { HostServices } from './services.js';
import type { AppraisedPeer } from '../domain/appraisal.js';
import { type MoveSecrets, type Session, awaitsApproval } from './session.js';
import type { Settlement } from './settle.js';

export interface OutgoingMove {
  /** Resolves when the source is paused. Rejects after the VM runs on and the offer is withdrawn. */
  readonly paused: Promise<PauseFacts>;
  /** Resolves when nothing is left to send after the pause, or the handover failed. */
  readonly handedOver: Promise<void>;
  /** Null before the hypervisor copies. */
  progress(): Promise<CopyProgress | null>;
  /** One entry a memory round: where it stood when last seen. */
  readonly rounds: readonly CopyProgress[];
  setLimits(limits: CopyLimits): Promise<void>;
  /** Does what the session says of holding. NOT_COPYING once the source is paused. */
  followHold(): Promise<Hold>;
  /** Lets the copy begin, waits for the pause, hands over. The same promise for every caller. */
  finish(): Promise<Handover>;
  /** Asks the copy to end; without effect once relinquished. */
  abort(why: KororaError): void;
  /** Whether the destination was reached, and proved that its TPM opened the secrets. */
  readonly isConnected: boolean;
  /** Resolves when nothing of this copy is going on any more, however it ended. */
  readonly ended: Promise<void>;
}

export interface Handover {
  readonly verdict: Verdict;
  readonly timings: SourceTimings;
}

interface MoveParts {
  readonly session: Session;
  readonly vm: VmDocument;
  readonly address: NetworkAddress;
  readonly peer: AppraisedPeer;
  /** Its boot, as attested. */
  readonly peerBoot: TpmBoot;
  readonly secrets: MoveSecrets;
}

interface OpenCopy {
  readonly channel: OutgoingChannel;
  readonly image: OutgoingImage;
  readonly sending: Promise<StreamSummary>;
}

export function createOutgoingMove(services: HostServices, { withdrawOffer }: Pick<Settlement, 'withdrawOffer'>, parts: MoveParts): OutgoingMove {
  const { hypervisor, channels, ownership, vms } = services;
  const { session, vm, address, peer, peerBoot, secrets } = parts;
  const { migrationId, vmId, destination } = session.order;
  const runDir = vms.runDirOf(vmId);
  /** Of this copy alone: the session may end before it. */
  const sessionKey = secrets.sessionKey.copy();
  const stop = new AbortController();
  const stopCopyIsHere = settleable<void>();
  const handedOver = settleable<void>();
  const rounds: CopyProgress[] = [];
  const starts: RoundStart[] = [];
  let limits = session.order.limits;
  let round = 1;
  /** What was asked of the hypervisor; 0 for nothing. */
  let throttlePercent = 0;
  let copy: OpenCopy | null = null;
  let handover: Promise<Handover> | null = null;
  let isPaused = false;

  const paused = copyUntilPaused();
  paused.catch(() => sessionKey.destroy());

  async function copyUntilPaused(): Promise<PauseFacts> {
    await orStopped(stopCopyIsHere.promise);
    // What is on offer ran here: an offer whose VM does not run any more may have been handed over (settle.ts).
    const status = await hypervisor.status(vmId, runDir);
    if (status !== 'running') throw refuse('VM_NOT_RUNNING', { host: session.order.source, vm: vmId, status });
    await ownership.apply(vmId, { type: 'offer', migrationId, destination, epoch: secrets.epoch, order: session.signed, peerBoot });
    try {
      const terms = { migrationId, identity: session.identity, peerSpkiSha256: peer.evidence.binding.tlsSpkiSha256, sessionKey };
      const channel = await channels.connect(address, terms, stop.signal);
      const { isHeld } = session;
      const image = await openImage(channel);
      const sending = channel.sendImage(image.image);
      copy = { channel, image, sending };
      if (session.isHeld !== isHeld) await image.setHeld(session.isHeld);
      const pause = await orStopped(Promise.race([image.paused, channel.broken, failureOf(sending)]));
      isPaused = true;
      return pause;
    } catch (error) {
      await takeBack(error);
      throw error;
    }
  }

  async function openImage(channel: OutgoingChannel): Promise<OutgoingImage> {
    try {
      return await hypervisor.openOutgoing(vm, runDir, limitsNow(), { isHeld: session.isHeld });
    } catch (error) {
      channel.abort('the source could not open its image');
      throw error;
    }
  }

  /** Before relinquishing: the VM runs on, and the offer is withdrawn. */
  async function takeBack(error: unknown): Promise<void> {
    copy?.channel.abort(error instanceof KororaError ? error.code : 'the source ended the copy');
    await copy?.image.close();
    copy?.sending.catch(() => undefined);
    await withdrawOffer({ vmId, migrationId });
  }

  async function handOver(): Promise<Handover> {
    stopCopyIsHere.resolve();
    const { stoppedAtMs } = await paused;
    const { channel, image, sending } = opened(copy);
    const refusal = stop.signal.aborted ? (stop.signal.reason as unknown) : awaitsApproval(session) ? refuse('APPROVAL_MISSING', { vm: vmId, host: session.order.source }) : null;
    if (refusal !== null) {
      handedOver.resolve();
      await takeBack(refusal);
      throw refusal;
    }
    // The record is written while the tail flows. What lets the destination run is the manifest, and it waits for both.
    const relinquished = ownership.apply(vmId, { type: 'relinquish', migrationId }).then(() => Date.now());
    try {
      const [summary, relinquishedAtMs] = await Promise.race([Promise.all([sending, relinquished, image.release()]), channel.broken]);
      const lastByteAtMs = Date.now();
      await channel.sendManifest({
        protocol: 'korora/1',
        migrationId,
        vmId,
        epoch: secrets.epoch,
        streamBytes: summary.bytes,
        streamSha256: summary.sha256,
        vtpmIdentity: secrets.vtpmIdentity,
        previousVerdict: secrets.previousVerdict,
      });
      const manifestAtMs = Date.now();
      handedOver.resolve();
      const verdict = await channel.receiveVerdict();
      const verdictAtMs = Date.now();
      await ownership.apply(vmId, { type: 'learn-verdict', proven: { verdict, proof: 'channel' } });
      const timings = { pausedAtMs: stoppedAtMs, relinquishedAtMs, lastByteAtMs, manifestAtMs, verdictAtMs, pauseMs: verdictAtMs - stoppedAtMs };
      return { verdict, timings };
    } finally {
      handedOver.resolve();
      await Promise.allSettled([relinquished]);
      sending.catch(() => undefined);
      await image.close();
      await channel.close();
      sessionKey.destroy();
    }
  }

  /** Asks the hypervisor no more once it has paused: every question would lengthen the pause. */
  async function progress(): Promise<CopyProgress | null> {
    if (!copy || isPaused) return rounds.at(-1) ?? null;
    const now = await copy.image.progress();
    if (now.round > 0) rounds[now.round - 1] = now;
    if (now.round > round) {
      const before = limitsNow();
      round = now.round;
      if (limitsNow().downtimeLimitMs !== before.downtimeLimitMs) await copy.image.setLimits(limitsNow());
      starts.push({ ...now, plannedPauseMs: limitsNow().downtimeLimitMs, bandwidthBytesPerSecond: limits.bandwidthBytesPerSecond, wasHeld: session.isHeld });
      await converge(copy.image);
    }
    if (now.round > limits.maxRounds) stop.abort(refuse('COPY_NOT_CONVERGING', { rounds: limits.maxRounds, remaining: now.remainingBytes }));
    return now;
  }

  /** A copy that is no use ends here, before the pause: the guest never stood still. */
  async function converge(image: OutgoingImage): Promise<void> {
    const convergence = judgeConvergence(starts, limits, throttlePercent);
    switch (convergence.kind) {
      case 'go-on':
        return;
      case 'throttle':
        throttlePercent = convergence.percent;
        return image.setThrottle(convergence.percent);
      case 'stalled':
        return stop.abort(new KororaError([stallFailure(convergence.stall, limits)]));
      default:
        assertNever(convergence);
    }
  }

  async function followHold(): Promise<Hold> {
    if (isPaused) throw refuse('NOT_COPYING', { vm: vmId, phase: 'stopped' });
    const { isHeld } = session;
    const last = starts.pop();
    if (last) starts.push({ ...last, wasHeld: true });
    return copy ? copy.image.setHeld(isHeld) : { isHeld, isCertain: true };
  }

  function limitsNow(): CopyLimits {
    return { ...limits, downtimeLimitMs: plannedPauseMs(round, limits) };
  }

  function orStopped<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(stop.signal.reason as Error);
      if (stop.signal.aborted) onAbort();
      stop.signal.addEventListener('abort', onAbort);
      work.then(resolve, reject).finally(() => stop.signal.removeEventListener('abort', onAbort));
    });
  }

  return {
    paused,
    handedOver: handedOver.promise,
    rounds,
    progress,
    async setLimits(next) {
      limits = next;
      await copy?.image.setLimits(limitsNow());
    },
    followHold,
    finish: () => (handover ??= handOver()),
    abort: (why) => stop.abort(why),
    get isConnected() {
      return copy !== null;
    },
    get ended() {
      return Promise.allSettled([paused, handover]).then(() => undefined);
    },
  };
}

function opened(copy: OpenCopy | null): OpenCopy {
  if (!copy) throw new Error('paused without a copy');
  return copy;
}

/** Rejects when `work` does; never resolves. */
function failureOf(work: Promise<unknown>): Promise<never> {
  return new Promise((_, reject) => work.catch(reject));
}
