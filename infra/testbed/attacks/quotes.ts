/**
 * Attacks with genuine quotes in wrong places: one of an earlier session, one that comes back to whom it is of, and one of a host
 * that is enrolled and is not the destination of the order. The control plane carries evidence, so all of this is in its power.
 */
import { isDeepStrictEqual } from 'node:util';
import type { HostEvidence } from '../../../domain/attestation.js';
import type { Role } from '../../../domain/ids.js';
import type { Arena, SignedOrder } from './arena.js';
import type { Trial } from './flip-trials.js';
import { type Sessions, believeEachOther, closed, judged, opened, quoteAsDestination, quoted, tpmOf, unwrapped, withSessions, wrapped } from './sessions.js';

const ANOTHER_MOVE = ['BINDING_MISMATCH', 'NONCE_UNKNOWN'];

export async function yesterdaysQuote(arena: Arena): Promise<readonly Trial[]> {
  const { attacked, orderTo } = arena;
  const earlier = await withSessions(arena, await orderTo('host-b'), async ({ evidence }) => evidence);
  const givenIn = (judge: Role, evidence: (now: Sessions) => HostEvidence) => async () => withSessions(arena, await orderTo('host-b'), (now) => judged(arena, now, judge, evidence(now)));
  return [
    await attacked('of an earlier order, to the source', 'host-b', ANOTHER_MOVE, givenIn('source', () => earlier.destination)),
    await attacked('of an earlier order, to the destination', 'host-b', ANOTHER_MOVE, givenIn('destination', () => earlier.source)),
    await attacked('of an earlier session of the same order, to the source', 'host-b', ['NONCE_UNKNOWN'], inNextSession(arena, 'source', (evidence) => evidence)),
    await attacked('of an earlier session of the same order, to the destination', 'host-b', ['NONCE_UNKNOWN'], inNextSession(arena, 'destination', (evidence) => evidence)),
    await attacked('under the binding of today', 'host-b', ['QUALIFYING_DATA_MISMATCH', 'RESET_COUNT_CHANGED'], givenIn('source', ({ evidence }) => ({ ...evidence.destination, quote: earlier.destination.quote }))),
    await attacked('with the nonce of today written over its own', 'host-b', ['QUALIFYING_DATA_MISMATCH'], inNextSession(arena, 'source', (evidence, nonce) => ({ ...evidence, binding: { ...evidence.binding, verifierNonce: nonce } }))),
  ];
}

/** The worker of `judge` starts anew, and has a second session of an order that it did not refuse. `change`: of the evidence for the first. */
const inNextSession = (arena: Arena, judge: Role, change: (evidence: HostEvidence, nonce: string) => HostEvidence) => async () => {
  const order: SignedOrder = await arena.orderTo('host-b');
  const peer = judge === 'source' ? 'destination' : 'source';
  const first = await opened(arena, order, judge);
  await opened(arena, order, peer);
  const evidence = await quoted(arena, order, peer, first);
  await arena.testbed.restartWorker(judge === 'source' ? 'host-a' : 'host-b');
  const { nonce } = await opened(arena, order, judge);
  try {
    return await judged(arena, order, judge, change(evidence, nonce));
  } finally {
    await closed(arena, order);
  }
};

