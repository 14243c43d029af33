/**
 * How long workflows wait before they count a host as silent. A file of its own, so that a bundle for tests can have shorter
 * ones in its place (infra/testbed/quick-limits.ts); nothing at run time chooses between the two.
 */
import type { ActivityOptions } from '@temporalio/workflow';

type Duration = NonNullable<ActivityOptions['heartbeatTimeout']>;

export interface Limits {
  /** A running activity says so at least this often, or its worker counts as dead. */
  readonly heartbeat: Duration;
  /** A worker takes a step before the point of no return within this time, or it counts as gone. */
  readonly stepTaken: Duration;
  /** The same for a step that lasts as long as the copy. */
  readonly copyTaken: Duration;
  /** The same for a question that people wait for. */
  readonly surveyTaken: Duration;
  /** The longest pause between two tries of one activity. */
  readonly retryPause: Duration;
  /** A host that must answer is silent for this long before people are told. */
  readonly silence: Duration;
  /** The pause before a host is asked again that refuses to answer, or a control worker that refuses to write evidence. */
  readonly askAgain: Duration;
}

export const LIMITS: Limits = {
  heartbeat: '5 s',
  stepTaken: '10 s',
  copyTaken: '15 s',
  surveyTaken: '3 s',
  retryPause: '5 s',
  silence: '5 s',
  askAgain: '5 s',
};
