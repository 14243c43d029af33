/**
 * Admission on a host: whether what an operator signed may be acted on here, by this host's own copy of the trust bundle.
 * Temporal's word counts for nothing (promise P7). What only takes back, or gives up, asks for no signature: it goes by the ownership record.
 */
import { type Authorized, type OpenedDocument, type OperatorKind, authorize, openSigned } from '../domain/authority.js';
import { digestOf } from '../domain/canonical.js';
import { type Failure, KororaError, failure } from '../domain/failures.js';
import type { HostId, Role, Sha256Hex } from '../domain/ids.js';
import type { Order } from '../domain/order.js';
import type { InstalledBundle } from '../domain/trust-bundle.js';
import type { HostServices } from './services.js';

export interface AdmittedOrder {
  readonly order: Order;
  readonly orderDigest: Sha256Hex;
  readonly installed: InstalledBundle;
}

/** Throws all reasons at once: ORDER_*, OPERATOR_NOT_ALLOWED, BUNDLE_*, HOST_UNKNOWN, HOST_NOT_ACTIVE. */
export async function admit(services: HostServices, value: unknown, role: Role): Promise<AdmittedOrder> {
  const opened = openSigned('korora/order', value);
  const order = opened.document;
  const orderDigest = digestOf(order);
  const installed = await services.installedBundle();
  // An order that was taken up in time may take as long as it needs.
  const isUnderWay = services.sessions.find(order.migrationId)?.orderDigest === orderDigest;
  const [first, ...rest] = admissionFailures(services.hostId, opened, installed, role, new Date()).filter((f) => !(isUnderWay && f.code === 'ORDER_EXPIRED'));
  if (first) throw new KororaError([first, ...rest]);
  return { order, orderDigest, installed };
}

export function admissionFailures(hostId: HostId, opened: OpenedDocument<'korora/order'>, installed: InstalledBundle, role: Role, now: Date): Failure[] {
  const { document: order } = opened;
  const { bundle, digest } = installed;
  const authority = authorize(opened, null, bundle, hostId);
  const failures: Failure[] = [...(authority.ok ? [] : [authority.failure]), ...timeFailures(hostId, order, installed, now)];
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
export async function admitWord<K extends Exclude<OperatorKind, 'korora/order'>>(services: HostServices, kind: K, value: unknown, order: Order | null): Promise<Authorized<K>['document']> {
  const opened = openSigned(kind, value);
  const installed = await services.installedBundle();
  const authority = authorize(opened, order, installed.bundle, services.hostId);
  const [first, ...rest] = [...(authority.ok ? [] : [authority.failure]), ...timeFailures(services.hostId, opened.document, installed, new Date())];
  if (first) throw new KororaError([first, ...rest]);
  return opened.document;
}

function timeFailures(host: HostId, { notAfter }: { readonly notAfter: string }, { bundle: { expiresAt } }: InstalledBundle, now: Date): Failure[] {
  return [
    ...(now > new Date(notAfter) ? [failure('ORDER_EXPIRED', { notAfter })] : []),
    ...(now > new Date(expiresAt) ? [failure('BUNDLE_EXPIRED', { host, expiresAt })] : []),
  ];
}
