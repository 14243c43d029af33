/** A workflow that ran to its end and is run again, by the reset that Temporal's web UI offers: hosts refuse it, and it says no more than they did. */
import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { MigrationFailedError, fromTemporal } from '../../client/errors.js';
import type { secureMigration } from '../../workflows/index.js';
import { startMove } from './moves.js';
import { openStage } from './stage.js';
import { inTime } from './waits.js';

const stage = openStage('second');

it('a reset of a move that is done is refused, does not say that the VM is at its source, and tells of both evidence files', async () => {
  const move = await startMove(stage, []);
  const { result } = await move.end();
  expect([result.outcome.kind, result.notes]).toEqual(['moved', []]);

  const { client } = stage;
  const { workflowId, firstExecutionRunId } = move.handle;
  const { events } = await move.handle.fetchHistory();
  const firstTask = events?.find(({ workflowTaskCompletedEventAttributes }) => workflowTaskCompletedEventAttributes)?.eventId;
  const { runId } = await client.workflowService.resetWorkflowExecution({
    namespace: client.options.namespace, workflowExecution: { workflowId, runId: firstExecutionRunId }, reason: 'somebody pressed the button', workflowTaskFinishEventId: firstTask ?? null, requestId: randomUUID(),
  });
  const again = client.workflow.getHandle<typeof secureMigration>(workflowId, runId);
  const told = await inTime('the end of the second run', again.result().then(() => null, (error: unknown) => fromTemporal(error, move.order.vmId)), () => Promise.resolve(move.hosts.tries));
  if (!(told instanceof MigrationFailedError) || !told.result) throw new Error('the second run was not refused', { cause: told });

  expect(told.failures.map(({ code }) => code)).toEqual(['VM_HELD', 'VM_NOT_OWNED']);
  expect(told.result.outcome).toMatchObject({ kind: 'refused', runsOn: null });
  expect(told.result.evidencePath).not.toBe(result.evidencePath);
  const [note, ...others] = told.result.notes;
  expect([note?.code, others]).toEqual(['EVIDENCE_DIFFERS', []]);
  for (const path of [result.evidencePath, told.result.evidencePath]) expect(note?.message).toContain(path);
  const { nextAction } = await again.query<{ readonly nextAction: string | null }, []>('status');
  expect(nextAction).toContain(result.evidencePath);
  expect([move.hosts.source, move.hosts.destination, move.hosts.violations]).toEqual(['retired', 'owner', []]);
});
