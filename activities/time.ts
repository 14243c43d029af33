/** What time it is, for whether something signed has ended: the latest that the host and Temporal tell. Either can only refuse by it. */
import { Context } from '@temporalio/activity';
import type { HostServices } from './services.js';

export function timeAt({ clock }: Pick<HostServices, 'clock'>): Date {
  return new Date(Math.max(clock.now(), scheduledAtMs()));
}

/** When Temporal scheduled what runs now; 0 outside of an activity. */
function scheduledAtMs(): number {
  try {
    return Context.current().info.currentAttemptScheduledTimestampMs;
  } catch {
    return 0;
  }
}
