/** Asks hosts what they are and which VMs they have. A host that does not answer is said to be unreachable, not absent. */
import { KororaError } from '../domain/failures.js';
import type { HostId } from '../domain/ids.js';
import type { HostSurvey } from '../domain/status.js';
import { failuresOf, toApplicationFailure } from './failures.js';
import { callsOf } from './hosts.js';

export async function surveyHosts({ hostIds }: { readonly hostIds: readonly HostId[] }): Promise<readonly HostSurvey[]> {
  try {
    return await Promise.all(hostIds.map(surveyOne));
  } catch (error) {
    throw toApplicationFailure(failuresOf(error, 'it was cancelled'));
  }
}

async function surveyOne(hostId: HostId): Promise<HostSurvey> {
  try {
    return await callsOf(hostId).survey.surveyHost();
  } catch (error) {
    if (error instanceof KororaError && error.code === 'HOST_UNREACHABLE') return { hostId, reachable: false };
    throw error;
  }
}
