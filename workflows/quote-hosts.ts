/** Asks hosts for quotes of their state, each for a nonce of its own; whoever asked appraises them. */
import type { StateQuestion, StateReply } from '../domain/attestation.js';
import { KororaError } from '../domain/failures.js';
import type { HostId } from '../domain/ids.js';
import { failuresOf, toApplicationFailure } from './failures.js';
import { callsOf } from './hosts.js';

/** In the order of the questions. */
export async function quoteHosts({ questions }: { readonly questions: readonly (StateQuestion & { readonly hostId: HostId })[] }): Promise<readonly StateReply[]> {
  try {
    return await Promise.all(questions.map(askOne));
  } catch (error) {
    throw toApplicationFailure(failuresOf(error, 'it was cancelled'));
  }
}

async function askOne({ hostId, nonce, pcrs }: StateQuestion & { readonly hostId: HostId }): Promise<StateReply> {
  try {
    return await callsOf(hostId).survey.showState({ nonce, pcrs });
  } catch (error) {
    if (error instanceof KororaError) return { failures: error.failures };
    throw error;
  }
}
