/**
 * The outgoing image of a running VM. QEMU writes its migration stream to a private unix socket in the
 * run directory; the driver hands it on as `image` and holds the tail (the last dirty pages and all
 * device state, the vTPM's among it) by `pause-before-switchover`.
 *
 *   opened ─(first read of image)─► rounds ─► held (paused resolves) ─release()─► sent (image ends)
 *                                     └──────────┴───────────────────┴──► failed (COPY_FAILED, image destroyed)
 *
 * `migrate` is issued by the first read, so before it not even a page is looked at. While the copy is held, reading stops where QEMU could
 * finish otherwise (hold.ts), and a VM too small for that is not begun. `image` ends only
 * after QEMU reported `completed`: a copy that broke can never look like one that ended.
 *
 * QEMU resumes the source by itself when a copy fails or is cancelled, after release() too, until it has
 * reported `completed`. When release() rejects for another reason than a cancel, the driver has stopped the vCPUs again. If its worker died
 * in that window, or closed this image before release() ended (the channel broke first), nobody has: the source runs. That is safe as long as nothing that lets the destination
 * run (the manifest) is sent before release() resolved.
 */
import { Readable } from 'node:stream';
import type { Duplex } from 'node:stream';
import { problemOf, refuse, type KororaError } from '../../domain/failures.js';
import type { CopyLimits } from '../../domain/progress.js';
import { settleable } from '../../domain/settleable.js';
import type { Hold } from '../../domain/status.js';
import type { VmDocument } from '../../domain/vm.js';
import type { OutgoingImage, PauseFacts } from '../port.js';
import { runFiles } from './command-line.js';
import { createReadGate, marginBytes } from './hold.js';
import { logTail, openCopyConnection, saying, type QemuHost } from './process.js';
import { lastRoundBytes, progressOf, queryMigration, queryRunState, setCapabilities, setLimits, setThrottle } from './qapi.js';
import type { QmpEvent } from './qmp.js';

const CAPABILITIES = ['events', 'pause-before-switchover', 'validate-uuid'];
const IMAGE_BUFFER_BYTES = 256 * 1024;
const SETTLE_TIMEOUT_MS = 10_000;
/** While held, so that QEMU's idea of what the last round may carry stays far below the margin. */
const HELD_DOWNTIME_MS = 1;
/** The least that QEMU takes, and what it may do before anybody asked it to slow the guest. */
const LEAST_THROTTLE_PERCENT = 1;
const THROTTLE_TRIGGER = { seldom: 100, soon: 1 } as const;
const SOCKET_BUFFER_FILE = '/proc/sys/net/core/wmem_default';

