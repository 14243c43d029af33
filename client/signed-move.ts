/** What operators signed of a move, out of what Temporal tells of it. The rest of a status is for looking: nothing is signed by it. */
import { type OpenedDocument, type OperatorKind, authorize, openSigned } from '../domain/authority.js';
import { digestOf } from '../domain/canonical.js';
import { parseDocument } from '../domain/documents.js';
import { KororaError, refuse } from '../domain/failures.js';
import type { HostId, VmId } from '../domain/ids.js';
import type { Order } from '../domain/order.js';
import type { CopyLimits } from '../domain/progress.js';
import type { MigrationStatus } from '../domain/status.js';
import type { TrustBundle } from '../domain/trust-bundle.js';
import { VmDocument } from '../domain/vm.js';

export interface SignedMove {
  readonly order: Order;
  /** That the order names. */
  readonly vm: VmDocument;
  /** Of the order, or of a later change that was signed for this move. */
  readonly limits: CopyLimits;
}

/** In the place of a host's name where a failure names whose bundle it is. */
export const HERE = 'this client' as HostId;

/** By this client's own bundle. MOVE_UNPROVEN. */
export function signedMove(vmId: VmId, told: Partial<Record<keyof MigrationStatus, unknown>>, bundle: TrustBundle): SignedMove {
  try {
    const order = saidBy(openSigned('korora/order', told.order), null, bundle);
    if (order.vmId !== vmId) throw refuse('ORDER_INVALID', { problem: `it is of VM ${order.vmId}` });
    const vm = parseDocument(VmDocument, told.vm, 'VM_DOCUMENT_INVALID');
    if (digestOf(vm) !== order.vmDigest) throw refuse('VM_DOCUMENT_INVALID', { problem: 'it is another than the order names' });
    if (told.limitsChange === null) return { order, vm, limits: order.limits };
    const change = saidBy(openSigned('korora/limits', told.limitsChange), order, bundle);
    if (change.migrationId !== order.migrationId || change.vmId !== vmId) throw refuse('LIMITS_INVALID', { problem: 'they are of another move' });
    return { order, vm, limits: change.limits };
  } catch (error) {
    if (!(error instanceof KororaError)) throw error;
    throw refuse('MOVE_UNPROVEN', { vm: vmId, problem: error.failures[0].message }, error);
  }
}

/** ORDER_NOT_SIGNED, OPERATOR_NOT_ALLOWED, SECOND_SIGNATURE_MISSING. */
export function saidBy<K extends OperatorKind>(opened: OpenedDocument<K>, order: Order | null, bundle: TrustBundle): OpenedDocument<K>['document'] {
  const authority = authorize(opened, order, bundle, HERE);
  if (!authority.ok) throw new KororaError([authority.failure]);
  return authority.signed.document;
}
