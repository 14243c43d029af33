/** Moves that people tell something: they are tuned, held and approved, aborted, cancelled; and a host that came back from a backup is reinstated. */
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MigrationFailedError, workflowIdOf } from '../../../client/index.js';
import { endOfMove } from '../end-of-move.js';
import type { HostName } from '../faults/move.js';
import { VM } from '../scenarios.js';
import type { Testbed } from '../testbed.js';
import { untilView } from '../until-view.js';
import type { Take } from './recording.js';

/** Enough rounds and seconds to end a copy in: the guest dirties half of what may be sent. */
export const SLOW = { bandwidthBytesPerSecond: 16 * 1024 * 1024 };

/** The VM runs on host-a before, and on host-b after. */
export async function endedByPeople(testbed: Testbed, take: Take): Promise<void> {
  const { stateDir } = testbed.hosts['host-a'].config;
  const backup = join(testbed.root, 'backup');
  await cp(stateDir, backup, { recursive: true });
  await approvedMove(testbed, 'host-b');
  await take('approved', workflowIdOf(VM));

  await testbed.hosts['host-a'].worker.kill();
  await rm(stateDir, { recursive: true });
  await cp(backup, stateDir, { recursive: true });
  await testbed.restartWorker('host-a');
  await testbed.client.reconcile(VM);
  await take('reconciled', `reconcile-${VM}`);
  await testbed.client.reinstate('host-a', { reason: 'no other VM was ever here' });
  await take('reinstated', 'reinstate-host-a');

  const { runId } = await movingInRounds(testbed);
  await testbed.client.abort(VM, 'a recording wanted it');
  await failing(testbed, runId, 'ABORTED');
  await take('aborted', workflowIdOf(VM));

  const cancelled = await movingInRounds(testbed);
  await testbed.temporal.workflow.getHandle(workflowIdOf(VM), cancelled.runId).cancel();
  await failing(testbed, cancelled.runId, 'ABORTED');
  await take('cancelled', workflowIdOf(VM));
}

/** Every update that a copy takes and goes on. */
export async function approvedMove(testbed: Testbed, destination: HostName): Promise<void> {
  const { client } = testbed;
  const { runId } = await client.migrate({ vmId: VM, destination, requiresApproval: true });
  await untilView(testbed, VM, runId, 'copy that waits for its approval', ({ status, progress }) => status.awaits === 'approval' && progress !== null);
  await client.setLimits(VM, { bandwidthBytesPerSecond: 256 * 1024 * 1024 });
  await client.setHeld(VM, true);
  await client.setHeld(VM, false);
  await client.approve(VM, { reason: 'a recording wanted it' });
  const { outcome } = await endOfMove(client, VM, runId);
  if (outcome.kind !== 'moved') throw new Error(`the move that was approved ended ${outcome.kind}`);
}

async function movingInRounds(testbed: Testbed): Promise<{ readonly runId: string }> {
  const { runId } = await testbed.client.migrate({ vmId: VM, destination: 'host-a', limits: SLOW });
  await untilView(testbed, VM, runId, 'copy that has sent something', ({ progress }) => progress !== null && progress.sentBytes > 0);
  return { runId };
}

/** Waits for a move that must fail, for this reason among others. */
export async function failing({ client }: Testbed, runId: string, code: string): Promise<void> {
  const ended = await endOfMove(client, VM, runId).then(({ outcome }) => outcome.kind, (error: unknown) => error);
  if (!(ended instanceof MigrationFailedError)) throw ended instanceof Error ? ended : new Error(`the move ended ${String(ended)}, and not with ${code}`);
  const codes = ended.failures.map((failure) => failure.code);
  if (!codes.some((one) => one === code)) throw new Error(`the move ended with ${codes.join(', ')}, and not with ${code}`);
}
