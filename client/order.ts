/** Building an order from what the VM's host showed of it. Pure; refusals are those that a client can see before it starts. */
import { z } from 'zod';
import { digestOf } from '../domain/canonical.js';
import { KororaError, refuse } from '../domain/failures.js';
import { parseDocument } from '../domain/documents.js';
import { HostId, VmId } from '../domain/ids.js';
import { Order } from '../domain/order.js';
import { type CopyLimits, DEFAULT_LIMITS } from '../domain/progress.js';
import type { HostSurvey, VmSurvey } from '../domain/status.js';
import type { ShownVm } from '../domain/survey.js';
import { type InstalledBundle, hostIn } from '../domain/trust-bundle.js';
import type { VmDocument } from '../domain/vm.js';
import type { Proven } from './verify/survey.js';

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

/** Which host is to be asked for the VM. ORDER_INVALID, HOST_UNKNOWN, VM_UNKNOWN, SOURCE_IS_DESTINATION. */
export function placeOf(request: OrderRequest, { bundle }: InstalledBundle, surveys: readonly HostSurvey[]): { readonly vmId: VmId; readonly hostId: HostId } {
  parseDocument(Lifetime, request.lifetimeMs ?? DEFAULT_LIFETIME_MS, 'ORDER_INVALID');
  const vmId = parseDocument(VmId, request.vmId, 'ORDER_INVALID');
  const destination = hostIn(bundle, parseDocument(HostId, request.destination, 'ORDER_INVALID')).hostId;
  const { hostId } = locateVm(vmId, surveys);
  if (hostId === destination) throw refuse('SOURCE_IS_DESTINATION', { vm: vmId, host: destination });
  return { vmId, hostId };
}

/** ORDER_INVALID; VM_UNKNOWN where the host has no document of it. */
export function buildOrder(request: OrderRequest, by: string, { digest }: InstalledBundle, { record, vm }: Proven<ShownVm>): { order: Order; vm: VmDocument } {
  if (!vm) throw refuse('VM_UNKNOWN', { vm: record.vmId });
  const order = parseDocument(
    Order,
    {
      kind: 'korora/order',
      version: 2,
      migrationId: request.migrationId ?? crypto.randomUUID(),
      vmId: record.vmId,
      vmDigest: digestOf(vm),
      epoch: record.epoch,
      source: record.hostId,
      destination: request.destination,
      bundleDigest: digest,
      limits: { ...DEFAULT_LIMITS, ...request.limits },
      requiresApproval: request.requiresApproval ?? false,
      by,
      notAfter: notAfter(request.lifetimeMs ?? DEFAULT_LIFETIME_MS),
    },
    'ORDER_INVALID',
  );
  return { order, vm };
}

/** ISO 8601: so long from now. */
export function notAfter(lifetimeMs: number): string {
  return new Date(Date.now() + lifetimeMs).toISOString();
}

/** The host that is said to own the VM, or to have known it last. VM_UNKNOWN, naming hosts that did not answer. */
export function locateVm(vmId: string, surveys: readonly HostSurvey[]): VmSurvey {
  const known = surveys.flatMap((s) => (s.reachable ? s.vms : [])).filter((vm) => vm.vmId === vmId);
  const found = known.find((vm) => vm.mayRun) ?? known.find((vm) => vm.vm !== null);
  if (found) return found;
  const silent = surveys.filter((s) => !s.reachable).map((s) => refuse('HOST_UNREACHABLE', { host: s.hostId }).failures[0]);
  throw new KororaError([refuse('VM_UNKNOWN', { vm: vmId }).failures[0], ...silent]);
}
