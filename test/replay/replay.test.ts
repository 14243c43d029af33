/**
 * Recorded histories against today's workflow code: a change that would break moves which are
 * under way fails here. Recorded by `npm run histories`.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DeterminismViolationError } from '@temporalio/workflow';
import { Worker } from '@temporalio/worker';
import { expect, it } from 'vitest';
import { SCENARIOS } from '../../infra/testbed/scenarios.js';

const here = fileURLToPath(new URL('histories', import.meta.url));
const recorded = readdirSync(here).flatMap((version) => readdirSync(join(here, version)).map((file) => ({ version, name: file.replace('.json', ''), path: join(here, version, file) })));
const workflowBundle = { codePath: fileURLToPath(new URL('../../dist/workflows/bundle.js', import.meta.url)) };

interface RecordedHistory {
  events: { activityTaskScheduledEventAttributes?: { activityType: { name: string } } }[];
}
const historyOf = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as RecordedHistory;
const replay = (history: RecordedHistory) => Worker.runReplayHistory({ workflowBundle }, history, 'migrate-counter');

it('there is a history of every scenario', () => {
  expect(recorded.map((r) => r.name)).toEqual(expect.arrayContaining(SCENARIOS.map((s) => s.name)));
});

it.each(recorded)('$version $name replays', async ({ path }) => {
  const history = historyOf(path);
  expect(history.events.length).toBeGreaterThan(20);
  await replay(history);
});

it('a history in which another activity was called does not replay', async () => {
  const move = recorded.find((r) => r.name === 'move');
  const history = historyOf(move?.path ?? '');
  const wrap = history.events.find((e) => e.activityTaskScheduledEventAttributes?.activityType.name === 'wrapSecrets');
  if (!wrap?.activityTaskScheduledEventAttributes) throw new Error('the history has no wrapSecrets');
  wrap.activityTaskScheduledEventAttributes.activityType.name = 'retireSource';
  await expect(replay(history)).rejects.toThrow(DeterminismViolationError);
});
