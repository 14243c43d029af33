/**
 * What portals and the CLI import: start VMs, order moves, watch them, abort them. Talks to
 * Temporal only; hosts are reached through their workers.
 */
import { type Client, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, type WorkflowHandle } from '@temporalio/client';
import { Approval } from '../domain/approval.js';
import { digestOf } from '../domain/canonical.js';
import { parseDocument } from '../domain/documents.js';
import { KororaError, refuse } from '../domain/failures.js';
import { Fence } from '../domain/fence.js';
import { type HostId, VmId } from '../domain/ids.js';
import type { CopyLimits } from '../domain/progress.js';
import type { Hold, HostSurvey, MigrationResult, MigrationStatus, VmSurvey } from '../domain/status.js';
import { CONTROL_QUEUE } from '../domain/steps.js';
import { type InstalledBundle, hostIn } from '../domain/trust-bundle.js';
import { VmDocument } from '../domain/vm.js';
import type { reconcileVm, secureMigration, startVm as startVmWorkflow, surveyHosts } from '../workflows/index.js';
import type { Reconciliation } from '../workflows/reconcile.js';
import { fromTemporal } from './errors.js';
import { type OrderRequest, buildOrder } from './order.js';
import { type MigrationView, watchMigration } from './watch.js';

export { MigrationFailedError } from './errors.js';
export type { OrderRequest } from './order.js';
export type { MigrationView } from './watch.js';

export interface KororaClientOptions {
  readonly client: Client;
  readonly bundle: InstalledBundle;
  /** Queue of the control workers. */
  readonly taskQueue?: string;
}

export interface StartedMigration {
  readonly migrationId: string;
  readonly workflowId: string;
  readonly runId: string;
  readonly source: HostId;
  readonly destination: HostId;
}

export interface KororaClient {
  /** Hosts of the bundle, as their workers answer now. */
  hosts(): Promise<readonly HostSurvey[]>;
  vms(): Promise<readonly VmSurvey[]>;
  /** VM_EXISTS, START_IN_PROGRESS, HOST_UNKNOWN, HOST_UNREACHABLE and the host's own reasons. */
  startVm(vm: unknown, hostId: string): Promise<VmSurvey>;
  /** Orders and starts the move; its outcome is `result`. MIGRATION_IN_PROGRESS while another one of this VM runs. */
  migrate(request: OrderRequest): Promise<StartedMigration>;
  status(vmId: string): Promise<MigrationStatus>;
  /** Every change of the move, the last one included; ends with it. */
  watch(vmId: string, runId?: string): AsyncGenerator<MigrationView>;
  /** Throws MigrationFailedError with failures and result where the VM did not move. */
  result(vmId: string, runId?: string): Promise<MigrationResult>;
  /** PAST_POINT_OF_NO_RETURN once the source has stopped. */
  abort(vmId: string, reason: string): Promise<void>;
  /**
   * Ends the wait of a move for a host that is powered off, also of a move whose workflow is gone. NOTHING_TO_FENCE unless it waits for
   * that host; FENCE_REFUSED where it answers after all.
   */
  fence(vmId: string, fence: { readonly host: string; readonly by: string; readonly reason: string }): Promise<void>;
  /** Lets hosts whose record of the VM is of an earlier epoch give it up, and ends a move whose workflow is gone by its destination's verdict. TWO_OWNERS. */
  reconcile(vmId: string): Promise<Reconciliation>;
  /** NOT_COPYING unless rounds run; LIMITS_INVALID. Answers with the limits in force. */
  setLimits(vmId: string, change: Partial<CopyLimits>): Promise<CopyLimits>;
  /** Lets a move that was ordered with `requiresApproval` go on. NOTHING_TO_APPROVE unless it waits for that. */
  approve(vmId: string, approval: { readonly by: string; readonly reason?: string }): Promise<void>;
  /** Holds the copy, or lets it go on; the VM runs in either case. NOT_COPYING unless rounds run. */
  setHeld(vmId: string, isHeld: boolean): Promise<Hold>;
}

export const workflowIdOf = (vmId: string): string => `migrate-${vmId}`;

