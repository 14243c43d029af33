/** Failures inside workflows: from Temporal's wrapping back to the table's rows, and out again. */
import { ActivityFailure, ApplicationFailure, TimeoutFailure, isCancellation } from '@temporalio/workflow';
import { type Failure, KororaError, failure, problemOf, refuse } from '../domain/failures.js';

/** `abortReason`: what a cancellation means here. */
export function failuresOf(error: unknown, abortReason: string): readonly [Failure, ...Failure[]] {
  if (isCancellation(error)) return [failure('ABORTED', { reason: abortReason })];
  if (error instanceof KororaError) return error.failures;
  const told = error instanceof ActivityFailure ? error.cause : error;
  if (told instanceof ApplicationFailure) {
    const [first, ...rest] = (told.details?.[0] ?? []) as Failure[];
    // A host that was told to stop only knows that it was; the reason is known here.
    if (first?.code === 'ABORTED') return [failure('ABORTED', { reason: abortReason })];
    if (first) return [first, ...rest];
  }
  return [failure('INTERNAL', { problem: problemOf(error) })];
}

/** A timeout on a host's queue means that its worker is gone: HOST_UNREACHABLE. Else the error as it is. */
export function namingHost(error: unknown, hostId: string): unknown {
  if (error instanceof ActivityFailure && error.cause instanceof TimeoutFailure) return refuse('HOST_UNREACHABLE', { host: hostId }, error);
  return error;
}

/** How a workflow fails: type = the first code, details = all failures, then what the client shows. */
export function toApplicationFailure(failures: readonly Failure[], shown: unknown = null): ApplicationFailure {
  return ApplicationFailure.create({
    type: failures[0]?.code ?? 'INTERNAL',
    message: failures.map((f) => f.message).join('; '),
    nonRetryable: true,
    details: [failures, shown],
  });
}

/** Whether a host said no, and would say so again: not that it failed, nor that it is silent. */
export function isRefusal(error: unknown): boolean {
  return error instanceof ActivityFailure && error.cause instanceof ApplicationFailure && error.cause.nonRetryable === true;
}

/** Whether it was said by the worker that has the activity, whatever that is: it lives. Not where it only timed out, or was cancelled. */
export function isAnswer(error: unknown): boolean {
  return error instanceof ActivityFailure && error.cause instanceof ApplicationFailure;
}

/** Whether an activity ended without a result, in any way; else it is a defect of the workflow. */
export function isOfActivity(error: unknown): boolean {
  return error instanceof ActivityFailure || error instanceof KororaError || isCancellation(error);
}

/** Both results, or the reasons of all that failed. */
export async function allOrReasons<A, B>(pair: readonly [Promise<A>, Promise<B>]): Promise<[A, B]> {
  const [a, b] = await Promise.allSettled(pair);
  if (a.status === 'fulfilled' && b.status === 'fulfilled') return [a.value, b.value];
  const errors = [a, b].flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
  if (errors.length === 1) throw errors[0];
  const [first, ...rest] = errors.flatMap((error) => failuresOf(error, ''));
  if (first?.code === 'ABORTED') throw errors[0];
  throw new KororaError([first ?? failure('INTERNAL', { problem: 'no reason given' }), ...rest]);
}
