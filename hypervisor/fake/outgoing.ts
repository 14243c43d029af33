/**
 * The outgoing image of a fake VM, as the worker holds it. The rounds, the pause and the tail are the machine's
 * (copy.ts); here they become the port's stream and promises. `image` ends only after the machine said that
 * the copy is complete, so a copy that broke can never look like one that ended.
 */
import { Readable, type Duplex } from 'node:stream';
import { type KororaError, problemOf, refuse } from '../../domain/failures.js';
import type { VmId } from '../../domain/ids.js';
import type { CopyLimits } from '../../domain/progress.js';
import { settleable } from '../../domain/settleable.js';
import type { OutgoingImage, PauseFacts } from '../port.js';
import type { FakeHost } from './driver.js';

const IMAGE_BUFFER_BYTES = 256 * 1024;
const NO_TIMEOUT = { timeoutMs: null };

export async function openOutgoing({ machine }: FakeHost, vmId: VmId, runDir: string, limits: CopyLimits, { isHeld: isHeldAtFirst = false } = {}): Promise<OutgoingImage> {
  const copyId = await machine.saying('prepare a copy', () => machine.ask('openCopy', { vmId, runDir, limits }));
  const paused = settleable<PauseFacts>();
  const ended = settleable<void>();
  let source: Duplex | null = null;
  let isStarted = false;
  let isReleased = false;
  let isOpen = true;
  let isHeld = isHeldAtFirst;
  /** The reader asked while the copy was held. */
  let isAskedFor = false;

  const image = new Readable({
    highWaterMark: IMAGE_BUFFER_BYTES,
    read: () => goOn(),
    destroy(error, done) {
      source?.destroy();
      done(error);
    },
  });
  image.on('error', () => undefined); // told by `paused` and release() as well

  function goOn(): void {
    isAskedFor = isHeld;
    if (isHeld) return;
    source?.resume();
    if (isStarted) return;
    isStarted = true;
    start().catch((error: unknown) => fail(problemOf(error)));
  }

  function fail(problem: string): KororaError {
    const error = refuse('COPY_FAILED', { problem });
    paused.reject(error);
    ended.reject(error);
    image.destroy(error);
    return error;
  }

  async function start(): Promise<void> {
    const connection = await machine.openStream('stream', { copyId });
    source = connection;
    connection.on('data', (chunk: Buffer) => {
      if (!image.push(chunk) || isHeld) connection.pause();
    });
    connection.once('close', () => ended.resolve());
    if (image.destroyed || !isOpen) connection.destroy();
  }

  machine.ask('paused', { copyId }, NO_TIMEOUT).then(paused.resolve, (error: unknown) => fail(problemOf(error)));

  /** Undoes the resume of the machine's own, unless somebody wants the VM to go on. */
  async function release(): Promise<void> {
    await paused.promise;
    if (isReleased) return ended.promise;
    isReleased = true;
    try {
      await machine.ask('release', { copyId }, NO_TIMEOUT);
      await ended.promise;
      image.push(null);
    } catch (error) {
      const { isCancelled } = await machine.ask('outcome', { copyId }).catch(() => ({ isCancelled: false }));
      if (!isCancelled) await machine.ask('hold', { vmId, runDir }).catch(() => undefined);
      throw fail(problemOf(error));
    }
  }

  return {
    image,
    paused: paused.promise,
    progress: () => machine.saying('progress', () => machine.ask('progress', { copyId })),
    setLimits: (next) => machine.saying('set limits', async () => void (await machine.ask('setLimits', { copyId, limits: next }))),
    /** Certain only before the first page: what is in the sockets may be all that is left. */
    async setHeld(next) {
      isHeld = next;
      if (isHeld) source?.pause();
      else if (isAskedFor || source) goOn();
      return { isHeld, isCertain: isHeld && !isStarted };
    },
    // The vCPUs of a fake VM have no speed to take away.
    setThrottle: async () => undefined,
    release,
    async close() {
      if (!isOpen) return;
      isOpen = false;
      fail('the copy was closed here');
      source?.destroy();
      await machine.ask('closeCopy', { copyId }).catch(() => undefined);
    },
  };
}
