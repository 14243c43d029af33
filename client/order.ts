/** Building an order from what hosts said of the VM. Pure; refusals are those that a client can see before it starts. */
import { z } from 'zod';
import { digestOf } from '../domain/canonical.js';
import { KororaError, refuse } from '../domain/failures.js';
import { parseDocument } from '../domain/documents.js';
import { HostId, VmId } from '../domain/ids.js';
import { Order } from '../domain/order.js';
import { type CopyLimits, DEFAULT_LIMITS } from '../domain/progress.js';
import type { HostSurvey, VmSurvey } from '../domain/status.js';
import { type InstalledBundle, hostIn } from '../domain/trust-bundle.js';
import { VmDocument } from '../domain/vm.js';

export interface OrderRequest {
  readonly vmId: string;
  readonly destination: string;
  readonly limits?: Partial<CopyLimits>;
  /** The copy is held until `approve`; default false. */
  readonly requiresApproval?: boolean;
  /** How long the order is good for; default 10 minutes. */
  readonly lifetimeMs?: number;
  /** A UUID; made where left out. */
  readonly migrationId?: string;
}

/** Of what is signed, where nobody says otherwise. */
export const DEFAULT_LIFETIME_MS = 600_000;
const Lifetime = z.int().min(1).max(30 * 86_400_000);

/** ORDER_INVALID, HOST_UNKNOWN, VM_UNKNOWN, SOURCE_IS_DESTINATION. */
export function buildOrder(request: OrderRequest, by: string, { bundle, digest }: InstalledBundle, surveys: readonly HostSurvey[]): { order: Order; vm: VmDocument } {
  const lifetimeMs = parseDocument(Lifetime, request.lifetimeMs ?? DEFAULT_LIFETIME_MS, 'ORDER_INVALID');
  const vmId = parseDocument(VmId, request.vmId, 'ORDER_INVALID');
  const destination = hostIn(bundle, parseDocument(HostId, request.destination, 'ORDER_INVALID')).hostId;
  const at = locateVm(vmId, surveys);
  if (at.hostId === destination) throw refuse('SOURCE_IS_DESTINATION', { vm: vmId, host: destination });
  const vm = parseDocument(VmDocument, at.vm, 'VM_DOCUMENT_INVALID');
  const order = parseDocument(
    Order,
    {
      kind: 'korora/order',
      version: 2,
      migrationId: request.migrationId ?? crypto.randomUUID(),
      vmId,
      vmDigest: digestOf(vm),
      epoch: at.epoch,
      source: at.hostId,
      destination,
      bundleDigest: digest,
      limits: { ...DEFAULT_LIMITS, ...request.limits },
      requiresApproval: request.requiresApproval ?? false,
      by,
      notAfter: notAfter(lifetimeMs),
    },
    'ORDER_INVALID',
  );
  return { order, vm };
}

/** ISO 8601: so long from now. */
export function notAfter(lifetimeMs: number): string {
  return new Date(Date.now() + lifetimeMs).toISOString();
}

/** The host that owns the VM, or the one that last knew it. VM_UNKNOWN, naming hosts that did not answer. */
export function locateVm(vmId: string, surveys: readonly HostSurvey[]): VmSurvey {
  const known = surveys.flatMap((s) => (s.reachable ? s.vms : [])).filter((vm) => vm.vmId === vmId);
  const found = known.find((vm) => vm.mayRun) ?? known.find((vm) => vm.vm !== null);
  if (found) return found;
  const silent = surveys.filter((s) => !s.reachable).map((s) => refuse('HOST_UNREACHABLE', { host: s.hostId }).failures[0]);
  throw new KororaError([refuse('VM_UNKNOWN', { vm: vmId }).failures[0], ...silent]);
}
