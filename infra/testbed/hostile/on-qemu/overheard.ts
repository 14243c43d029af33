/** What goes through Temporal, as whoever owns it reads it: arguments and answers of activities, from the histories of honest workflows, also while they run. */
import type { Client } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { settleable } from '../../../../domain/settleable.js';
import { Loot } from '../loot.js';
import { CALLS } from './caller.js';

type Page = Awaited<ReturnType<Client['workflowService']['getWorkflowExecutionHistory']>>;
type Event = NonNullable<NonNullable<Page['history']>['events']>[number];
type Payloads = NonNullable<Event['activityTaskCompletedEventAttributes']>['result'];

const ALL_EVENTS = 1;
const HOST_QUEUE = /^host-/;

export interface Listening {
  /** Resolves once what the workflow was started with is known. */
  readonly started: Promise<void>;
  /** Resolves with the id of the activity once the workflow asks for it; null where it ended, and never did. */
  asks(activity: string): Promise<string | null>;
  /** Resolves once the workflow has ended and everything of it was read. */
  readonly over: Promise<void>;
}

/** Of one run of a workflow, from its beginning; all of it goes to the `ears`. */
export function listen(client: Client, workflowId: string, runId: string, ears: readonly Loot[]): Listening {
  const asked = new Map<string, string>();
  const waiting = new Map<string, ((activityId: string | null) => void)[]>();
  const started = settleable<void>();
  let isOver = false;
  const over = readOn().finally(() => {
    isOver = true;
    started.resolve();
    for (const one of [...waiting.values()].flat()) one(null);
  });
  over.catch(() => undefined);
  return {
    started: started.promise,
    over,
    asks: (activity) => {
      const known = asked.get(activity);
      if (known !== undefined || isOver) return Promise.resolve(known ?? null);
      return new Promise((resolve) => waiting.set(activity, [...(waiting.get(activity) ?? []), resolve]));
    },
  };

  async function readOn(): Promise<void> {
    const reader = readerFor(ears);
    let nextPageToken: Uint8Array | null = null;
    do {
      const page: Page = await client.workflowService.getWorkflowExecutionHistory({
        namespace: client.options.namespace, execution: { workflowId, runId }, waitNewEvent: true, historyEventFilterType: ALL_EVENTS, ...(nextPageToken ? { nextPageToken } : {}),
      });
      for (const event of page.history?.events ?? []) {
        reader(event);
        started.resolve();
        const { activityType, activityId } = event.activityTaskScheduledEventAttributes ?? {};
        if (!activityType?.name || !activityId) continue;
        asked.set(activityType.name, activityId);
        for (const one of waiting.get(activityType.name) ?? []) one(activityId);
        waiting.delete(activityType.name);
      }
      nextPageToken = page.nextPageToken;
    } while (nextPageToken.length > 0);
  }
}

/** Everything that went through Temporal so far, oldest workflow first, but for his own calls. */
export async function readAll(client: Client): Promise<Loot> {
  const loot = new Loot();
  const runs: { readonly workflowId: string; readonly runId: string; readonly at: number }[] = [];
  for await (const { workflowId, runId, type, startTime } of client.workflow.list()) if (type !== CALLS) runs.push({ workflowId, runId, at: startTime.getTime() });
  for (const { workflowId, runId } of runs.sort((a, b) => a.at - b.at)) {
    const reader = readerFor([loot]);
    const { events } = await client.workflow.getHandle(workflowId, runId).fetchHistory();
    events?.forEach(reader);
  }
  return loot;
}

function readerFor(ears: readonly Loot[]): (event: Event) => void {
  return ({ workflowExecutionStartedEventAttributes: start, activityTaskScheduledEventAttributes: scheduled, activityTaskCompletedEventAttributes: completed, workflowExecutionUpdateAcceptedEventAttributes: update }) => {
    const queue = scheduled?.taskQueue?.name ?? '';
    for (const one of ears) {
      if (start) one.answered(valueOf(start.input));
      if (update) one.answered(valueOf(update.acceptedRequest?.input?.args));
      if (scheduled && HOST_QUEUE.test(queue)) one.asked(queue.replace(HOST_QUEUE, ''), scheduled.activityType?.name ?? '', valueOf(scheduled.input));
      if (completed) one.answered(valueOf(completed.result));
    }
  };
}

function valueOf(payloads: Payloads): unknown {
  const [payload] = payloads?.payloads ?? [];
  return payload ? defaultPayloadConverter.fromPayload(payload) : undefined;
}
