/** Waiting for what a test must see before it goes on. Every wait has a limit, and says at it what it saw last. */
import { setTimeout as delay } from 'node:timers/promises';

/** Far above what any of them takes on a busy machine: a limit for what never comes. */
const LIMIT_MS = 60_000;
const POLL_MS = 50;

/** The first thing seen that `isIt`. */
export async function seen<T>(what: string, look: () => Promise<T> | T, isIt: (last: T) => boolean): Promise<T> {
  const deadline = Date.now() + LIMIT_MS;
  for (;;) {
    const last = await look();
    if (isIt(last)) return last;
    if (Date.now() > deadline) throw new Error(`waited ${LIMIT_MS / 1000} s for ${what}; saw last: ${JSON.stringify(last)}`);
    await delay(POLL_MS);
  }
}

/** `lastSeen` is asked only where it takes too long. */
export async function inTime<T>(what: string, promise: Promise<T>, lastSeen: () => unknown): Promise<T> {
  const over = new AbortController();
  const limit = delay(LIMIT_MS, undefined, { signal: over.signal }).then(async () => {
    throw new Error(`waited ${LIMIT_MS / 1000} s for ${what}; saw last: ${JSON.stringify(await lastSeen())}`);
  });
  limit.catch(() => undefined);
  try {
    return await Promise.race([promise, limit]);
  } finally {
    over.abort();
  }
}