export async function openOutgoing(host: QemuHost, vm: VmDocument, runDir: string, firstLimits: CopyLimits, isHeldAtFirst: boolean): Promise<OutgoingImage> {
  const path = runFiles(runDir).outgoingSocket;
  const mayThrottle = firstLimits.autoConverge !== null;
  let limits = firstLimits;
  let isHeldByWish = isHeldAtFirst;
  const limitsNow = () => (isHeldByWish ? { ...limits, downtimeLimitMs: HELD_DOWNTIME_MS } : limits);
  const qmp = await openCopyConnection(host, runDir);
  const [listener, margin] = await saying(host, 'prepare a copy', async () => {
    await setCapabilities(qmp, mayThrottle ? [...CAPABILITIES, 'auto-converge'] : CAPABILITIES);
    await setLimits(qmp, limitsNow());
    if (mayThrottle) await setThrottle(qmp, LEAST_THROTTLE_PERCENT, THROTTLE_TRIGGER.seldom);
    const socketBytes = Number((await host.access.readFile(SOCKET_BUFFER_FILE))?.toString());
    return Promise.all([ host.access.listenUnixSocket(path), marginBytes(socketBytes)]);
  }).catch((error: unknown) => {
    qmp.close();
    throw error;
  });

  const paused = settleable<PauseFacts>();
  const completed = settleable<void>();
  const ended = settleable<void>();
  let source: Duplex | null = null;
  let isStarted = false;
  /** Whether somebody reads `image`. */
  let isWanted = false;
  let isPaused = false;
  let isOpen = true;
  let isFailed = false;
  /** By ensureNotMoving, which wants the VM to go on. */
  let isCancelled = false;
  let stoppedAtMs: number | null = null;

  const gate = createReadGate({
    isHeld: isHeldAtFirst,
    marginBytes: margin,
    askRemainingBytes: async () => {
      const { status, ram } = await queryMigration(qmp);
      return status === 'active' && ram ? ram.remaining : null;
    },
    onOpen: () => flow(),
  });

  /** Reads on, or begins, where somebody wants it and the hold allows it. */
  const flow = () => {
    if (!isWanted) return;
    if (isStarted) {
      if (gate.isOpen) source?.resume();
    } else if (!gate.isHeld || vm.memoryBytes > margin) {
      isStarted = true;
      start().catch((error: unknown) => fail(problemOf(error)));
    }
  };

  const image = new Readable({
    highWaterMark: IMAGE_BUFFER_BYTES,
    read() {
      isWanted = true;
      flow();
    },
    destroy(error, done) {
      source?.destroy();
      done(error);
    },
  });
  image.on('error', () => undefined); // told by `paused` and release() as well

  const fail = (problem: string) => {
    if (isFailed) return;
    isFailed = true;
    const error: KororaError = refuse('COPY_FAILED', { problem });
    paused.reject(error);
    completed.reject(error);
    ended.reject(error);
    image.destroy(error);
  };
  const failWithReason = async (status: string) => {
    const reason = await queryMigration(qmp).then((info) => info['error-desc'], () => undefined);
    fail(`QEMU says ${status}${reason ? `: ${reason}` : ''}`);
  };

  const start = async () => {
    const [connection] = await Promise.all([listener.accept(), qmp.execute('migrate', { uri: `unix:${path}` })]);
    source = connection;
    if (!gate.isOpen) connection.pause();
    connection.on('data', (chunk: Buffer) => {
      gate.took(chunk.length);
      isWanted = image.push(chunk);
      if (!isWanted || !gate.isOpen) connection.pause();
    });
    connection.on('error', () => undefined); // its end and QEMU's own report follow
    connection.once('close', () => {
      completed.promise.then(() => {
        image.push(null);
        ended.resolve();
      }, () => undefined);
    });
    if (image.destroyed) connection.destroy();
  };

  const onEvent = ({ name, data, atMs }: QmpEvent) => {
    if (name === 'STOP') stoppedAtMs = atMs;
    if (name !== 'MIGRATION') return;
    if (data.status === 'active') void gate.ask();
    if (data.status === 'pre-switchover') {
      isPaused = true;
      isHeldByWish = false;
      gate.release();
      paused.resolve({ stoppedAtMs: stoppedAtMs ?? atMs });
    }
    if (data.status === 'completed') completed.resolve();
    if (data.status === 'cancelling' || data.status === 'cancelled') isCancelled = true;
    if (data.status === 'failed' || data.status === 'cancelled') void failWithReason(data.status);
  };
  qmp.onEvent(onEvent);
  void qmp.closed.then(async () => {
    const tail = isOpen ? await logTail(host, runDir).catch(() => '') : '';
    fail(isOpen ? `QEMU went away${tail ? `: ${tail}` : ''}` : 'the copy was closed here');
  });

  /** Undoes QEMU's own resume, which comes after the report of the failure. */
  const holdStopped = async () => {
    const resumed = qmp.nextEvent((event) => event.name === 'RESUME', SETTLE_TIMEOUT_MS);
    resumed.catch(() => undefined);
    if ((await queryRunState(qmp)) === 'finish-migrate') await resumed;
    await qmp.execute('stop');
  };

  /** Not once the source is paused: nobody would let go of it then. */
  const hold = async (): Promise<Hold> => {
    const { downtimeLimitMs } = limitsNow();
    isHeldByWish = !isPaused;
    await setLimits(qmp, limitsNow());
    // Taken after the change: the rate then is that of QEMU's present idea of the last round, or that idea is the new one.
    const info = await queryMigration(qmp);
    if (!isHeldByWish) return { isHeld: false, isCertain: true };
    source?.pause(); // an answer counts only if nothing is read before it
    const isProven = await gate.hold(lastRoundBytes(info, downtimeLimitMs));
    return { isHeld: gate.isHeld, isCertain: isProven || !isStarted || !gate.isHeld };
  };

  return {
    image,
    paused: paused.promise,
    progress: () => saying(host, 'query-migrate', async () => progressOf(await queryMigration(qmp))),
    setLimits: (next) =>
      saying(host, 'migrate-set-parameters', () => {
        limits = next;
        return setLimits(qmp, limitsNow());
      }),
    setThrottle: (percent) => saying(host, 'migrate-set-parameters', () => setThrottle(qmp, percent, THROTTLE_TRIGGER.soon)),
    setHeld: (isHeld) =>
      saying(host, 'migrate-set-parameters', async () => {
        if (isHeld) return hold();
        isHeldByWish = false;
        await setLimits(qmp, limitsNow());
        gate.release();
        return { isHeld: false, isCertain: true };
      }),
    async release() {
      await paused.promise;
      if (isFailed) await ended.promise;
      try {
        await qmp.execute('migrate-continue', { state: 'pre-switchover' }).catch((error: unknown) => fail(problemOf(error)));
        await ended.promise;
      } catch (error) {
        if (!isCancelled) await holdStopped().catch(() => undefined);
        throw error;
      }
    },
    async close() {
      if (!isOpen) return;
      isOpen = false;
      qmp.close();
      source?.destroy();
      await listener.close();
    },
  };
}
