/**
 * Which host owns a VM where two records do not agree: an operator fenced a host, and it came back; or a host's records came back from a backup. The host that
 * owned a later epoch says so under its AK, and shows what an operator signed that made it so; the other gives up what it holds. Nobody else decides.
 */
import { openSigned } from '../domain/authority.js';
import { type Envelope, PAYLOAD_TYPES } from '../domain/envelope.js';
import { KororaError, refuse } from '../domain/failures.js';
import type { HostId } from '../domain/ids.js';
import type { Claim, ClaimStatement } from '../domain/manifest.js';
import type { Fence, Order } from '../domain/order.js';
import type { Settlement as SettledMove } from '../domain/ownership.js';
import { openHere } from './admission.js';
import type { HostInput } from './inputs.js';
import type { HostServices } from './services.js';
import type { Settlement } from './settle.js';
import { createStatements } from './statements.js';

export function createClaims(services: HostServices, { discard, keptUntil }: Settlement) {
  const { hostId, ownership } = services;
  const statements = createStatements(services);

  /** The latest epoch that this host owned by a move from that host, or by a fence of it; null where there is none. */
  async function stateClaim({ vmId, against }: HostInput<'stateClaim'>): Promise<ClaimStatement | null> {
    const { settled } = await ownership.read(vmId);
    const [latest] = settled.filter((one) => isAgainst(one, against)).sort((a, b) => b.epoch - a.epoch);
    if (!latest?.authority) return null;
    const claim: Claim = { protocol: 'korora/1', purpose: 'claim', vmId, hostId, epoch: latest.epoch as Claim['epoch'], migrationId: latest.migrationId };
    return { claim, quote: await statements.sign(claim), authority: latest.authority };
  }

  /** Gives up what this host holds of an earlier epoch: it stops. What it had stays on its disk for as long as the bundle says. CLAIM_UNPROVEN, OWNERSHIP_REFUSED change nothing. */
  async function yieldToClaim({ statement: { claim, quote, authority: envelope } }: HostInput<'yieldToClaim'>): Promise<void> {
    const unproven = (problem: string) => refuse('CLAIM_UNPROVEN', { host: claim.hostId, problem });
    const authority = await authorityIn(envelope).catch((error: unknown) => {
      throw error instanceof KororaError && !error.code.startsWith('BUNDLE') ? unproven(error.message) : error;
    });
    const problem = await statements.problem(claim.hostId, claim, quote, null);
    if (problem) throw unproven(problem);
    await ownership.apply(claim.vmId, { type: 'learn-claim', proven: { claim, authority, proof: 'quote' }, keptUntil: await keptUntil() });
    await discard(claim.vmId);
  }

  async function authorityIn(envelope: ClaimStatement['authority']): Promise<Fence | Order> {
    const kind = isFence(envelope) ? 'korora/fence' : 'korora/order';
    return (await openHere(services, kind, envelope, null)).document;
  }

  return { stateClaim, yieldToClaim };
}

/** Of this host's own record, which keeps nothing but what it admitted. */
function isAgainst({ outcome, authority }: SettledMove, host: HostId): boolean {
  if (!authority) return false;
  if (outcome === 'fenced') return openSigned('korora/fence', authority).document.host === host;
  return outcome === 'accepted' && openSigned('korora/order', authority).document.source === host;
}

const isFence = ({ payloadType }: Envelope) => payloadType === PAYLOAD_TYPES['korora/fence'];
