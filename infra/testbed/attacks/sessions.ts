/** Sessions of one order on its two hosts, as the control plane has them: what it can carry, keep, change and give to whom it likes. */
import type { Binding, HostEvidence, SessionOffer, WrappedSecrets } from '../../../domain/attestation.js';
import { digestOf } from '../../../domain/canonical.js';
import type { Envelope } from '../../../domain/envelope.js';
import { problemOf } from '../../../domain/failures.js';
import type { HostId, Role } from '../../../domain/ids.js';
import type { Order } from '../../../domain/order.js';
import { CONTROL_QUEUE } from '../../../domain/steps.js';
import type { HostTpm } from '../../../tpm/port.js';
import { createLocalHost } from '../../../host/local.js';
import { createTpm } from '../../../workers/services.js';
import { TESTBED_PCRS } from '../testbed.js';
import type { Arena, ArenaHost, SignedOrder } from './arena.js';

export interface Sessions extends SignedOrder {
  readonly offers: Readonly<Record<Role, SessionOffer>>;
  /** Genuine: of each for the other. */
  readonly evidence: Readonly<Record<Role, HostEvidence>>;
}

/** Both hosts open a session of this order and quote; `work` has what the control plane then has. */
export async function withSessions<T>(arena: Arena, order: SignedOrder, work: (sessions: Sessions) => Promise<T>): Promise<T> {
  const offers = { source: await opened(arena, order, 'source'), destination: await opened(arena, order, 'destination') };
  const evidence = { source: await quoted(arena, order, 'source', offers.destination), destination: await quoted(arena, order, 'destination', offers.source) };
  try {
    return await work({ ...order, offers, evidence });
  } finally {
    await closed(arena, order);
  }
}

export function opened({ rogue }: Arena, { order, signed }: SignedOrder, role: Role): Promise<SessionOffer> {
  return rogue.ask<SessionOffer>(order[role], 'openSession', { order: signed, role });
}

/** Over the nonce in `peer`, whoever made it up. */
export function quoted({ rogue }: Arena, { order, signed }: SignedOrder, role: Role, peer: SessionOffer): Promise<HostEvidence> {
  return rogue.ask<HostEvidence>(order[role], 'quoteHost', { order: signed, role, peer });
}

/** `evidence` as that of its peer. The codes of the refusal. */
export function appraised({ rogue }: Arena, { order, signed }: SignedOrder, role: Role, evidence: HostEvidence): Promise<readonly string[]> {
  return rogue.codesOf(order[role], 'appraisePeer', { order: signed, role, evidence });
}

/** The order is good no more then. */
export async function closed({ rogue }: Arena, { order, signed }: SignedOrder): Promise<void> {
  for (const host of [order.source, order.destination]) await rogue.ask(host, 'closeSession', { order: signed, reason: 'the attack is over' });
}

/** `judge` gets this evidence for its peer's. After the refusal it gives no secrets away, or takes none. */
export async function judged(arena: Arena, sessions: SignedOrder, judge: Role, evidence: HostEvidence): Promise<readonly string[]> {
  const { rogue } = arena;
  const { order, signed } = sessions;
  const codes = await appraised(arena, sessions, judge, evidence);
  const next = judge === 'source' ? await rogue.codeOf(order.source, 'wrapSecrets', { order: signed }) : await rogue.codeOf(order.destination, 'unwrapSecrets', { order: signed, wrapped: IN_FORM });
  return next === 'NOT_ATTESTED' ? codes : [`after ${codes.join(', ')} it went on: ${next}`];
}

/** Wrapped secrets in form alone. */
const IN_FORM: WrappedSecrets = { ephemeralPoint: 'AAAA', iv: 'AAAA', ciphertext: 'AAAA', tag: 'AAAA' };

export async function believeEachOther(arena: Arena, sessions: Sessions): Promise<void> {
  for (const [judge, peer] of [['source', 'destination'], ['destination', 'source']] as const) {
    const codes = await appraised(arena, sessions, judge, sessions.evidence[peer]);
    if (codes.length > 0) throw new Error(`genuine evidence was refused by ${sessions.order[judge]}: ${codes.join(', ')}`);
  }
}

export function wrapped({ rogue }: Arena, { order, signed }: SignedOrder): Promise<WrappedSecrets> {
  return rogue.ask<WrappedSecrets>(order.source, 'wrapSecrets', { order: signed });
}

/** The codes of the refusal. */
export function unwrapped({ rogue }: Arena, { order, signed }: SignedOrder, secrets: WrappedSecrets): Promise<readonly string[]> {
  return rogue.codesOf(order.destination, 'unwrapSecrets', { order: signed, wrapped: secrets });
}

/** Of a host in the hands of one who has taken it over. */
export function tpmOf({ configs }: Arena, host: ArenaHost): HostTpm {
  return createTpm(createLocalHost(configs[host].hostId), configs[host]);
}

/** What a TPM says that is made to quote an order in the place of its destination, for this nonce; `as`: of which host it is said to be. */
export async function quoteAsDestination(tpm: HostTpm, order: Order, verifierNonce: string, as: HostId): Promise<HostEvidence> {
  const wrappingKey = await tpm.createWrappingKey(TESTBED_PCRS);
  const binding: Binding = {
    protocol: 'korora/1', purpose: 'attest', migrationId: order.migrationId, orderDigest: digestOf(order), role: 'destination', verifierNonce, tlsSpkiSha256: 'ab'.repeat(32), wrappingKeyName: wrappingKey.evidence.name,
  };
  const { pcrValues, ...quote } = await tpm.quote(TESTBED_PCRS, Buffer.from(digestOf(binding), 'hex'));
  await wrappingKey.forget();
  return { hostId: as, binding, quote, pcrValues, wrappingKey: wrappingKey.evidence, eventLog: null };
}

/** A whole move by the product’s own workflow, started by whoever owns Temporal: every code of its failure. */
export function movedByProduct({ testbed, vm }: Arena, order: Envelope): Promise<readonly string[]> {
  return testbed.temporal.workflow.execute('secureMigration', { taskQueue: CONTROL_QUEUE, workflowId: `moved-${crypto.randomUUID()}`, args: [{ order, vm }] }).then(() => [], codesInFailure);
}

function codesInFailure(error: unknown): readonly string[] {
  const [failures] = ((error as { readonly cause?: { readonly details?: readonly unknown[] } }).cause?.details ?? []) as readonly (readonly { readonly code: string }[])[];
  return failures?.map(({ code }) => code) ?? [`not a refusal: ${problemOf(error)}`];
}
