/**
 * workflows/saga.ts in a real workflow: a small workflow that uses it is bundled and replayed from
 * a history made here, so no server is needed. Undos run last in first out, go on past one that
 * fails, are run once, and cannot be cancelled.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DefaultLogger, Runtime, Worker, type WorkflowBundleWithSourceMap, bundleWorkflowCode } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const saga = fileURLToPath(new URL('../../workflows/saga.ts', import.meta.url));
const packages = fileURLToPath(new URL('../../node_modules', import.meta.url));

const WORKFLOWS = `
import { CancellationScope, isCancellation, proxySinks, sleep } from '@temporalio/workflow';
import { Saga } from '${saga}';

const { told } = proxySinks();
const tell = (text) => told.tell(text);
const telling = (text) => async () => tell(text);
const names = (failed) => failed.map(({ step, error }) => step + ' (' + error.message + ')').join(', ');

export async function unwinds() {
  const saga = new Saga();
  for (const step of ['first', 'second', 'third']) {
    saga.undoWith(step, async () => {
      tell('undo ' + step);
      if (step !== 'first') throw new Error(step + ' is stuck');
      tell('undone ' + step);
    });
  }
  tell('failed: ' + names(await saga.unwind()));
  tell('again, failed: ' + names(await saga.unwind()));
}

export async function waitsForEach() {
  const saga = new Saga();
  saga.undoWith('first', telling('undo first'));
  saga.undoWith('second', async () => {
    tell('undo second');
    await Promise.resolve().then(() => Promise.resolve());
    tell('undone second');
  });
  tell('failed: ' + names(await saga.unwind()));
}

export async function isCancelled() {
  const saga = new Saga();
  saga.undoWith('slow', async () => {
    tell('undo slow');
    await sleep('1 s');
    tell('undone slow');
  });
  try {
    await sleep('1 h');
  } catch (error) {
    tell('cancelled: ' + isCancellation(error));
    tell('failed: ' + names(await saga.unwind()));
  }
}
`;

let folder: string;
let workflowBundle: WorkflowBundleWithSourceMap;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  folder = await mkdtemp(join(tmpdir(), 'korora-saga-'));
  const workflowsPath = join(folder, 'workflows.ts');
  await writeFile(workflowsPath, WORKFLOWS);
  workflowBundle = await bundleWorkflowCode({
    workflowsPath,
    logger: new DefaultLogger('ERROR', () => undefined),
    webpackConfigHook: (config) => ({ ...config, resolve: { ...config.resolve, modules: [...(config.resolve?.modules ?? []), packages] } }),
  });
});
afterAll(() => rm(folder, { recursive: true }));

type Event = Readonly<Record<string, unknown>>;
const event = (type: string, attributes: string, value: object): Event => ({ eventType: `EVENT_TYPE_${type}`, [`${attributes}EventAttributes`]: value });
/** The three events of a workflow task of which the first has this number. */
const task = (first: number): Event[] => [
  event('WORKFLOW_TASK_SCHEDULED', 'workflowTaskScheduled', { taskQueue: { name: 'saga' } }),
  event('WORKFLOW_TASK_STARTED', 'workflowTaskStarted', { scheduledEventId: String(first) }),
  event('WORKFLOW_TASK_COMPLETED', 'workflowTaskCompleted', { scheduledEventId: String(first), startedEventId: String(first + 1), sdkMetadata: { coreUsedFlags: [1, 2, 3], langUsedFlags: [1, 2, 3, 4] } }),
];
const started = (name: string) =>
  event('WORKFLOW_EXECUTION_STARTED', 'workflowExecutionStarted', { workflowType: { name }, taskQueue: { name: 'saga' }, originalExecutionRunId: 'run', firstExecutionRunId: 'run', attempt: 1, workflowTaskTimeout: '10s' });
const completed = event('WORKFLOW_EXECUTION_COMPLETED', 'workflowExecutionCompleted', {});

/** What the workflow tells while it is replayed; rejects where it does not do what the history says. */
async function replayed(name: string, rest: readonly Event[]): Promise<string[]> {
  const heard: string[] = [];
  const tell = { fn: (_: unknown, text: string) => void heard.push(text), callDuringReplay: true };
  const events = [started(name), ...rest].map((e, i) => ({ eventId: String(i + 1), eventTime: `2026-01-01T00:00:${String(i).padStart(2, '0')}Z`, ...e }));
  await Worker.runReplayHistory({ workflowBundle, sinks: { told: { tell } } }, { events }, 'saga');
  return heard;
}

describe('a saga', () => {
  it('undoes last in first out, goes on past an undo that fails, says which failed, and undoes once', async () => {
    expect(await replayed('unwinds', [...task(2), completed])).toEqual([
      'undo third', 'undo second', 'undo first', 'undone first', 'failed: third (third is stuck), second (second is stuck)', 'again, failed: ',
    ]);
  });

  it('waits for each undo before the next', async () => {
    expect(await replayed('waitsForEach', [...task(2), completed])).toEqual(['undo second', 'undone second', 'undo first', 'failed: ']);
  });

  it('unwinds to its end in a workflow that is cancelled', async () => {
    const heard = await replayed('isCancelled', [
      ...task(2),
      event('TIMER_STARTED', 'timerStarted', { timerId: '1', startToFireTimeout: '3600s', workflowTaskCompletedEventId: '4' }),
      event('WORKFLOW_EXECUTION_CANCEL_REQUESTED', 'workflowExecutionCancelRequested', {}),
      ...task(7),
      event('TIMER_CANCELED', 'timerCanceled', { timerId: '1', startedEventId: '5', workflowTaskCompletedEventId: '9' }),
      event('TIMER_STARTED', 'timerStarted', { timerId: '2', startToFireTimeout: '1s', workflowTaskCompletedEventId: '9' }),
      event('TIMER_FIRED', 'timerFired', { timerId: '2', startedEventId: '11' }),
      ...task(13),
      completed,
    ]);
    expect(heard).toEqual(['cancelled: true', 'undo slow', 'undone slow', 'failed: ']);
  });
});
