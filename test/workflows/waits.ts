/** Waiting in this suite, by infra/testbed/until.ts: with a limit far above what anything here takes on a busy machine. */
import { inspect } from 'node:util';
import { answered, until } from '../../infra/testbed/until.js';

const LIMIT_MS = 60_000;

/** The first thing seen that `isIt`. */
export function seen<T>(what: string, look: () => Promise<T> | T, isIt: (last: T) => boolean): Promise<T> {
  return until(what, look, isIt, { limitMs: LIMIT_MS, everyMs: 50 });
}

/** `lastSeen` is asked only where it takes too long. */
export function inTime<T>(what: string, promise: Promise<T>, lastSeen: () => unknown): Promise<T> {
  return answered(what, promise, { limitMs: LIMIT_MS, tell: async () => inspect(await lastSeen(), { depth: 6, breakLength: Infinity }) });
}
