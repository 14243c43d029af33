/** One move of a made-up VM between made-up hosts, from its order to its end, and what is to be seen of it on the way. */
import { randomUUID } from 'node:crypto';
import type { WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import { MigrationFailedError, fromTemporal } from '../../client/errors.js';
import { digestOf } from '../../domain/canonical.js';
import { type Envelope, signEnvelope } from '../../domain/envelope.js';
import { type FailureCode, KororaError } from '../../domain/failures.js';
import type { Order } from '../../domain/order.js';
import type { MigrationResult, MigrationStatus } from '../../domain/status.js';
import { FOLLOWS, type Phase } from '../../domain/steps.js';
import type { secureMigration } from '../../workflows/index.js';
import { ADA, orderOf, vmDocument } from '../support/documents.js';
import type { Planned } from './faults.js';
import { type Scheduled, scheduledIn } from './history.js';
import { MadeUpHosts } from './made-up-hosts.js';
import type { Stage } from './stage.js';
import { inTime, seen } from './waits.js';

export interface Ended {
  readonly result: MigrationResult;
  readonly codes: readonly FailureCode[];
  readonly messages: readonly string[];
  readonly scheduled: readonly Scheduled[];
}

export interface Move {
  readonly order: Order;
  readonly hosts: MadeUpHosts;
  readonly handle: WorkflowHandleWithFirstExecutionRunId<typeof secureMigration>;
  status(): Promise<MigrationStatus>;
  /** For the limit of a wait. */
  lastSeen(): Promise<unknown>;
  /** The first status that `isIt`. */
  untilStatus(what: string, isIt: (status: MigrationStatus) => boolean): Promise<MigrationStatus>;
  /** What the workflow says to an update: its answer, or the code of its refusal. */
  tell(update: string, argument: unknown): Promise<{ readonly answer: unknown } | { readonly code: FailureCode }>;
  /** Where the workflow says what a move says at its end, whichever it is. */
  end(): Promise<Ended>;
}

let moves = 0;

export async function startMove(stage: Stage, plan: readonly Planned[], changes: Partial<Order> = {}): Promise<Move> {
  const vmId = `vm-${++moves}`;
  const vm = vmDocument({ vmId });
  const { source, destination } = stage;
  const order = orderOf({ ...{ migrationId: randomUUID(), vmId, vmDigest: digestOf(vm), source, destination }, ...changes });
  const hosts = new MadeUpHosts(order, vm, plan);
  const workflowId = `migrate-${source}-${vmId}`;
  stage.answer(workflowId, (call) => hosts.answer(call));
  const signed: Envelope = await signEnvelope(order, ADA);
  const start = () => stage.client.workflow.start<typeof secureMigration>('secureMigration', { taskQueue: stage.controlQueue, workflowId, args: [{ order: signed, vm }] });
  const handle = await stage.startInTurn(workflowId, start);
  const status = () => handle.query<MigrationStatus, []>('status');
  const lastSeen = async () => {
    const { phase, failures, nextAction } = await status();
    return { phase, failures, nextAction, tries: hosts.tries };
  };

  async function end(): Promise<Ended> {
    try {
      const ending = await inTime('the end of the move', handle.result().then((result) => ({ result, failures: [] }), failedOf), lastSeen);
      return { result: ending.result, codes: ending.failures.map(({ code }) => code), messages: ending.failures.map(({ message }) => message), scheduled: scheduledIn(await handle.fetchHistory(), order) };
    } finally {
      hosts.close();
    }
  }

  async function tell(update: string, argument: unknown) {
    try {
      return { answer: await handle.executeUpdate<unknown, [unknown]>(update, { args: [argument] }) };
    } catch (error) {
      const told = fromTemporal(error, order.vmId);
      if (told instanceof KororaError) return { code: told.code };
      throw told;
    }
  }

  return { order, hosts, handle, status, lastSeen, end, tell, untilStatus: (what, isIt) => seen(what, status, isIt) };
}

function failedOf(error: unknown) {
  const told = fromTemporal(error, '');
  if (!(told instanceof MigrationFailedError) || !told.result) throw new Error('the workflow failed without the result of a move', { cause: error });
  const { result, failures } = told;
  return { result, failures };
}

/** What must be so of every move, however it ended, beside its outcome; in words. */
export function problemsOf({ hosts, order }: Move, { result, codes }: Ended): string[] {
  const problems = [...hosts.violations];
  const [evidence, ...more] = hosts.recorded;
  if (!evidence || more.length > 0) problems.push(`evidence was recorded ${hosts.recorded.length} times`);
  else {
    if (digestOf(evidence.outcome) !== digestOf(result.outcome)) problems.push('the evidence says another outcome than the result');
    if (evidence.outcome.failures.map(({ code }) => code).join() !== codes.join()) problems.push('the evidence says other failures than the workflow');
    if (evidence.verdict?.verdict.verdict === 'accepted' && !evidence.manifest) problems.push('the evidence has an accepted verdict without the manifest');
  }
  if ((result.outcome.kind === 'moved') !== (hosts.destination === 'owner')) problems.push(`it says ${result.outcome.kind}, and the destination is ${hosts.destination}`);
  if (result.outcome.runsOn === order.source && hosts.source !== 'owner') problems.push(`it says that the VM runs on the source, which is ${hosts.source}`);
  if (result.outcome.runsOn === order.destination && hosts.destination !== 'owner') problems.push(`it says that the VM runs on the destination, which is ${hosts.destination}`);
  return [...problems, ...phaseProblems(Object.keys(result.timings.phases) as Phase[])];
}

/** `reached`: in the order in which each was reached first. Doubt always ends in `compensating`, which was reached before. */
function phaseProblems(reached: readonly Phase[]): string[] {
  const problems = reached.slice(1).flatMap((phase, i) => {
    const before = reached[i] === 'in-doubt' ? 'compensating' : (reached[i] as Phase);
    const isNext = FOLLOWS[before].includes(phase);
    return isNext ? [] : [`phase ${phase} came right after ${reached[i]}`];
  });
  const last = reached.at(-1);
  return last && FOLLOWS[last].length === 0 ? problems : [...problems, `the last phase is ${last}`];
}