export async function reflectedQuote(arena: Arena): Promise<readonly Trial[]> {
  const { attacked, orderTo, rogue } = arena;
  const own = (role: Role, change: (evidence: HostEvidence, now: Sessions) => HostEvidence) => async () =>
    withSessions(arena, await orderTo('host-b'), async (now) => {
      // Its own challenge, given to it as that of its peer.
      const evidence = await quoted(arena, now, role, now.offers[role]);
      return judged(arena, now, role, change(evidence, now));
    });
  return [
    await attacked('of the source, back to the source', 'host-b', ['QUOTE_SIGNATURE_INVALID', 'QUOTE_SIGNER_WRONG', 'BINDING_MISMATCH', 'WRAPPING_KEY_INVALID'], own('source', (evidence) => evidence)),
    await attacked('of the destination, back to the destination', 'host-b', ['QUOTE_SIGNATURE_INVALID', 'QUOTE_SIGNER_WRONG', 'BINDING_MISMATCH', 'WRAPPING_KEY_INVALID'], own('destination', (evidence) => evidence)),
    // The clocks of two TPMs stand in one document here: whether the quote's is behind the other is a matter of which TPM is older.
    await attacked('of the source, as if the destination had said it', 'host-b', withOrWithout('RESET_COUNT_CHANGED', ['QUOTE_SIGNATURE_INVALID', 'QUOTE_SIGNER_WRONG', 'QUALIFYING_DATA_MISMATCH']), own('source', (evidence, now) => ({
      ...evidence, hostId: now.order.destination, binding: { ...evidence.binding, role: 'destination', wrappingKeyName: now.evidence.destination.wrappingKey?.name ?? null }, wrappingKey: now.evidence.destination.wrappingKey,
    }))),
    await attacked('of a source that is asked to quote as a destination', 'host-b', ['ORDER_INVALID'], async () =>
      withSessions(arena, await orderTo('host-b'), ({ signed, offers }) => rogue.codesOf('host-a', 'quoteHost', { order: signed, role: 'destination', peer: offers.source }))),
  ];
}

const withOrWithout = (code: string, expected: readonly string[]) => (codes: readonly string[]) => isDeepStrictEqual(codes.filter((one) => one !== code).sort(), [...expected].sort());

/** host-c is enrolled, its state is a reference state, and the order names host-b. */
export async function anotherHost(arena: Arena): Promise<readonly Trial[]> {
  const { attacked, orderTo, rogue, configs } = arena;
  const quoteOfC = (now: Sessions, as: 'host-b' | 'host-c') => quoteAsDestination(tpmOf(arena, 'host-c'), now.order, now.offers.source.nonce, configs[as].hostId);
  const inPlaceOfB = (work: (now: Sessions) => Promise<readonly string[]>) => async () => withSessions(arena, await orderTo('host-b'), work);
  return [
    await attacked('its worker, asked to quote for that order', 'host-c', ['ORDER_INVALID'], inPlaceOfB(({ signed, offers }) => rogue.codesOf('host-c', 'quoteHost', { order: signed, role: 'destination', peer: offers.source }))),
    await attacked('its genuine evidence for an order of its own', 'host-c', ['QUOTE_SIGNATURE_INVALID', 'QUOTE_SIGNER_WRONG', 'BINDING_MISMATCH', 'NONCE_UNKNOWN', 'WRAPPING_KEY_INVALID'], async () => {
      const ofItsOwn = await withSessions(arena, await orderTo('host-c'), async ({ evidence }) => evidence.destination);
      return withSessions(arena, await orderTo('host-b'), (now) => judged(arena, now, 'source', ofItsOwn));
    }),
    await attacked('its TPM quotes that order', 'host-c', ['QUOTE_SIGNATURE_INVALID', 'QUOTE_SIGNER_WRONG', 'BINDING_MISMATCH', 'WRAPPING_KEY_INVALID'], inPlaceOfB(async (now) => judged(arena, now, 'source', await quoteOfC(now, 'host-c')))),
    await attacked('its TPM quotes that order, under the name of host-b', 'host-c', ['QUOTE_SIGNATURE_INVALID', 'QUOTE_SIGNER_WRONG', 'WRAPPING_KEY_INVALID'], inPlaceOfB(async (now) => judged(arena, now, 'source', await quoteOfC(now, 'host-b')))),
    await attacked('the VM’s secrets that were wrapped for host-b', 'host-c', ['SECRETS_INVALID'], async () => {
      const secrets = await withSessions(arena, await orderTo('host-b'), async (now) => {
        await believeEachOther(arena, now);
        return wrapped(arena, now);
      });
      return withSessions(arena, await orderTo('host-c'), async (now) => {
        await believeEachOther(arena, now);
        return unwrapped(arena, now, secrets);
      });
    }),
  ];
}
