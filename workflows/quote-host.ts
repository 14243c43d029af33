/** Asks one host for a quote of its state; whoever asked appraises it. One host a workflow: with their boot event logs the answers of many would be too large. */
import type { HostQuestion, StateReply } from '../domain/attestation.js';
import { KororaError } from '../domain/failures.js';
import { failuresOf, toApplicationFailure } from './failures.js';
import { callsOf } from './hosts.js';

export async function quoteHost({ hostId, nonce, pcrs }: HostQuestion): Promise<StateReply> {
  try {
    return await callsOf(hostId).survey.showState({ nonce, pcrs });
  } catch (error) {
    const failures = error instanceof KororaError ? error.failures : failuresOf(error, 'it was cancelled');
    if (failures[0].code === 'INTERNAL') throw toApplicationFailure(failures);
    return { failures };
  }
}
