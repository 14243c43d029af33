/** Asks hosts what they are and which VMs they have. A host that does not answer is said to be unreachable, not absent. And asks one host for what somebody is about to sign by. */
import { KororaError } from '../domain/failures.js';
import type { HostId } from '../domain/ids.js';
import type { HostSurvey } from '../domain/status.js';
import type { QuotedSurvey, SurveyQuestionTo } from '../domain/survey.js';
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

/** Under the host's AK; whoever asked checks that. */
export async function showSurvey({ hostId, nonce, pcrs, vmId }: SurveyQuestionTo): Promise<QuotedSurvey> {
  try {
    return await callsOf(hostId).survey.showSurvey({ nonce, pcrs, vmId });
  } catch (error) {
    throw toApplicationFailure(failuresOf(error, 'it was cancelled'));
  }
}
