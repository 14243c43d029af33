/** How a host is, for whoever asks: a quote over a statement that opens nothing. Reads only; asks for nobody's word. */
import type { HostState, StateStatement } from '../domain/attestation.js';
import { digestOf } from '../domain/canonical.js';
import { shownEventLog } from './event-log.js';
import type { HostInput } from './inputs.js';
import type { HostServices } from './services.js';

export function createStateActivities(services: HostServices) {
  const { hostId, tpm } = services;

  async function showState({ nonce, pcrs }: HostInput<'showState'>): Promise<HostState> {
    const statement: StateStatement = { protocol: 'korora/1', purpose: 'state', hostId, nonce };
    await tpm.ensureAttestationKey();
    const { pcrValues, ...quote } = await tpm.quote(pcrs, Buffer.from(digestOf(statement), 'hex'));
    return { statement, quote, pcrValues, eventLog: await shownEventLog(services) };
  }

  return { showState };
}
