/**
 * What portals and the CLI import: start VMs, order moves, watch them, abort them. Talks to
 * Temporal only; hosts are reached through their workers.
 */
import { type Client, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, type WorkflowHandle } from '@temporalio/client';
import type { HostQuestion } from '../domain/attestation.js';
import { parseDocument } from '../domain/documents.js';
import type { Envelope, Signer } from '../domain/envelope.js';
import { KororaError, refuse } from '../domain/failures.js';
import { type HostId, VmId } from '../domain/ids.js';
import type { CopyLimits } from '../domain/progress.js';
import type { Finding, Hold, HostSurvey, MigrationResult, MigrationStatus, VmSurvey } from '../domain/status.js';
import { CONTROL_QUEUE } from '../domain/steps.js';
import type { SurveyQuestionTo } from '../domain/survey.js';
import { type InstalledBundle, hostIn } from '../domain/trust-bundle.js';
import { VmDocument } from '../domain/vm.js';
import type { quoteHost, reconcileVm, reinstateHost, secureMigration, showSurvey, startVm as startVmWorkflow, surveyHosts } from '../workflows/index.js';
import type { Reconciliation } from '../workflows/reconcile.js';
import { authorOf } from './author.js';
import { fromTemporal } from './errors.js';
import type { OrderRequest } from './order.js';
import type { Confirm } from './shown.js';
import { saidBy } from './signed-move.js';
import { createStatements, openWord } from './statements.js';
import { type HostTrial, questionsOf, tryReply } from './verify/state.js';
import { proveLedger, proveVm, surveyQuestionOf } from './verify/survey.js';
import { type MigrationView, watchMigration } from './watch.js';

export { readDataConverter } from '../temporal/data-converter.js';
export { type ChainReport, type EvidenceReport, checkChain, verifyEvidence } from './verify/index.js';
export { type HostTrial, tryEvidence } from './verify/state.js';
export { MigrationFailedError } from './errors.js';
export type { OrderRequest } from './order.js';
export type { Confirm, Shown } from './shown.js';
export type { MigrationView } from './watch.js';

