/**
 * How soon an abort takes effect: from the moment the workflow takes it until the source's copy has ended, which
 * is when the abort has reached the host and the VM runs on there; and until the whole move has ended. Aborted in
 * the memory rounds. Times are the Temporal server's.
 */
import type { Testbed } from '../infra/testbed/testbed.js';
import { openGuestConsole } from '../infra/testbed/guest-console.js';
import { MIB } from '../domain/vm.js';
import { msOf } from './history.js';
import { spread, table } from './table.js';

const VM = 'fickle';
/** The copy takes seconds, so that the abort falls into its rounds. */
const LIMITS = { bandwidthBytesPerSecond: 16 * MIB };

export interface AbortedMove {
  readonly untilCopyEndedMs: number;
  readonly untilEndMs: number;
}

export async function measureAborts(testbed: Testbed, runs: number): Promise<readonly AbortedMove[]> {
  const { client, temporal, hosts } = testbed;
  await client.startVm(await testbed.guest(VM, { dirtyMibPerSecond: 8 }), 'host-a');
  const console = await openGuestConsole(`${hosts['host-a'].config.runDir}/${VM}/console.log`);
  await console.until((c) => c.unseals().length > 0, 'counting and its first unsealing', 120_000);
  await console.close();
  const moves: AbortedMove[] = [];
  for (let run = 0; run < runs; run++) {
    const { workflowId, runId } = await client.migrate({ vmId: VM, destination: 'host-b', limits: LIMITS });
    for await (const { progress } of client.watch(VM, runId)) if (progress && progress.sentBytes > 0) break;
    await client.abort(VM, 'the bench');
    await client.result(VM, runId).catch(() => undefined);
    const { events } = await temporal.workflow.getHandle(workflowId, runId).fetchHistory();
    const all = events ?? [];
    const takenAtMs = msOf(all.find((e) => e.workflowExecutionUpdateAcceptedEventAttributes)?.eventTime);
    const copying = all.find((e) => e.activityTaskScheduledEventAttributes?.activityType?.name === 'copyMemory')?.eventId;
    const ended = all.find((e) => String((e.activityTaskFailedEventAttributes ?? e.activityTaskCanceledEventAttributes)?.scheduledEventId) === String(copying));
    moves.push({ untilCopyEndedMs: msOf(ended?.eventTime) - takenAtMs, untilEndMs: msOf(all.at(-1)?.eventTime) - takenAtMs });
  }
  return moves;
}

export function abortTable(moves: readonly AbortedMove[]): string {
  const rows = [
    ['until the copy on the source has ended', moves.map((m) => m.untilCopyEndedMs), '≤ 500'],
    ['until the move has ended', moves.map((m) => m.untilEndMs), 'none'],
  ] as const;
  return table(['abort taken by the workflow', 'n', 'ms', 'target'], rows.map(([name, values, target]) => [name, String(values.length), spread(values), target]));
}
