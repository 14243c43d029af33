/**
 * What time it is, for whether something signed has ended: the latest that the host and Temporal tell. Either can only refuse by it. What a host forgets because
 * its time is over it forgets by its own clock alone: Temporal could have it forgotten that an order was used.
 */
import { Context } from '@temporalio/activity';
import type { HostServices } from './services.js';

/** The last time that a Date can hold. */
const END_OF_TIME_MS = 8.64e15;

export function timeAt({ clock }: Pick<HostServices, 'clock'>): Date {
  const toldMs = scheduledAtMs();
  // What is no time lets nothing through.
  return new Date(toldMs <= END_OF_TIME_MS ? Math.max(clock.now(), toldMs) : END_OF_TIME_MS);
}

/** When Temporal scheduled what runs now; 0 outside of an activity. */
function scheduledAtMs(): number {
  try {
    return Context.current().info.currentAttemptScheduledTimestampMs;
  } catch {
    return 0;
  }
}
