/**
 * The activity edge: the one place where a KororaError becomes Temporal's ApplicationFailure
 * (type = failure code, details = the failures). Nothing secret is in a failure's text.
 */
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { Context } from '@temporalio/activity';
import { type Failure, KororaError, failure, problemOf } from '../domain/failures.js';

type AsyncFunction = (...args: never[]) => Promise<unknown>;

/** Wraps every activity of a set. */
export function atTheEdge<T extends Record<string, AsyncFunction>>(activities: T): T {
  const wrapped = Object.entries(activities).map(([name, run]) => [
    name,
    async (...args: never[]) => {
      try {
        return await run(...args);
      } catch (error) {
        throw toTemporal(error);
      }
    },
  ]);
  return Object.fromEntries(wrapped) as T;
}

export function toTemporal(error: unknown): Error {
  if (error instanceof CancelledFailure || error instanceof ApplicationFailure) return error;
  const failures: readonly Failure[] = error instanceof KororaError ? error.failures : [failure('INTERNAL', { problem: problemOf(error) })];
  const isRetryable = error instanceof KororaError ? error.isRetryable : true;
  return ApplicationFailure.create({
    type: failures[0]?.code ?? 'INTERNAL',
    message: failures.map((f) => f.message).join('; '),
    nonRetryable: !isRetryable,
    details: [failures],
    ...(error instanceof Error ? { cause: error } : {}),
  });
}

/**
 * How often a long activity says that it lives; its cancellation arrives on the reply. Only one of the three that run
 * at once needs to hear of an abort soon: it ends the copy, and the other two see that.
 */
export const HEARTBEAT_MS = { soon: 200, calm: 1000 } as const;

/**
 * Runs `work` with heartbeats that carry the newest `details`; a slow answer delays no heartbeat.
 * The signal aborts when Temporal cancels the activity; `work` then ends in its own time, since the
 * VM must be brought to a known state first.
 */
export async function withHeartbeats<T>(everyMs: number, details: () => Promise<unknown>, work: (cancelled: AbortSignal) => Promise<T>): Promise<T> {
  const context = Context.current();
  let newest: unknown;
  let isAsking = false;
  const ask = async () => {
    if (isAsking) return;
    isAsking = true;
    newest = await details().catch(() => newest);
    isAsking = false;
  };
  const timer = setInterval(() => {
    context.heartbeat(newest);
    void ask();
  }, everyMs);
  try {
    return await work(context.cancellationSignal);
  } finally {
    clearInterval(timer);
  }
}
