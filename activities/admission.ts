/**
 * Admission on a host: whether an order may be acted on here, by this host's own copy of the
 * trust bundle. Temporal's word counts for nothing (promise P7). `openOrder` is the seam where the
 * operator's signature on the order will be verified.
 */
import { digestOf } from '../domain/canonical.js';
import { parseDocument } from '../domain/documents.js';
import { type Failure, KororaError, failure } from '../domain/failures.js';
import type { Role, Sha256Hex } from '../domain/ids.js';
import { Order } from '../domain/order.js';
import type { InstalledBundle } from '../domain/trust-bundle.js';
import type { HostServices } from './services.js';

export interface AdmittedOrder {
  readonly order: Order;
  readonly orderDigest: Sha256Hex;
  readonly installed: InstalledBundle;
}

/** ORDER_INVALID; every other reason is in `admissionFailures`. */
export function openOrder(value: unknown): { readonly order: Order; readonly orderDigest: Sha256Hex } {
  const order = parseDocument(Order, value, 'ORDER_INVALID');
  return { order, orderDigest: digestOf(order) };
}

/** Throws all reasons at once: ORDER_*, BUNDLE_*, HOST_UNKNOWN, HOST_NOT_ACTIVE. */
export async function admit(services: HostServices, value: unknown, role: Role): Promise<AdmittedOrder> {
  const { order, orderDigest } = openOrder(value);
  const installed = await services.installedBundle();
  // An order that was taken up in time may take as long as it needs.
  const isUnderWay = services.sessions.find(order.migrationId)?.orderDigest === orderDigest;
  const [first, ...rest] = admissionFailures(services.hostId, order, installed, role, new Date()).filter((f) => !(isUnderWay && f.code === 'ORDER_EXPIRED'));
  if (first) throw new KororaError([first, ...rest]);
  return { order, orderDigest, installed };
}

export function admissionFailures(hostId: string, order: Order, { bundle, digest }: InstalledBundle, role: Role, now: Date): Failure[] {
  const failures: Failure[] = [];
  if (now > new Date(order.notAfter)) failures.push(failure('ORDER_EXPIRED', { notAfter: order.notAfter }));
  if (now > new Date(bundle.expiresAt)) failures.push(failure('BUNDLE_EXPIRED', { host: hostId, expiresAt: bundle.expiresAt }));
  if (digest !== order.bundleDigest) failures.push(failure('BUNDLE_DIFFERS', { host: hostId, installed: digest, ordered: order.bundleDigest }));
  if (order[role] !== hostId) failures.push(failure('ORDER_INVALID', { problem: `${hostId} is not its ${role}` }));
  for (const named of new Set([order.source, order.destination])) {
    const entry = bundle.hosts.find((h) => h.hostId === named);
    if (!entry) failures.push(failure('HOST_UNKNOWN', { host: named }));
    else if (entry.status !== 'active') failures.push(failure('HOST_NOT_ACTIVE', { host: named, status: entry.status }));
  }
  return failures;
}
