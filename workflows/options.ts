/**
 * How each kind of activity is called: which queue, how long, how often again. Replay does not
 * notice a change here; test/unit/workflow-options.test.ts does.
 */
import { ActivityCancellationType, type ActivityOptions } from '@temporalio/workflow';
import { hostQueue } from '../domain/steps.js';
import { LIMITS } from './limits.js';

/** Every activity says that it lives (activities/edge.ts): a dead worker is noticed at any step. */
const heartbeatTimeout = LIMITS.heartbeat;
const retry = { initialInterval: '200 ms', backoffCoefficient: 2, maximumInterval: LIMITS.retryPause } as const;

/** A step before the point of no return. A worker that does not take it in time is gone. */
export const stepOptions = (hostId: string): ActivityOptions => ({
  taskQueue: hostQueue(hostId),
  summary: `on ${hostId}`,
  scheduleToStartTimeout: LIMITS.stepTaken,
  startToCloseTimeout: '60 s',
  heartbeatTimeout,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { ...retry, maximumAttempts: 3 },
});

/** The end of a session, which is not waited for where a host is silent: sessions end by themselves. */
export const closeOptions = (hostId: string): ActivityOptions => ({ ...stepOptions(hostId), scheduleToStartTimeout: LIMITS.surveyTaken });

/** A step that lasts as long as the copy does. */
export const copyOptions = (hostId: string): ActivityOptions => ({
  ...stepOptions(hostId),
  scheduleToStartTimeout: LIMITS.copyTaken,
  startToCloseTimeout: '24 h',
});

/** Undo, and forward-only steps: no limit; only evidence ends them. */
export const ensureOptions = (hostId: string): ActivityOptions => ({
  taskQueue: hostQueue(hostId),
  summary: `on ${hostId}`,
  startToCloseTimeout: '5 min',
  heartbeatTimeout,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { ...retry, maximumAttempts: Number.POSITIVE_INFINITY },
});

/** Activities without a host, on the workflow's own queue. */
export const controlOptions: ActivityOptions = {
  startToCloseTimeout: '30 s',
  heartbeatTimeout,
  retry: { ...retry, maximumAttempts: Number.POSITIVE_INFINITY },
};

/** Questions that people wait for: one try. */
export const surveyOptions = (hostId: string): ActivityOptions => ({
  taskQueue: hostQueue(hostId),
  summary: `on ${hostId}`,
  scheduleToStartTimeout: LIMITS.surveyTaken,
  startToCloseTimeout: '30 s',
  heartbeatTimeout,
  retry: { maximumAttempts: 1 },
});
