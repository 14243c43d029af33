/** What people may do to the workflow of a move past Kororā: the buttons of Temporal's web UI, and whoever has the order. */
import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { workflowIdOf } from '../../client/index.js';
import { CONTROL_QUEUE } from '../../domain/steps.js';
import type { MigrationInput, secureMigration } from '../../workflows/secure-migration.js';

/** "Terminate". The run that is the newest, and none that has ended. */
export async function terminateMove({ workflow }: Client, vmId: string): Promise<void> {
  await workflow.getHandle(workflowIdOf(vmId)).terminate('somebody pressed a button');
}

/** "Reset", to the first task: that run ends, and another does everything again with its order. Gives the id of the other run. */
export async function resetMove({ workflow, workflowService, options: { namespace } }: Client, vmId: string, runId: string): Promise<string> {
  const workflowId = workflowIdOf(vmId);
  const { events } = await workflow.getHandle(workflowId, runId).fetchHistory();
  const firstTask = events?.find(({ workflowTaskCompletedEventAttributes }) => workflowTaskCompletedEventAttributes)?.eventId;
  if (!firstTask) throw new Error(`the workflow of ${vmId} has not begun`);
  const reset = await workflowService.resetWorkflowExecution({ namespace, workflowExecution: { workflowId, runId }, reason: 'somebody pressed the button', workflowTaskFinishEventId: firstTask, requestId: randomUUID() });
  return reset.runId;
}

/** A run with an order that had one. Gives its id. */
export async function orderAgain({ workflow }: Client, vmId: string, input: MigrationInput): Promise<string> {
  const handle = await workflow.start<typeof secureMigration>('secureMigration', { taskQueue: CONTROL_QUEUE, workflowId: workflowIdOf(vmId), args: [input] });
  return handle.firstExecutionRunId;
}
