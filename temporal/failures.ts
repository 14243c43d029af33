/** Where a KororaError becomes Temporal's ApplicationFailure: type = failure code, details = the failures. Nothing secret is in a failure's text. */
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { type Failure, KororaError, failure, problemOf } from '../domain/failures.js';

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
