/**
 * workflows/options.ts: how each kind of activity is called. A replay does not notice a change of
 * a timeout or of a retry limit, and a wrong one shows only when a host fails; so they are pinned.
 */
import { ActivityCancellationType, compileRetryPolicy } from '@temporalio/common';
import { msToNumber } from '@temporalio/common/lib/time.js';
import type { ActivityOptions } from '@temporalio/workflow';
import { describe, expect, it } from 'vitest';
import { closeOptions, controlOptions, copyOptions, ensureOptions, stepOptions, surveyOptions } from '../../workflows/options.js';

const [SECOND, MINUTE, HOUR] = [1000, 60_000, 3_600_000];
const WAIT = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED;
const BACKOFF = { initialIntervalMs: 200, coefficient: 2, maximumIntervalMs: 5 * SECOND };

const ms = (duration: ActivityOptions['heartbeatTimeout']) => (duration === undefined ? null : msToNumber(duration));

/** Options as the server gets them: milliseconds, and attempts where null is without limit. */
function sent(options: ActivityOptions) {
  const { initialInterval, maximumInterval, backoffCoefficient, maximumAttempts } = compileRetryPolicy(options.retry ?? {});
  const toMs = (d: typeof initialInterval) => (d ? Number(d.seconds ?? 0) * 1000 + (d.nanos ?? 0) / 1e6 : null);
  return {
    taskQueue: options.taskQueue ?? null,
    scheduleToStartMs: ms(options.scheduleToStartTimeout),
    scheduleToCloseMs: ms(options.scheduleToCloseTimeout),
    startToCloseMs: ms(options.startToCloseTimeout),
    heartbeatMs: ms(options.heartbeatTimeout),
    cancellationType: options.cancellationType ?? null,
    attempts: maximumAttempts ? maximumAttempts : null,
    backoff: { initialIntervalMs: toMs(initialInterval), coefficient: backoffCoefficient ?? null, maximumIntervalMs: toMs(maximumInterval) },
  };
}

describe('a step', () => {
  it('gives its host 10 s to take it, dies when it is silent for 5 s, is tried three times, and is waited for when cancelled', () => {
    expect(sent(stepOptions('host-a'))).toEqual({
      taskQueue: 'host-host-a', scheduleToStartMs: 10 * SECOND, scheduleToCloseMs: null, startToCloseMs: MINUTE, heartbeatMs: 5 * SECOND, cancellationType: WAIT, attempts: 3, backoff: BACKOFF,
    });
  });

  it('that ends a session is tried as often, and gives its host less time to take it', () => {
    expect(sent(closeOptions('host-a'))).toEqual({ ...sent(stepOptions('host-a')), scheduleToStartMs: 3 * SECOND });
  });

  it('that copies may last a day', () => {
    expect(sent(copyOptions('host-a'))).toEqual({
      taskQueue: 'host-host-a', scheduleToStartMs: 15 * SECOND, scheduleToCloseMs: null, startToCloseMs: 24 * HOUR, heartbeatMs: 5 * SECOND, cancellationType: WAIT, attempts: 3, backoff: BACKOFF,
    });
  });
});

describe('an undo or a forward-only step', () => {
  it('waits for its host for ever, is tried for ever, and is waited for when cancelled', () => {
    expect(sent(ensureOptions('host-a'))).toEqual({
      taskQueue: 'host-host-a', scheduleToStartMs: null, scheduleToCloseMs: null, startToCloseMs: 5 * MINUTE, heartbeatMs: 5 * SECOND, cancellationType: WAIT, attempts: null, backoff: BACKOFF,
    });
  });
});

describe('an activity without host', () => {
  it('runs on the queue of its workflow and is tried for ever', () => {
    expect(sent(controlOptions)).toEqual({
      taskQueue: null, scheduleToStartMs: null, scheduleToCloseMs: null, startToCloseMs: 30 * SECOND, heartbeatMs: 5 * SECOND, cancellationType: null, attempts: null, backoff: BACKOFF,
    });
  });
});

describe('a question that people wait for', () => {
  it('is asked once and gives its host 3 s to take it', () => {
    expect(sent(surveyOptions('host-a'))).toMatchObject({ taskQueue: 'host-host-a', scheduleToStartMs: 3 * SECOND, scheduleToCloseMs: null, startToCloseMs: 30 * SECOND, heartbeatMs: 5 * SECOND, attempts: 1 });
  });
});

describe('every kind that a host runs', () => {
  it.each([['step', stepOptions], ['copy', copyOptions], ['ensure', ensureOptions], ['survey', surveyOptions], ['close', closeOptions]] as const)('%s goes to the queue of that host and says so', (_, options) => {
    expect([options('host-a').taskQueue, options('host-b').taskQueue, options('host-b').summary]).toEqual(['host-host-a', 'host-host-b', 'on host-b']);
  });
});
