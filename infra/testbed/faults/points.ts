/**
 * The words between a faulty worker (infra/testbed/faults/*-worker.ts) and the harness that it asks. One line of
 * JSON each way over a unix socket; the worker waits at a point until the answer comes, so that whatever the
 * harness does meanwhile (a kill, an abort) happens exactly there.
 */
import type { OwnershipEvent } from '../../../domain/ownership.js';

/** A write is named by its event; the two verdicts that a source may learn are two names. */
export type WriteName = Exclude<OwnershipEvent['type'], 'learn-verdict'> | 'learn-accepted' | 'learn-rejected';
export type MessageName = 'connect' | 'accept' | 'first-data' | 'manifest' | 'verdict';

/**
 * `activity`: an activity. `write`: an event that is applied to the ownership record. `message`: a message of the
 * channel, or a wait for one.
 */
export interface Point {
  readonly kind: 'activity' | 'write' | 'message';
  /** The host, or `control`. */
  readonly on: string;
  readonly name: string;
  /** `failed`: of an activity, in the place of `after`. Whatever is answered, it has failed. */
  readonly at: 'before' | 'after' | 'failed';
  /** Of an activity: Temporal's count. 1 elsewhere. */
  readonly attempt: number;
}

/**
 * `fail`, `fail-retryable`: instead of the effect, or of what comes after it. `twice`, after: does the thing again and gives the
 * second result. `mute`, before an activity: no heartbeat leaves it until it has ended.
 */
export const ANSWERS = ['pass', 'fail', 'fail-retryable', 'twice', 'mute'] as const;
export type Answer = (typeof ANSWERS)[number];

export interface Question {
  readonly id: number;
  readonly point: Point;
}
export interface Reply {
  readonly id: number;
  readonly answer: Answer;
}

/** What stands in the message of every injected failure. */
export const INJECTED = 'injected by the fault matrix';
