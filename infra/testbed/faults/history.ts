/** A move as its history tells it: which steps broke, and whether today's workflow code would do the same again. */
import type { Client } from '@temporalio/client';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { settleable } from '../../../domain/settleable.js';
import { built } from './built.js';

export interface StepRun {
  readonly activity: string;
  readonly queue: string;
  /** Of the attempt that ended it. */
  readonly attempts: number;
  readonly end: 'completed' | 'failed' | 'timed-out' | 'cancelled' | 'open';
  /** Null while it is open. */
  readonly endedAtMs: number | null;
}

type History = Awaited<ReturnType<ReturnType<Client['workflow']['getHandle']>['fetchHistory']>>;

export function stepsOf({ events }: History): readonly StepRun[] {
  const steps = new Map<string, { -readonly [K in keyof StepRun]: StepRun[K] }>();
  const find = (id: unknown) => steps.get(String(id));
  for (const event of events ?? []) {
    const scheduled = event.activityTaskScheduledEventAttributes;
    if (scheduled) steps.set(String(event.eventId), { activity: scheduled.activityType?.name ?? '', queue: scheduled.taskQueue?.name ?? '', attempts: 0, end: 'open', endedAtMs: null });
    const started = event.activityTaskStartedEventAttributes;
    const run = find(started?.scheduledEventId);
    if (run) run.attempts = started?.attempt ?? 0;
    const ends = [
      [event.activityTaskCompletedEventAttributes, 'completed'],
      [event.activityTaskFailedEventAttributes, 'failed'],
      [event.activityTaskTimedOutEventAttributes, 'timed-out'],
      [event.activityTaskCanceledEventAttributes, 'cancelled'],
    ] as const;
    for (const [attributes, end] of ends) {
      const ended = find(attributes?.scheduledEventId);
      if (ended) Object.assign(ended, { end, endedAtMs: Number(event.eventTime?.seconds ?? 0) * 1000 + (event.eventTime?.nanos ?? 0) / 1e6 });
    }
  }
  return [...steps.values()];
}

/** From the first step that broke to the source's word that the VM runs again; null where there was none, or no such word. */
export function msUntilResumed(steps: readonly StepRun[]): number | null {
  const broken = steps.filter(({ end }) => end !== 'completed' && end !== 'open').map(({ endedAtMs }) => endedAtMs ?? Infinity);
  const settled = steps.filter(({ activity, end }) => end === 'completed' && SETTLES_SOURCE.includes(activity)).map(({ endedAtMs }) => endedAtMs ?? -Infinity);
  return broken.length === 0 || settled.length === 0 ? null : Math.max(...settled) - Math.min(...broken);
}
const SETTLES_SOURCE = ['settleSource', 'resolveSource', 'fenceDestination'];

type Case = { readonly history: History; readonly workflowId: string };

interface Replays {
  replay(one: Case): Promise<void>;
  close(): Promise<void>;
}

let isQuiet = false;
let replays: Replays | null = null;
let lastReplay: Promise<unknown> = Promise.resolve();

/** Throws where it would not. One at a time, all by one worker, which stays until `closeReplays`: one for each history would leave its memory behind. */
export function replay(history: History, workflowId: string): Promise<void> {
  const replayed = lastReplay.then(() => (replays ??= openReplays()).replay({ history, workflowId }));
  lastReplay = replayed.catch(() => undefined);
  return replayed;
}

export async function closeReplays(): Promise<void> {
  await lastReplay;
  await replays?.close();
  replays = null;
}

function openReplays(): Replays {
  if (!isQuiet) Runtime.install({ logger: new DefaultLogger('ERROR', () => undefined) });
  isQuiet = true;
  let given = settleable<Case | null>();
  async function* cases() {
    for (;;) {
      const one = await given.promise;
      given = settleable();
      if (one === null) return;
      yield one;
    }
  }
  const results = Worker.runReplayHistories({ workflowBundle: { codePath: built('workflows/bundle.js') } }, cases());
  return {
    async replay(one) {
      given.resolve(one);
      const { value, done } = await results.next();
      if (done) throw new Error('the worker that replays has ended');
      if (value.error) throw value.error;
    },
    async close() {
      given.resolve(null);
      await results.next();
    },
  };
}
