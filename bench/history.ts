/**
 * What a finished move left in its workflow's history, as spans of time. Times are the Temporal
 * server's: scheduled when it wrote the workflow's wish down, started when it gave the task to a
 * worker, completed when the worker's answer arrived.
 */
import type { WorkflowHandle } from '@temporalio/client';
import type { HostId } from '../domain/ids.js';
import { hostQueue } from '../domain/steps.js';

export interface ActivitySpan {
  readonly activity: string;
  readonly on: 'source' | 'destination' | 'control';
  readonly scheduledAtMs: number;
  readonly startedAtMs: number;
  readonly completedAtMs: number;
}

export interface MoveHistory {
  readonly startedAtMs: number;
  readonly completedAtMs: number;
  /** In the order in which they started. */
  readonly spans: readonly ActivitySpan[];
}

/** A stretch in which no activity ran: Temporal and its workers between two steps. */
export interface Gap {
  readonly between: string;
  readonly ms: number;
}

type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>;
type Timestamp = NonNullable<NonNullable<History['events']>[number]['eventTime']>;

export function readHistory({ events }: History, { source, destination }: { readonly source: HostId; readonly destination: HostId }): MoveHistory {
  const all = events ?? [];
  const timeOf = (id: unknown) => msOf(all.find((event) => String(event.eventId) === String(id))?.eventTime);
  const sideOf = (queue: string | null | undefined) => (queue === hostQueue(source) ? 'source' : queue === hostQueue(destination) ? 'destination' : 'control');
  const spans = all.flatMap(({ activityTaskCompletedEventAttributes: completed, eventTime }): ActivitySpan[] => {
    if (!completed) return [];
    const scheduled = all.find((event) => String(event.eventId) === String(completed.scheduledEventId));
    const attributes = scheduled?.activityTaskScheduledEventAttributes;
    return [
      {
        activity: attributes?.activityType?.name ?? '?',
        on: sideOf(attributes?.taskQueue?.name),
        scheduledAtMs: msOf(scheduled?.eventTime),
        startedAtMs: timeOf(completed.startedEventId),
        completedAtMs: msOf(eventTime),
      },
    ];
  });
  spans.sort((a, b) => a.startedAtMs - b.startedAtMs);
  return { startedAtMs: msOf(all.at(0)?.eventTime), completedAtMs: msOf(all.at(-1)?.eventTime), spans };
}

/** Every stretch without a running activity, from the workflow's start to its end. */
export function gapsOf({ startedAtMs, completedAtMs, spans }: MoveHistory): Gap[] {
  const gaps: Gap[] = [];
  let reachedMs = startedAtMs;
  let before = 'start';
  for (const span of spans) {
    if (span.startedAtMs > reachedMs) gaps.push({ between: `${before} → ${span.activity}`, ms: span.startedAtMs - reachedMs });
    if (span.completedAtMs > reachedMs) [reachedMs, before] = [span.completedAtMs, span.activity];
  }
  gaps.push({ between: `${before} → end`, ms: Math.max(0, completedAtMs - reachedMs) });
  return gaps;
}

/** Workflow duration minus the time in which at least one activity ran. */
export function temporalMsOf(history: MoveHistory): number {
  return gapsOf(history).reduce((sum, gap) => sum + gap.ms, 0);
}

export function msOf(time: Timestamp | null | undefined): number {
  return time ? Number(String(time.seconds ?? 0)) * 1000 + (time.nanos ?? 0) / 1e6 : Number.NaN;
}
