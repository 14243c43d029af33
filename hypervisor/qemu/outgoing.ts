/**
 * The outgoing image of a running VM. QEMU writes its migration stream to a private unix socket in the
 * run directory; the driver hands it on as `image` and holds the tail (the last dirty pages and all
 * device state, the vTPM's among it) by `pause-before-switchover`.
 *
 *   opened ─(first read of image)─► rounds ─► held (paused resolves) ─release()─► sent (image ends)
 *                                     └──────────┴───────────────────┴──► failed (COPY_FAILED, image destroyed)
 *
 * `migrate` is issued by the first read, so before it not even a page is looked at. `image` ends only
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
import type { OutgoingImage, PauseFacts } from '../port.js';
import { runFiles } from './command-line.js';
import { logTail, openCopyConnection, saying, type QemuHost } from './process.js';
import { progressOf, queryMigration, queryRunState, setCapabilities, setLimits } from './qapi.js';
import type { QmpEvent } from './qmp.js';

const CAPABILITIES = ['events', 'pause-before-switchover', 'validate-uuid'];
const IMAGE_BUFFER_BYTES = 256 * 1024;
const SETTLE_TIMEOUT_MS = 10_000;

export async function openOutgoing(host: QemuHost, runDir: string, limits: CopyLimits): Promise<OutgoingImage> {
  const path = runFiles(runDir).outgoingSocket;
  const qmp = await openCopyConnection(host, runDir);
  const listener = await saying(host, 'prepare a copy', async () => {
    await setCapabilities(qmp, CAPABILITIES);
    await setLimits(qmp, limits);
    return host.access.listenUnixSocket(path);
  }).catch((error: unknown) => {
    qmp.close();
    throw error;
  });

  const paused = settleable<PauseFacts>();
  const completed = settleable<void>();
  const ended = settleable<void>();
  let source: Duplex | null = null;
  let isStarted = false;
  let isOpen = true;
  let isFailed = false;
  /** By ensureNotMoving, which wants the VM to go on. */
  let isCancelled = false;
  let stoppedAtMs: number | null = null;

  const image = new Readable({
    highWaterMark: IMAGE_BUFFER_BYTES,
    read() {
      source?.resume();
      if (!isStarted) {
        isStarted = true;
        start().catch((error: unknown) => fail(problemOf(error)));
      }
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
    connection.on('data', (chunk: Buffer) => {
      if (!image.push(chunk)) connection.pause();
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
    if (data.status === 'pre-switchover') paused.resolve({ stoppedAtMs: stoppedAtMs ?? atMs });
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

  return {
    image,
    paused: paused.promise,
    progress: () => saying(host, 'query-migrate', async () => progressOf(await queryMigration(qmp))),
    setLimits: (next) => saying(host, 'migrate-set-parameters', () => setLimits(qmp, next)),
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