export function createKororaClient({ client, bundle, taskQueue = CONTROL_QUEUE }: KororaClientOptions): KororaClient {
  const hostIds = bundle.bundle.hosts.map((h) => h.hostId);

  const hosts = () =>
    translating('', () =>
      client.workflow.execute<typeof surveyHosts>('surveyHosts', {
        taskQueue,
        workflowId: `survey-${crypto.randomUUID()}`,
        args: [{ hostIds }],
        staticSummary: 'Asks hosts what they are and which VMs they have',
      }),
    );

  function handleOf(vmId: string, runId?: string): WorkflowHandle<typeof secureMigration> {
    return client.workflow.getHandle<typeof secureMigration>(workflowIdOf(parseDocument(VmId, vmId, 'ORDER_INVALID')), runId);
  }

  async function isMoving(vmId: string): Promise<boolean> {
    try {
      return (await translating(vmId, () => handleOf(vmId).describe())).status.name === 'RUNNING';
    } catch (error) {
      if (error instanceof KororaError && error.code === 'MIGRATION_NOT_FOUND') return false;
      throw error;
    }
  }

  async function reconcile(value: string, fence: Fence | null): Promise<Reconciliation> {
    const vmId = parseDocument(VmId, value, 'ORDER_INVALID');
    const isTended = await isMoving(vmId);
    return translating(vmId, () =>
      client.workflow.execute<typeof reconcileVm>('reconcileVm', {
        taskQueue,
        workflowId: `reconcile-${vmId}`,
        workflowIdConflictPolicy: fence ? WorkflowIdConflictPolicy.FAIL : WorkflowIdConflictPolicy.USE_EXISTING,
        args: [{ vmId, hostIds, isTended, fence }],
        staticSummary: `Brings the records of VM ${vmId} together`,
      }),
    );
  }

  return {
    hosts,
    async vms() {
      return (await hosts()).flatMap((host) => (host.reachable ? host.vms : []));
    },
    async startVm(value, host) {
      const vm = parseDocument(VmDocument, value, 'VM_DOCUMENT_INVALID');
      const { hostId } = hostIn(bundle.bundle, host);
      const others = hostIds.filter((id) => id !== hostId);
      try {
        return await translating(vm.vmId, () =>
          client.workflow.execute<typeof startVmWorkflow>('startVm', {
            taskQueue,
            workflowId: `start-${vm.vmId}`,
            workflowIdConflictPolicy: WorkflowIdConflictPolicy.FAIL,
            args: [{ vm, hostId, others }],
            staticSummary: `Starts VM ${vm.vmId} on ${hostId}`,
          }),
        );
      } catch (error) {
        if (isInProgress(error)) throw refuse('START_IN_PROGRESS', { vm: vm.vmId }, error);
        throw error;
      }
    },
    async migrate(request) {
      const { order, vm } = buildOrder(request, bundle, await hosts());
      const handle = await translating(order.vmId, () =>
        client.workflow.start<typeof secureMigration>('secureMigration', {
          taskQueue,
          workflowId: workflowIdOf(order.vmId),
          workflowIdConflictPolicy: WorkflowIdConflictPolicy.FAIL,
          workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
          args: [{ order, vm }],
          staticSummary: `Moves VM ${order.vmId} from ${order.source} to ${order.destination}`,
          memo: { migrationId: order.migrationId, orderDigest: digestOf(order) },
        }),
      );
      return {
        migrationId: order.migrationId,
        workflowId: handle.workflowId,
        runId: handle.firstExecutionRunId,
        source: order.source,
        destination: order.destination,
      };
    },
    status: (vmId) => translating(vmId, () => handleOf(vmId).query<MigrationStatus, []>('status')),
    watch: (vmId, runId) => watchMigration(handleOf(vmId, runId), vmId),
    result: (vmId, runId) => translating(vmId, () => handleOf(vmId, runId).result()),
    abort: (vmId, reason) => translating(vmId, () => handleOf(vmId).executeUpdate<void, [{ readonly reason: string }]>('abort', { args: [{ reason }] })),
    async fence(vmId, value) {
      const fence = parseDocument(Fence, value, 'ORDER_INVALID');
      if (await isMoving(vmId)) return translating(vmId, () => handleOf(vmId).executeUpdate<void, [Fence]>('fence', { args: [fence] }));
      await reconcile(vmId, fence);
    },
    reconcile: (vmId) => reconcile(vmId, null),
    async approve(vmId, value) {
      const approval = parseDocument(Approval, value, 'ORDER_INVALID');
      return translating(vmId, () => handleOf(vmId).executeUpdate<void, [Approval]>('approve', { args: [approval] }));
    },
    setHeld: (vmId, isHeld) => translating(vmId, () => handleOf(vmId).executeUpdate<Hold, [{ readonly isHeld: boolean }]>('setHeld', { args: [{ isHeld }] })),
    setLimits: (vmId, change) => translating(vmId, () => handleOf(vmId).executeUpdate<CopyLimits, [Partial<CopyLimits>]>('setLimits', { args: [change] })),
  };
}

async function translating<T>(vmId: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw fromTemporal(error, vmId);
  }
}

function isInProgress(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'MIGRATION_IN_PROGRESS';
}
