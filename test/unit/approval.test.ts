/** Whose approval a source takes (activities/copy.ts): signed, of this very order, and where the bundle says so by somebody else than who ordered. */
import { describe, expect, it } from 'vitest';
import { createCopying } from '../../activities/copy.js';
import type { HostServices } from '../../activities/services.js';
import { type Session, type SessionKey, createSessions } from '../../activities/session.js';
import type { Settlement } from '../../activities/settle.js';
import { digestOf } from '../../domain/canonical.js';
import { signEnvelope } from '../../domain/envelope.js';
import { KororaError } from '../../domain/failures.js';
import type { Approval } from '../../domain/order.js';
import { ADA, GRACE, SOURCE, approvalOf, digest, migrationId, orderOf, trustBundleOf } from '../support/documents.js';
import { testSigner } from '../support/signers.js';

const order = orderOf({ requiresApproval: true });
const { vmId } = order;
const move = { vmId, migrationId: order.migrationId };

/** What becomes of the copy of a source that waits for an approval; 'held' where it still does. */
async function after(approval: Approval, signer: typeof ADA, approverMustDiffer = true): Promise<string> {
  const { parameters } = trustBundleOf();
  const bundle = trustBundleOf({ parameters: { ...parameters, approverMustDiffer } });
  const sessions = createSessions(SOURCE);
  const key: SessionKey = { migrationId: order.migrationId, orderDigest: digestOf(order), role: 'source' };
  await sessions.open(key, async () => ({ ...key, order, isHeld: true, approval: null, outgoing: null, limitsChanges: [] }) as Partial<Session> as Session);
  const services = { hostId: SOURCE, clock: { now: () => Date.now() }, sessions, installedBundle: () => Promise.resolve({ bundle, digest: digestOf(bundle) }) } as Partial<HostServices> as HostServices;
  const { holdCopy } = createCopying(services, {} as Settlement);
  try {
    const { isHeld } = await holdCopy({ move, isHeld: false, approval: await signEnvelope(approval, signer) });
    return isHeld ? 'held' : 'goes on';
  } catch (error) {
    if (!(error instanceof KororaError)) throw error;
    expect(sessions.find(order.migrationId)?.approval).toBeNull();
    return error.code;
  }
}

const orderDigest = digestOf(order);

describe('an approval', () => {
  it('of another operator lets the copy go on', async () => {
    expect(await after(approvalOf({ by: 'grace', orderDigest }), GRACE)).toBe('goes on');
  });

  it('of who ordered the move does so only where the bundle does not mind', async () => {
    expect(await after(approvalOf({ by: 'ada', orderDigest }), ADA)).toBe('APPROVER_IS_REQUESTER');
    expect(await after(approvalOf({ by: 'ada', orderDigest }), ADA, false)).toBe('goes on');
  });

  it.each<[string, Approval, typeof ADA, string]>([
    ['that another signed', approvalOf({ by: 'grace', orderDigest }), ADA, 'ORDER_NOT_SIGNED'],
    ['of a stranger', approvalOf({ by: 'mallory', orderDigest }), testSigner(9), 'ORDER_NOT_SIGNED'],
    ['of another order', approvalOf({ by: 'grace', orderDigest: digest(0x11) }), GRACE, 'ORDER_INVALID'],
    ['of another move', approvalOf({ by: 'grace', orderDigest, migrationId: migrationId(9) }), GRACE, 'ORDER_INVALID'],
    ['whose time is over', approvalOf({ by: 'grace', orderDigest, notAfter: '2020-01-01T00:00:00Z' }), GRACE, 'ORDER_EXPIRED'],
  ])('%s is refused, and the copy stays held', async (_, approval, signer, code) => {
    expect(await after(approval, signer)).toBe(code);
  });
});
