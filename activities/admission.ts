/**
 * Admission on a host: whether what an operator signed may be acted on here, by this host's own copy of the trust bundle.
 * Temporal's word counts for nothing (promise P7). Nothing else is looked at, and nothing is read of a document, before its signature.
 */
import { type Authorized, type OperatorKind, openAuthorized, openSigned } from '../domain/authority.js';
import { digestOf } from '../domain/canonical.js';
import type { Envelope } from '../domain/envelope.js';
import { type Failure, KororaError, failure, refuse } from '../domain/failures.js';
import type { HostId, Role } from '../domain/ids.js';
import type { Order } from '../domain/order.js';
import { type OwnershipRecord, type ShownOrder, settlementOf } from '../domain/ownership.js';
import type { InstalledBundle } from '../domain/trust-bundle.js';
import type { HostServices } from './services.js';
import type { SessionKey } from './session.js';
import { timeAt } from './time.js';

export interface AdmittedOrder extends SessionKey {
  readonly order: Order;
  readonly signed: Envelope;
  readonly installed: InstalledBundle;
}

/** Throws all reasons at once: ORDER_*, OPERATOR_NOT_ALLOWED, BUNDLE_*, HOST_UNKNOWN, HOST_NOT_ACTIVE. */
export async function admit(services: HostServices, envelope: Envelope, role: Role): Promise<AdmittedOrder> {
  const installed = await services.installedBundle();
  const { document: order, envelope: signed } = await openHere(services, 'korora/order', envelope, null);
  const key: SessionKey = { migrationId: order.migrationId, orderDigest: digestOf(order), role };
  // An order that was taken up in time may take as long as its session.
  const isUnderWay = services.sessions.isUnderWay(key);
  const [first, ...rest] = admissionFailures(services.hostId, order, installed, role, timeAt(services)).filter((f) => !(isUnderWay && f.code === 'ORDER_EXPIRED'));
  if (first) throw new KororaError([first, ...rest]);
  return { ...key, order, signed, installed };
}

/** Of an order whose signature is right. */
export function admissionFailures(hostId: HostId, order: Order, installed: InstalledBundle, role: Role, now: Date): Failure[] {
  const { bundle, digest } = installed;
  const failures = timeFailures(hostId, order, installed, now);
  if (digest !== order.bundleDigest) failures.push(failure('BUNDLE_DIFFERS', { host: hostId, installed: digest, ordered: order.bundleDigest }));
  if (order[role] !== hostId) failures.push(failure('ORDER_INVALID', { problem: `${hostId} is not its ${role}` }));
  for (const named of new Set([order.source, order.destination])) {
    const entry = bundle.hosts.find((h) => h.hostId === named);
    if (!entry) failures.push(failure('HOST_UNKNOWN', { host: named }));
    else if (entry.status !== 'active') failures.push(failure('HOST_NOT_ACTIVE', { host: named, status: entry.status }));
  }
  return failures;
}

/** The other documents: a start, and what is said of a move under way, whose `order` then says between which hosts. As `admit`. */
export async function admitWord<K extends Exclude<OperatorKind, 'korora/order'>>(services: HostServices, kind: K, envelope: Envelope, order: Order | null): Promise<Authorized<K>['document']> {
  const { document } = await openHere(services, kind, envelope, order);
  const [first, ...rest] = timeFailures(services.hostId, document, await services.installedBundle(), timeAt(services));
  if (first) throw new KororaError([first, ...rest]);
  return document;
}

/** By this host's bundle, whenever it was signed. ORDER_INVALID, ORDER_NOT_SIGNED, OPERATOR_NOT_ALLOWED, BUNDLE_*. */
export async function openHere<K extends OperatorKind>({ hostId, installedBundle }: HostServices, kind: K, envelope: Envelope, order: Order | null): Promise<Authorized<K>> {
  const authority = openAuthorized(kind, envelope, order, (await installedBundle()).bundle, hostId);
  if (authority.ok) return authority.signed;
  throw new KororaError([authority.failure]);
}

export interface OrderToSettle {
  readonly order: Order;
  readonly role: Role;
  /** Null where no signature was asked for, since this host has the move already. */
  readonly shown: ShownOrder | null;
}

/**
 * An order that is to be settled here, in or out of its time, for whichever role it gives this host. A move that this host took up, or settled, it knows; of any other
 * it wants to see an operator's signature. As openHere.
 */
export async function admitToSettle(services: HostServices, envelope: Envelope): Promise<OrderToSettle> {
  const { hostId } = services;
  const signed = await openHere(services, 'korora/order', envelope, null).catch((error: unknown) => {
    if (error instanceof KororaError) return error;
    throw error;
  });
  const { document: order } = signed instanceof KororaError ? openSigned('korora/order', envelope) : signed;
  const role = order.source === hostId ? 'source' : 'destination';
  if (order[role] !== hostId) throw refuse('ORDER_INVALID', { problem: `it does not name ${hostId}` });
  if (!(signed instanceof KororaError)) return settling(services, { order, role });
  if (!knows(services, await services.ownership.read(order.vmId), order, envelope)) throw signed;
  return { order, role, shown: null };
}

/** Of an order that was admitted. */
export function settling(services: HostServices, { order, role }: Pick<AdmittedOrder, 'order' | 'role'>): OrderToSettle {
  return { order, role, shown: { epoch: order.epoch + 1, notAfter: order.notAfter, now: new Date(services.clock.now()).toISOString() } };
}

function knows({ sessions }: HostServices, record: OwnershipRecord, { migrationId }: Order, { payload }: Envelope): boolean {
  const isOfRecord = 'order' in record && record.order.payload === payload;
  return isOfRecord || sessions.find(migrationId)?.signed.payload === payload || settlementOf(record, migrationId) !== undefined;
}

function timeFailures(host: HostId, { notAfter }: { readonly notAfter: string }, { bundle: { expiresAt } }: InstalledBundle, now: Date): Failure[] {
  return [
    ...(now > new Date(notAfter) ? [failure('ORDER_EXPIRED', { host, notAfter, now: now.toISOString() })] : []),
    ...(now > new Date(expiresAt) ? [failure('BUNDLE_EXPIRED', { host, expiresAt })] : []),
  ];
}
