/** A move whose workflow is run again, by a reset or by its order, or is terminated in the middle: hosts go by their records, and no evidence is lost. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readPublicKey } from '../../../cli/keys.js';
import { checkChain, verifyEvidence, workflowIdOf } from '../../../client/index.js';
import type { MigrationResult } from '../../../domain/status.js';
import { CONTROL_QUEUE } from '../../../domain/steps.js';
import { endOfMove } from '../../../infra/testbed/end-of-move.js';
import type { Testbed } from '../../../infra/testbed/testbed.js';
import { until } from '../../../infra/testbed/until.js';
import { type HostName, evidenceOf, failedMove, moveTo, recordAt, startGuest, untilCopying } from '../support.js';
import { onSharedTestbed } from '../../support/shared-testbed.js';

let testbed: Testbed;
onSharedTestbed((opened) => ({ testbed } = opened));

async function verified(result: MigrationResult) {
  const bundle: unknown = JSON.parse(await readFile(join(testbed.root, 'trust.json'), 'utf8'));
  return verifyEvidence(await evidenceOf(result), bundle, [await readPublicKey(testbed.keys.policy.publicFile)]);
}

async function expectOneRunning(vmId: string, host: HostName): Promise<void> {
  const vms = (await testbed.client.vms()).filter((vm) => vm.vmId === vmId);
  expect(vms.filter((vm) => vm.status !== 'absent').map((vm) => `${vm.hostId} ${vm.status}`)).toEqual([`${host} running`]);
}

/** The same, whoever began it. */
async function expectRefusedBeside(first: MigrationResult, vmId: string, runId: string): Promise<void> {
  const { codes, result, error } = await failedMove(endOfMove(testbed.client, vmId, runId));
  if (!result) throw new Error('a second run without a result', { cause: error });
  expect(codes).toEqual(expect.arrayContaining(['VM_UNKNOWN', 'VM_HELD']));
  expect(codes).not.toContain('LEFTOVER_FOUND');
  expect(result.outcome).toMatchObject({ kind: 'refused', runsOn: null });
  expect(result.notes.map(({ code }) => code)).toEqual(['EVIDENCE_DIFFERS']);
  expect(result.notes[0]?.message).toContain(first.evidencePath);
  expect([(await verified(first)).standing, await verified(result)]).toEqual(['holds', expect.objectContaining({ standing: 'incomplete', summary: 'nothing in it is wrong, but no host signed how the move ended' })]);
  await expectOneRunning(vmId, 'host-b');
}

it('a move that is done is refused when its workflow is reset, and when its order is used again; its evidence stays, and the VM moves on', async () => {
  const vmId = 'again';
  const { console } = await startGuest(testbed, vmId, 'host-a', { dirtyMibPerSecond: 1 });
  await console.close();
  const { runId } = await testbed.client.migrate({ vmId, destination: 'host-b' });
  const first = await endOfMove(testbed.client, vmId, runId);
  expect([first.outcome.kind, first.notes]).toEqual(['moved', []]);

  const workflowId = workflowIdOf(vmId);
  const { events } = await testbed.temporal.workflow.getHandle(workflowId, runId).fetchHistory();
  const firstTask = events?.find(({ workflowTaskCompletedEventAttributes }) => workflowTaskCompletedEventAttributes)?.eventId;
  const reset = await testbed.temporal.workflowService.resetWorkflowExecution({
    namespace: testbed.temporal.options.namespace, workflowExecution: { workflowId, runId }, reason: 'somebody pressed the button', workflowTaskFinishEventId: firstTask ?? null, requestId: randomUUID(),
  });
  await expectRefusedBeside(first, vmId, reset.runId);

  const { order, vm } = await evidenceOf(first);
  const repeated = await testbed.temporal.workflow.start('secureMigration', { taskQueue: CONTROL_QUEUE, workflowId, args: [{ order, vm }] });
  await expectRefusedBeside(first, vmId, repeated.firstExecutionRunId);

  const back = await moveTo(testbed, vmId, 'host-a');
  expect([back.outcome.kind, (await verified(back)).standing]).toEqual(['moved', 'holds']);
  expect(checkChain([await evidenceOf(first), await evidenceOf(back)])).toEqual({ problems: [], gaps: [] });
});

it('a move whose workflow is terminated while it copies leaves the VM at its source, and it can be moved', async () => {
  const vmId = 'cut-short';
  const { console } = await startGuest(testbed, vmId, 'host-a', { dirtyMibPerSecond: 1 });
  await console.close();
  const { workflowId, runId } = await testbed.client.migrate({ vmId, destination: 'host-b', limits: { bandwidthBytesPerSecond: 8 * 1024 * 1024 } });
  await untilCopying(testbed, vmId);
  await testbed.temporal.workflow.getHandle(workflowId, runId).terminate('somebody pressed another button');
  const states = async () => [recordAt(testbed, 'host-a', vmId).state, recordAt(testbed, 'host-b', vmId).state];
  await until('both hosts to end what no workflow tends', states, ([atA, atB]) => atA === 'owner' && atB === 'none', { limitMs: 120_000, everyMs: 200 });
  await expectOneRunning(vmId, 'host-a');
  expect((await moveTo(testbed, vmId, 'host-b')).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
});
