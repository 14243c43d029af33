/**
 * The sending side of a move inside the fake machine: rounds over dirty pages, the pause, the tail, as QEMU does it.
 *
 *   opened ─stream()─► rounds ─► held ─release()─► sending ─► completed
 *                        └────────┴──────────────────┴──► failed, cancelled: the guest goes on by itself
 *
 * A reader that goes is noticed by the next write: at once in the rounds, at release() where the tail is held.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { problemOf } from '../../domain/failures.js';
import type { CopyLimits, CopyProgress } from '../../domain/progress.js';
import { settleable } from '../../domain/settleable.js';
import { encodeRecord } from './image.js';
import type { Memory } from './memory.js';
import { PAGE_BYTES } from './settings.js';

const PAGES_PER_WRITE = 16;

export interface CopySource {
  readonly memory: Memory;
  readonly header: Buffer;
  /** Stops the guest; resolves when no tick is under way. */
  halt(): Promise<void>;
  /** Runs it again where it ran before. */
  goOn(): Promise<void>;
  /** Device state, the vTPM's among it. */
  tail(): readonly Buffer[];
  /** Lets the disks go: all was sent. */
  letGo(): Promise<void>;
}

export interface Copy {
  readonly isUnderWay: boolean;
  readonly isCompleted: boolean;
  /** Ended by cancel(), not by something that broke. */
  readonly isCancelled: boolean;
  readonly paused: Promise<{ readonly stoppedAtMs: number }>;
  /** Resolves when the guest is what it is to be after this copy. */
  readonly settled: Promise<void>;
  /** Sends the image; never rejects. */
  stream(socket: Socket): Promise<void>;
  release(): Promise<void>;
  cancel(problem: string): Promise<void>;
  setLimits(limits: CopyLimits): void;
  progress(): CopyProgress;
}

type Phase = 'opened' | 'rounds' | 'held' | 'sending' | 'completed' | 'failed';

export function createCopy(source: CopySource, firstLimits: CopyLimits): Copy {
  const { memory } = source;
  const paused = settleable<{ readonly stoppedAtMs: number }>();
  const completed = settleable<void>();
  const settled = settleable<void>();
  const over = new AbortController();
  let limits = firstLimits;
  let phase: Phase = 'opened';
  let out: Socket | null = null;
  let startedAtMs = 0;
  let endedAtMs: number | null = null;
  let isCancelled = false;
  let round = 1;
  let sentBytes = 0;
  let unsentPages = 0;
  let dirtyBytesPerSecond: number | null = null;

  async function stream(socket: Socket): Promise<void> {
    if (phase !== 'opened') return void socket.destroy();
    [phase, out, startedAtMs] = ['rounds', socket, performance.now()];
    socket.on('error', () => undefined); // its close follows
    socket.once('close', () => {
      if (phase === 'rounds' || phase === 'sending') void fail('the reader of the image is gone');
    });
    try {
      memory.takeDirty();
      await write(source.header);
      await rounds();
      await source.halt();
      if (phase !== 'rounds') return;
      phase = 'held';
      paused.resolve({ stoppedAtMs: performance.timeOrigin + performance.now() });
    } catch (error) {
      await fail(problemOf(error));
    }
  }

  /** Until what is left fits into the planned pause at the measured rate. */
  async function rounds(): Promise<void> {
    let pages: readonly number[] = Array.from({ length: memory.pages }, (_, page) => page);
    for (;;) {
      const beganAtMs = performance.now();
      await sendPages(pages, () => limits.bandwidthBytesPerSecond);
      const tookMs = Math.max(0.01, performance.now() - beganAtMs);
      dirtyBytesPerSecond = (memory.dirtyPages * PAGE_BYTES * 1000) / tookMs;
      const bytesPerMs = Math.max(1, pages.length) * PAGE_BYTES / tookMs;
      if (memory.dirtyPages * PAGE_BYTES <= bytesPerMs * limits.downtimeLimitMs) return;
      pages = memory.takeDirty();
      round += 1;
    }
  }

  async function sendPages(pages: readonly number[], bytesPerSecond: () => number | null): Promise<void> {
    for (let first = 0; first < pages.length; first += PAGES_PER_WRITE) {
      unsentPages = pages.length - first;
      const some = pages.slice(first, first + PAGES_PER_WRITE);
      const limit = bytesPerSecond();
      if (limit !== null) await wait((some.length * PAGE_BYTES * 1000) / limit, undefined, { signal: over.signal });
      await write(Buffer.concat(some.map((page) => encodeRecord.page(page, memory.read(page)))));
    }
    unsentPages = 0;
  }

  async function write(bytes: Buffer): Promise<void> {
    over.signal.throwIfAborted();
    if (!out || out.destroyed) throw new Error('the reader of the image is gone');
    sentBytes += bytes.length;
    if (!out.write(bytes)) await once(out, 'drain', { signal: over.signal });
  }

  async function release(): Promise<void> {
    if (phase !== 'held') throw new Error(`a copy that is ${phase} has no tail to send`);
    phase = 'sending';
    try {
      await sendPages(memory.takeDirty(), () => null);
      for (const part of [...source.tail(), encodeRecord.end()]) await write(part);
      out?.end();
      if (out) await once(out, 'finish', { signal: over.signal });
      phase = 'completed';
      endedAtMs = performance.now();
      await source.letGo();
      completed.resolve();
      settled.resolve();
    } catch (error) {
      await fail(problemOf(error));
    }
    await completed.promise;
  }

  async function fail(problem: string): Promise<void> {
    if (phase === 'failed' || phase === 'completed') return settled.promise;
    phase = 'failed';
    endedAtMs = performance.now();
    over.abort();
    out?.destroy();
    await source.goOn().catch((error: unknown) => void process.stderr.write(`the guest does not go on: ${problemOf(error)}\n`));
    paused.reject(new Error(problem));
    completed.reject(new Error(problem));
    settled.resolve();
  }

  return {
    get isUnderWay() {
      return phase === 'rounds' || phase === 'held' || phase === 'sending';
    },
    get isCompleted() {
      return phase === 'completed';
    },
    paused: paused.promise,
    get isCancelled() {
      return isCancelled;
    },
    settled: settled.promise,
    stream,
    release,
    cancel(problem) {
      if (phase !== 'failed' && phase !== 'completed') isCancelled = true;
      return fail(problem);
    },
    setLimits: (next) => void (limits = next),
    progress: () => ({
      round,
      sentBytes,
      remainingBytes: phase === 'opened' || phase === 'completed' ? 0 : (unsentPages + memory.dirtyPages) * PAGE_BYTES,
      totalBytes: phase === 'opened' ? 0 : memory.pages * PAGE_BYTES,
      dirtyBytesPerSecond,
      throttlePercent: null,
      elapsedMs: phase === 'opened' ? 0 : (endedAtMs ?? performance.now()) - startedAtMs,
    }),
  };
}
