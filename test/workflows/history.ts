/** A workflow's history as what it had its hosts do, in which order, and when something first went wrong. */
import type { Client } from '@temporalio/client';
import { hostQueue } from '../../domain/steps.js';
import type { Place } from './stage.js';

export interface Scheduled {
  readonly on: Place;
  readonly activity: string;
  /** After something first went wrong: a try that was the last one, a cancellation, an abort. */
  readonly isAfter: boolean;
  /** Whether the workflow asked for its end. */
  readonly isCancelled: boolean;
}

type History = Awaited<ReturnType<ReturnType<Client['workflow']['getHandle']>['fetchHistory']>>;

export function scheduledIn({ events }: History, { source, destination }: { readonly source: string; readonly destination: string }): readonly Scheduled[] {
  const places: ReadonlyMap<string, Place> = new Map([[hostQueue(source), 'source'], [hostQueue(destination), 'destination']]);
  const cancelled = new Set((events ?? []).flatMap((event) => (event.activityTaskCancelRequestedEventAttributes ? [String(event.activityTaskCancelRequestedEventAttributes.scheduledEventId)] : [])));
  const scheduled: Scheduled[] = [];
  let isAfter = false;
  for (const event of events ?? []) {
    const isEndOfAll = event.workflowExecutionUpdateAcceptedEventAttributes?.acceptedRequest?.input?.name === 'abort';
    const isBroken = event.activityTaskFailedEventAttributes ?? event.activityTaskTimedOutEventAttributes ?? event.activityTaskCanceledEventAttributes ?? event.workflowExecutionCancelRequestedEventAttributes;
    if (isEndOfAll || isBroken) isAfter = true;
    const started = event.activityTaskScheduledEventAttributes;
    if (!started) continue;
    const on = places.get(started.taskQueue?.name ?? '') ?? 'control';
    scheduled.push({ on, activity: started.activityType?.name ?? '', isAfter, isCancelled: cancelled.has(String(event.eventId)) });
  }
  return scheduled;
}

export const named = ({ on, activity }: { readonly on: string; readonly activity: string }): string => `${on}: ${activity}`;
