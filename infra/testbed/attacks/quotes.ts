/**
 * Attacks with genuine quotes in wrong places: one of an earlier session, one that comes back to whom it is of, and one of a host
 * that is enrolled and is not the destination of the order. The control plane carries evidence, so all of this is in its power.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Binding, HostEvidence, SessionOffer, WrappedSecrets } from '../../../domain/attestation.js';
import { digestOf } from '../../../domain/canonical.js';
import type { Role } from '../../../domain/ids.js';
import { createLocalHost } from '../../../host/local.js';
import { createTpm } from '../../../workers/services.js';
import { TESTBED_PCRS } from '../testbed.js';
import type { Arena, ArenaHost, SignedOrder } from './arena.js';
import type { Trial } from './flip-trials.js';

interface Sessions extends SignedOrder {
  readonly offers: Readonly<Record<Role, SessionOffer>>;
  /** Genuine: of each for the other. */
  readonly evidence: Readonly<Record<Role, HostEvidence>>;
}

/** Both hosts open a session of this order and quote; `work` has what the control plane then has. */
async function withSessions<T>({ rogue }: Arena, order: SignedOrder, work: (sessions: Sessions) => Promise<T>): Promise<T> {
  const { signed, move, order: { source, destination } } = order;
  const offers = {
    source: await rogue.ask<SessionOffer>(source, 'openSession', { order: signed, role: 'source' }),
    destination: await rogue.ask<SessionOffer>(destination, 'openSession', { order: signed, role: 'destination' }),
  };
  const evidence = {
    source: await rogue.ask<HostEvidence>(source, 'quoteHost', { order: signed, role: 'source', peer: offers.destination }),
    destination: await rogue.ask<HostEvidence>(destination, 'quoteHost', { order: signed, role: 'destination', peer: offers.source }),
  };
  try {
    return await work({ ...order, offers, evidence });
  } finally {
    for (const host of [source, destination]) await rogue.ask(host, 'closeSession', { move });
  }
}

/** `judge` gets this evidence for its peer's. After the refusal it gives no secrets away, or takes none. */
async function judged({ rogue }: Arena, { order, signed }: Sessions, judge: Role, evidence: HostEvidence): Promise<readonly string[]> {
  const codes = await rogue.codesOf(order[judge], 'appraisePeer', { order: signed, role: judge, evidence });
  const next = judge === 'source' ? await rogue.codeOf(order.source, 'wrapSecrets', { order: signed }) : await rogue.codeOf(order.destination, 'unwrapSecrets', { order: signed, wrapped: null });
  return next === 'NOT_ATTESTED' ? codes : [`after ${codes.join(', ')} it went on: ${next}`];
}

const ANOTHER_MOVE = ['BINDING_MISMATCH', 'NONCE_UNKNOWN'];

export async function yesterdaysQuote(arena: Arena): Promise<readonly Trial[]> {
  const { attacked, orderTo } = arena;
  const order = await orderTo('host-b');
  const earlier = await withSessions(arena, order, async ({ evidence }) => evidence);
  const givenIn = (sessionsOf: () => Promise<SignedOrder>, judge: Role, evidence: (now: Sessions) => HostEvidence) => async () =>
    withSessions(arena, await sessionsOf(), (now) => judged(arena, now, judge, evidence(now)));
  const newOrder = () => orderTo('host-b');
  const sameOrder = async () => order;
  return [
    await attacked('of an earlier order, to the source', 'host-b', ANOTHER_MOVE, givenIn(newOrder, 'source', () => earlier.destination)),
    await attacked('of an earlier order, to the destination', 'host-b', ANOTHER_MOVE, givenIn(newOrder, 'destination', () => earlier.source)),
    await attacked('of an earlier session of the same order, to the source', 'host-b', ['NONCE_UNKNOWN'], givenIn(sameOrder, 'source', () => earlier.destination)),
    await attacked('of an earlier session of the same order, to the destination', 'host-b', ['NONCE_UNKNOWN'], givenIn(sameOrder, 'destination', () => earlier.source)),
    await attacked('under the binding of today', 'host-b', ['QUALIFYING_DATA_MISMATCH', 'RESET_COUNT_CHANGED'], givenIn(newOrder, 'source', ({ evidence }) => ({ ...evidence.destination, quote: earlier.destination.quote }))),
    await attacked('with the nonce of today written over its own', 'host-b', ['QUALIFYING_DATA_MISMATCH'], givenIn(sameOrder, 'source', ({ offers }) => ({ ...earlier.destination, binding: { ...earlier.destination.binding, verifierNonce: offers.source.nonce } }))),
  ];
}

export async function reflectedQuote(arena: Arena): Promise<readonly Trial[]> {
  const { attacked, orderTo, rogue } = arena;
  const own = (role: Role, change: (evidence: HostEvidence, now: Sessions) => HostEvidence) => async () =>
    withSessions(arena, await orderTo('host-b'), async (now) => {
      // Its own challenge, given to it as that of its peer.
      const evidence = await rogue.ask<HostEvidence>(now.order[role], 'quoteHost', { order: now.signed, role, peer: now.offers[role] });
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
  const tpm = createTpm(createLocalHost(configs['host-c'].hostId), configs['host-c']);

  /** What host-c's TPM says in the hands of one who has taken host-c over, and makes it quote another host's order. */
  async function quoteOfC({ order, offers }: Sessions, as: ArenaHost): Promise<HostEvidence> {
    const wrappingKey = await tpm.createWrappingKey(TESTBED_PCRS);
    const binding: Binding = {
      protocol: 'korora/1', purpose: 'attest', migrationId: order.migrationId, orderDigest: digestOf(order), role: 'destination', verifierNonce: offers.source.nonce, tlsSpkiSha256: 'ab'.repeat(32),
      wrappingKeyName: wrappingKey.evidence.name,
    };
    const { pcrValues, ...quote } = await tpm.quote(TESTBED_PCRS, Buffer.from(digestOf(binding), 'hex'));
    await wrappingKey.forget();
    return { hostId: configs[as].hostId, binding, quote, pcrValues, wrappingKey: wrappingKey.evidence, eventLog: null };
  }
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
      const wrapped = await withSessions(arena, await orderTo('host-b'), async (now) => {
        await believeEachOther(arena, now);
        return rogue.ask<WrappedSecrets>('host-a', 'wrapSecrets', { order: now.signed });
      });
      return withSessions(arena, await orderTo('host-c'), async (now) => {
        await believeEachOther(arena, now);
        return rogue.codesOf('host-c', 'unwrapSecrets', { order: now.signed, wrapped });
      });
    }),
  ];
}

async function believeEachOther({ rogue }: Arena, { order, signed, evidence }: Sessions): Promise<void> {
  await rogue.ask(order.source, 'appraisePeer', { order: signed, role: 'source', evidence: evidence.destination });
  await rogue.ask(order.destination, 'appraisePeer', { order: signed, role: 'destination', evidence: evidence.source });
}
