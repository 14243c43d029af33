/**
 * Waiting for something to become so, or for an answer: no longer than a limit, and at that with words for what was waited for
 * and what was seen last. Everything here that waits waits so, since a test runner's own limit tells nothing of either.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { problemOf } from '../../domain/failures.js';

export interface UntilOptions<T> {
  /** Shorter than what a test may take. */
  readonly limitMs?: number;
  readonly everyMs?: number;
  /** What was seen last, for people; undefined where no look has come back. Asked at the limit only. */
  readonly tell?: (seen: T | undefined) => string | Promise<string>;
}

const LIMIT_MS = 45_000;
const EVERY_MS = 20;
/** At most: a look that is under way at the limit has as long again to come back, and so has what is then to be told. */
const LAST_LOOK_MS = 5_000;
const TOLD_CHARACTERS = 1_000;

const LATE = Symbol('late');

/** Looks, again and again, and resolves with the first that `isThere`. Rejects with what `look` throws, and at the limit. */
export async function until<T, There extends T = T>(what: string, look: () => T | Promise<T>, isThere: ((seen: T) => seen is There) | ((seen: T) => boolean), options: UntilOptions<T> = {}): Promise<There> {
  const { limitMs = LIMIT_MS, everyMs = EVERY_MS, tell = inWords } = options;
  const endMs = performance.now() + limitMs;
  const lastLookMs = Math.min(LAST_LOOK_MS, limitMs);
  let last: T | undefined;
  for (;;) {
    const seen = await within(endMs - performance.now() + lastLookMs, look());
    if (seen !== LATE) {
      last = seen;
      if (isThere(seen)) return seen as There;
    }
    const leftMs = endMs - performance.now();
    if (seen === LATE || leftMs <= 0) throw new Error(`waited ${limitMs / 1000} s in vain for ${what}; last seen: ${await told(() => tell(last))}`);
    await delay(Math.min(everyMs, leftMs));
  }
}

/** Resolves with what `work` does; as `until`, for what is asked once. */
export function answered<T>(what: string, work: Promise<T>, options: UntilOptions<T> = {}): Promise<T> {
  return until(what, () => work, () => true, options);
}

async function within<T>(limitMs: number, work: T | Promise<T>): Promise<T | typeof LATE> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<typeof LATE>((resolve) => {
    timer = setTimeout(() => resolve(LATE), limitMs);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** Whoever is asked may be what does not answer. */
async function told(tell: () => string | Promise<string>): Promise<string> {
  const asked = (async () => tell())().catch((error: unknown) => `nobody can tell: ${problemOf(error)}`);
  const text = await within(LAST_LOOK_MS, asked);
  return text === LATE ? 'nobody tells' : text;
}

/** Text by its end, which is the newest. */
function inWords(seen: unknown): string {
  if (seen === undefined) return 'nothing';
  return typeof seen === 'string' ? `…${seen.slice(-TOLD_CHARACTERS)}` : inspect(seen, { depth: 6, breakLength: Infinity }).slice(0, TOLD_CHARACTERS);
}
