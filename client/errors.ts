/** From what Temporal's client throws back to the failure table. */
import {
  ApplicationFailure,
  ServiceError,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
} from '@temporalio/client';
import { type Failure, KororaError, problemOf, refuse } from '../domain/failures.js';
import type { MigrationResult } from '../domain/status.js';

/** A move that failed: its failures, and its result (outcome, evidence) where it came so far. */
export class MigrationFailedError extends KororaError {
  readonly result: MigrationResult | null;
  constructor(failures: readonly [Failure, ...Failure[]], result: MigrationResult | null) {
    super(failures);
    this.result = result;
  }
}

export function fromTemporal(error: unknown, vmId: string): Error {
  if (error instanceof KororaError) return error;
  if (error instanceof WorkflowExecutionAlreadyStartedError) return refuse('MIGRATION_IN_PROGRESS', { vm: vmId }, error);
  if (error instanceof WorkflowNotFoundError) return refuse('MIGRATION_NOT_FOUND', { vm: vmId }, error);
  const told = error instanceof WorkflowFailedError || error instanceof WorkflowUpdateFailedError ? error.cause : error;
  if (told instanceof ApplicationFailure) {
    const [failures, result] = (told.details ?? []) as [readonly Failure[] | undefined, MigrationResult | null | undefined];
    const [first, ...rest] = failures ?? [];
    if (first) return new MigrationFailedError([first, ...rest], result ?? null);
  }
  if (error instanceof ServiceError) return refuse('TEMPORAL_UNREACHABLE', { address: 'its address', problem: problemOf(error.cause ?? error) }, error);
  return error instanceof Error ? error : new Error(problemOf(error));
}
