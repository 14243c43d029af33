/**
 * Which host owns a VM where two records do not agree: an operator fenced a host, and it came back. The owner of
 * the later epoch says so under its AK; the other gives up what it holds. Nobody else decides.
 */
import { parseDocument } from '../domain/documents.js';
import { refuse } from '../domain/failures.js';
import type { VmId } from '../domain/ids.js';
import { type Claim, ClaimStatement } from '../domain/manifest.js';
import { mayRun } from '../domain/ownership.js';
import type { HostServices } from './services.js';
import type { Settlement } from './settle.js';
import { createStatements } from './statements.js';

export function createClaims(services: HostServices, { discard }: Settlement) {
  const { hostId, ownership } = services;
  const statements = createStatements(services);

  /** What this host may claim of the VM; null where it owns nothing that a move brought it. */
  async function stateClaim({ vmId }: { readonly vmId: VmId }): Promise<ClaimStatement | null> {
    const record = await ownership.read(vmId);
    const origin = record.settled.find((s) => s.epoch === record.epoch && (s.outcome === 'accepted' || s.outcome === 'fenced'));
    if (!mayRun(record) || !origin) return null;
    const claim: Claim = { protocol: 'korora/1', purpose: 'claim', vmId, hostId, epoch: record.epoch as Claim['epoch'], migrationId: origin.migrationId };
    return { claim, quote: await statements.sign(claim) };
  }

  /** Gives up what this host holds of an earlier epoch, VM and keys included. CLAIM_UNPROVEN, OWNERSHIP_REFUSED change nothing. */
  async function yieldToClaim({ statement: received }: { readonly statement: ClaimStatement }): Promise<void> {
    const { claim, quote } = parseDocument(ClaimStatement, received, 'EVIDENCE_INVALID');
    const problem = await statements.problem(claim.hostId, claim, quote);
    if (problem) throw refuse('CLAIM_UNPROVEN', { host: claim.hostId, problem });
    await ownership.apply(claim.vmId, { type: 'learn-claim', proven: { claim, proof: 'quote' } });
    await discard(claim.vmId);
  }

  return { stateClaim, yieldToClaim };
}
