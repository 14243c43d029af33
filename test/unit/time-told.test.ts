/** activities/time.ts: the time by which what was signed has ended, whatever Temporal tells. */
import activity from '@temporalio/activity';
import { expect, it } from 'vitest';
import { timeAt } from '../../activities/time.js';

const NOW = Date.parse('2029-06-01T00:00:00Z');
const told = (currentAttemptScheduledTimestampMs: number | undefined) =>
  activity.asyncLocalStorage.run({ info: { currentAttemptScheduledTimestampMs } } as activity.Context, () => timeAt({ clock: { now: () => NOW } }));

it('is the later one of the host’s and Temporal’s', () => {
  expect([told(NOW - 1).getTime(), told(NOW + 1).getTime()]).toEqual([NOW, NOW + 1]);
});

it('is the host’s outside of an activity', () => {
  expect(timeAt({ clock: { now: () => NOW } }).getTime()).toBe(NOW);
});

it.each([9e18, Number.POSITIVE_INFINITY, Number.NaN, undefined])('is after the end of every order where Temporal tells %s, which is no time', (ms) => {
  expect(told(ms) > new Date('9999-12-31T23:59:59Z')).toBe(true);
});