export interface KororaClientOptions {
  /** With `dataConverter: await readDataConverter(keyFile)`: workers that have a payload key refuse what is not encrypted with it. */
  readonly client: Client;
  readonly bundle: InstalledBundle;
  /** Signs what this client orders and says; left out, it can only look, hold and abort. Its key is an operator's of the bundle. */
  readonly signer?: Signer;
  /** Is shown all that is to be signed, as signatures prove it, and says whether it is. Left out, all of it is: of a program that signs for itself. */
  readonly confirm?: Confirm;
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

/**
 * What is `signed` fails with SIGNING_KEY_MISSING or SIGNING_KEY_UNKNOWN before anything is asked of anybody, and with MOVE_UNPROVEN, SURVEY_UNPROVEN or
 * SIGNING_DECLINED before anything is signed.
 */
export interface KororaClient {
  /** Hosts of the bundle, as their workers answer now. */
  hosts(): Promise<readonly HostSurvey[]>;
  vms(): Promise<readonly VmSurvey[]>;
  /** A trial of the bundle: whether each of its active hosts would pass with it, by a quote made now. */
  tryBundle(): Promise<readonly HostTrial[]>;
  /** Signed. VM_EXISTS, START_IN_PROGRESS, HOST_UNKNOWN, HOST_UNREACHABLE and the host's own reasons. */
  startVm(vm: unknown, hostId: string): Promise<VmSurvey>;
  /** Signed. Orders and starts the move; its outcome is `result`. MIGRATION_IN_PROGRESS while another one of this VM runs. */
  migrate(request: OrderRequest): Promise<StartedMigration>;
  status(vmId: string): Promise<MigrationStatus>;
  /** Every change of the move, the last one included; ends with it. */
  watch(vmId: string, runId?: string): AsyncGenerator<MigrationView>;
  /** Throws MigrationFailedError with failures and result where the VM did not move. */
  result(vmId: string, runId?: string): Promise<MigrationResult>;
  /** PAST_POINT_OF_NO_RETURN once the source has stopped. */
  abort(vmId: string, reason: string): Promise<void>;
  /**
   * Signed. Ends the wait of a move for a host that is powered off and stays so, also of a move whose workflow is gone. NOTHING_TO_FENCE unless
   * it waits for that host; FENCE_REFUSED where it answers after all.
   */
  fence(vmId: string, fence: { readonly host: string; readonly reason: string }): Promise<void>;
  /** Lets hosts whose record of the VM is of an earlier epoch give it up, and ends a move whose workflow is gone by its destination's verdict. TWO_OWNERS. */
  reconcile(vmId: string): Promise<Reconciliation>;
  /**
   * Signed. Has a host that cannot tell whether its ownership records are its last believe them as they are; resolves with what it then found
   * out of line. HOST_UNREACHABLE; REINSTATEMENT_STALE where they have changed since.
   */
  reinstate(hostId: string, reinstatement: { readonly reason: string }): Promise<readonly Finding[]>;
  /** Signed, and sent to nobody: where the bundle wants two operators for it (`wordsOfTwo`). It is good for an hour. */
  draftFence(vmId: string, fence: { readonly host: string; readonly reason: string }): Promise<Envelope>;
  draftReinstatement(hostId: string, reinstatement: { readonly reason: string }): Promise<Envelope>;
  /** Signed: adds a signature to a draft, which is proven and shown anew. SIGNED_ALREADY; SECOND_SIGNATURE_MISSING of an operator who may not say it. */
  countersign(draft: unknown): Promise<Envelope>;
  /** Sends what was drafted; as `fence` and `reinstate`. SECOND_SIGNATURE_MISSING. */
  submit(signed: unknown): Promise<readonly Finding[]>;
  /** Signed. NOT_COPYING unless rounds run; LIMITS_INVALID. Answers with the limits in force. */
  setLimits(vmId: string, change: Partial<CopyLimits>): Promise<CopyLimits>;
  /** Signed. Lets a move that was ordered with `requiresApproval` go on. NOTHING_TO_APPROVE unless it waits for that; APPROVER_IS_REQUESTER. */
  approve(vmId: string, approval?: { readonly reason?: string }): Promise<void>;
  /** Holds the copy, or lets it go on; the VM runs in either case. NOT_COPYING unless rounds run. */
  setHeld(vmId: string, isHeld: boolean): Promise<Hold>;
}

/** Of a trial of a bundle, which may have thousands. */
const HOSTS_AT_ONCE = 16;

export const workflowIdOf = (vmId: string): string => `migrate-${vmId}`;

export function createKororaClient({ client, bundle, signer, confirm = () => Promise.resolve(true), taskQueue = CONTROL_QUEUE }: KororaClientOptions): KororaClient {
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

  const status = (vmId: string) => translating(vmId, () => handleOf(vmId).query<MigrationStatus, []>('status'));

  async function shownBy(question: SurveyQuestionTo): Promise<unknown> {
    return translating(question.vmId ?? '', () =>
      client.workflow.execute<typeof showSurvey>('showSurvey', {
        taskQueue,
        workflowId: `survey-${question.hostId}-${crypto.randomUUID()}`,
        args: [question],
        staticSummary: `Asks ${question.hostId} for what is to be signed by`,
      }),
    );
  }

  const statements = createStatements({
    installed: bundle,
    author: () => authorOf(signer ?? null, confirm, bundle.bundle),
    hosts,
    status,
    isMoving,
    async vmOn(hostId, vmId) {
      const question = surveyQuestionOf(bundle.bundle, hostId, vmId);
      return proveVm(bundle.bundle, question, await shownBy(question));
    },
    async ledgerOf(hostId) {
      const question = surveyQuestionOf(bundle.bundle, hostId, null);
      return proveLedger(bundle.bundle, question, await shownBy(question));
    },
  });

  async function reconcile(value: string, fence: Envelope | null): Promise<Reconciliation> {
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

  async function submit(value: unknown): Promise<readonly Finding[]> {
    const opened = openWord(value);
    const document = saidBy(opened, null, bundle.bundle);
    if (document.kind === 'korora/reinstatement') return reinstate(document.host, opened.envelope);
    const { vmId } = document;
    if (await isMoving(vmId)) await translating(vmId, () => handleOf(vmId).executeUpdate<void, [Envelope]>('fence', { args: [opened.envelope] }));
    else await reconcile(vmId, opened.envelope);
    return [];
  }

  const reinstate = (hostId: HostId, reinstatement: Envelope) =>
    translating('', () =>
      client.workflow.execute<typeof reinstateHost>('reinstateHost', {
        taskQueue,
        workflowId: `reinstate-${hostId}`,
        workflowIdConflictPolicy: WorkflowIdConflictPolicy.FAIL,
        args: [{ reinstatement }],
        staticSummary: `Has ${hostId} believe its ownership records again`,
      }),
    );

  return {
    hosts,
    async vms() {
      return (await hosts()).flatMap((host) => (host.reachable ? host.vms : []));
    },
    async tryBundle() {
      const askOne = async (question: HostQuestion) => {
        const reply = await translating('', () =>
          client.workflow.execute<typeof quoteHost>('quoteHost', {
            taskQueue,
            workflowId: `quote-${question.hostId}-${crypto.randomUUID()}`,
            args: [question],
            staticSummary: `Asks ${question.hostId} for a quote, to try a trust bundle`,
          }),
        );
        return tryReply(bundle.bundle, question, reply);
      };
      const trials: HostTrial[] = [];
      const questions = [...questionsOf(bundle.bundle)];
      while (questions.length > 0) trials.push(...(await Promise.all(questions.splice(0, HOSTS_AT_ONCE).map(askOne))));
      return trials;
    },
    async startVm(value, host) {
      const vm = parseDocument(VmDocument, value, 'VM_DOCUMENT_INVALID');
      const { hostId } = hostIn(bundle.bundle, host);
      const others = hostIds.filter((id) => id !== hostId);
      const start = await statements.start(vm, hostId);
      try {
        return await translating(vm.vmId, () =>
          client.workflow.execute<typeof startVmWorkflow>('startVm', {
            taskQueue,
            workflowId: `start-${vm.vmId}`,
            workflowIdConflictPolicy: WorkflowIdConflictPolicy.FAIL,
            args: [{ start, vm, others }],
            staticSummary: `Starts VM ${vm.vmId} on ${hostId}`,
          }),
        );
      } catch (error) {
        if (isInProgress(error)) throw refuse('START_IN_PROGRESS', { vm: vm.vmId }, error);
        throw error;
      }
    },
    async migrate(request) {
      const { order, vm, signed } = await statements.order(request);
      const handle = await translating(order.vmId, () =>
        client.workflow.start<typeof secureMigration>('secureMigration', {
          taskQueue,
          workflowId: workflowIdOf(order.vmId),
          workflowIdConflictPolicy: WorkflowIdConflictPolicy.FAIL,
          workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
          args: [{ order: signed, vm }],
          staticSummary: `Moves VM ${order.vmId} from ${order.source} to ${order.destination}`,
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
    status,
    watch: (vmId, runId) => watchMigration(client, handleOf(vmId, runId), vmId),
    result: (vmId, runId) => translating(vmId, () => handleOf(vmId, runId).result()),
    abort: (vmId, reason) => translating(vmId, () => handleOf(vmId).executeUpdate<void, [{ readonly reason: string }]>('abort', { args: [{ reason }] })),
    fence: async (vmId, fence) => void (await submit(await statements.fence(vmId, fence))),
    reconcile: (vmId) => reconcile(vmId, null),
    reinstate: async (host, { reason }) => submit(await statements.reinstatement(host, reason)),
    draftFence: statements.fence,
    draftReinstatement: (host, { reason }) => statements.reinstatement(host, reason),
    async countersign(draft) {
      const signed = await statements.countersigned(draft);
      saidBy(openWord(signed), null, bundle.bundle);
      return signed;
    },
    submit,
    async approve(vmId, { reason } = {}) {
      const approval = await statements.approval(vmId, reason ?? null);
      return translating(vmId, () => handleOf(vmId).executeUpdate<void, [Envelope]>('approve', { args: [approval] }));
    },
    setHeld: (vmId, isHeld) => translating(vmId, () => handleOf(vmId).executeUpdate<Hold, [{ readonly isHeld: boolean }]>('setHeld', { args: [{ isHeld }] })),
    async setLimits(vmId, change) {
      const signed = await statements.limits(vmId, change);
      return translating(vmId, () => handleOf(vmId).executeUpdate<CopyLimits, [Envelope]>('setLimits', { args: [signed] }));
    },
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
