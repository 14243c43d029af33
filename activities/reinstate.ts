/** The way out where a host cannot tell whether its ownership records are its last: an operator signs that they are. */
import { refuse } from '../domain/failures.js';
import type { Finding } from '../domain/status.js';
import { admitWord } from './admission.js';
import type { HostInput } from './inputs.js';
import { createReconciliation } from './reconcile.js';
import type { HostServices } from './services.js';
import type { Settlement } from './settle.js';

export function createReinstatement(services: HostServices, settlement: Settlement) {
  const { hostId, ownership } = services;

  /** Believes the records as they are, then looks at them as a worker does when it starts. As admitWord; REINSTATEMENT_STALE, RECORD_UNREADABLE. */
  async function reinstateRecords({ reinstatement: value }: HostInput<'reinstateRecords'>): Promise<readonly Finding[]> {
    const { host, ledgerDigest } = await admitWord(services, 'korora/reinstatement', value, null);
    if (host !== hostId) throw refuse('ORDER_INVALID', { problem: `it is for ${host}` });
    if ((await ownership.doubt()) !== null || (await hasStaleRecord())) await ownership.reinstate(ledgerDigest);
    return createReconciliation(services, settlement).reconcile();
  }

  async function hasStaleRecord(): Promise<boolean> {
    const inspected = await Promise.allSettled((await ownership.list()).map((vmId) => ownership.inspect(vmId)));
    // One that cannot be read is no help to itself, and no hindrance to the others.
    return inspected.some((result) => result.status === 'fulfilled' && result.value.problem !== null);
  }

  return { reinstateRecords };
}
