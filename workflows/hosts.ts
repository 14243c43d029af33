/** The activities of one host as a workflow calls them; every timeout names the host. */
import { type ActivityOptions, proxyActivities } from '@temporalio/workflow';
import type { HostActivities } from '../activities/index.js';
import { namingHost } from './failures.js';
import { closeOptions, copyOptions, ensureOptions, stepOptions, surveyOptions } from './options.js';

export interface HostCalls {
  readonly step: HostActivities;
  readonly copy: HostActivities;
  readonly ensure: HostActivities;
  readonly survey: HostActivities;
  readonly close: Pick<HostActivities, 'closeSession'>;
}

export function callsOf(hostId: string): HostCalls {
  const calls = (options: (hostId: string) => ActivityOptions) => namedCalls(hostId, options(hostId));
  return { step: calls(stepOptions), copy: calls(copyOptions), ensure: calls(ensureOptions), survey: calls(surveyOptions), close: calls(closeOptions) };
}

function namedCalls(hostId: string, options: ActivityOptions): HostActivities {
  const activities = proxyActivities<HostActivities>(options) as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  return new Proxy(activities, {
    get: (target, name: string) => async (...args: unknown[]) => {
      try {
        return await target[name]?.(...args);
      } catch (error) {
        throw namingHost(error, hostId);
      }
    },
  }) as unknown as HostActivities;
}
