/** Once he has stopped: each VM is started, moved and moved back, by honest people alone; and nothing is left of the moves before. */
import { problemOf } from '../../../../domain/failures.js';
import { endOfMove } from '../../end-of-move.js';
import { guestProblems } from '../../faults/checks.js';
import { HOSTS, type HostName, otherHost } from '../../faults/move.js';
import { remainsOf } from '../../faults/remains.js';
import { runOnce } from './run.js';
import type { Stage } from './stage.js';

export async function wayBackProblems(stage: Stage): Promise<readonly string[]> {
  const { testbed, prize, spare, guest, baseline } = stage;
  const { client } = testbed;
  const attempt = async (what: string, work: () => Promise<readonly string[]>) => (await work().catch((error: unknown) => [problemOf(error)])).map((problem) => `way-back, ${what}: ${problem}`);
  // A copy that runs is no longer what was stopped and started: its processes end as if the host had lost them.
  const started = await attempt('the VM that moved is ended and started', async () => {
    await testbed.endVms(prize.vmId);
    await guest.mark(stage.owner);
    await client.startVm(prize, stage.owner);
    const { problems, state } = await guestProblems(guest, [stage.owner], stage.state, true);
    stage.state = state;
    return problems;
  });
  if (started.length > 0) return started;
  const moved: string[] = [];
  for (const leg of ['moved', 'moved back']) {
    moved.push(...(await attempt(`it is ${leg}`, async () => {
      const { outcome, breaches } = await runOnce(stage, { bursts: [], accident: null });
      return [...(outcome === 'moved' ? [] : [`it ended ${outcome}`]), ...breaches];
    })));
  }
  const other = await attempt('the VM that was off is started, moved and moved back', async () => {
    let on: HostName = 'host-b';
    await client.startVm(spare, on);
    for (let leg = 0; leg < 2; leg++) {
      const { runId } = await client.migrate({ vmId: spare.vmId, destination: otherHost(on) });
      await endOfMove(client, spare.vmId, runId);
      on = otherHost(on);
    }
    await testbed.endVms(spare.vmId);
    return [];
  });
  const left = await attempt('the workers are started anew', async () => {
    for (const host of HOSTS) await testbed.restartWorker(host);
    return remainsOf(testbed.hosts, prize.vmId, stage.owner, baseline);
  });
  return [...moved, ...other, ...left];
}
