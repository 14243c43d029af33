/** A worker that is killed in the middle of a move: the VM runs on the source, and moves later. */
import { expect, it } from 'vitest';
import { untilView } from '../../../infra/testbed/until-view.js';
import { endOfMove } from '../../../infra/testbed/end-of-move.js';
import { firstGap } from '../../../infra/testbed/guest-console.js';
import type { Testbed } from '../../../infra/testbed/testbed.js';
import { type HostName, failedMove, moveTo, startGuest, untilCopying } from '../support.js';
import { onSharedTestbed } from '../../support/shared-testbed.js';

let testbed: Testbed;
onSharedTestbed((shared) => ({ testbed } = shared));

it('a host that must answer and stays silent is the next action, until it is back', async () => {
  const vmId = 'patient';
  const { console: guest } = await startGuest(testbed, vmId, 'host-a');
  await guest.close();
  const { runId } = await testbed.client.migrate({ vmId, destination: 'host-b', limits: { bandwidthBytesPerSecond: 8 * 1024 * 1024 } });
  await untilCopying(testbed, vmId);
  await testbed.hosts['host-b'].worker.kill();
  const { status, hasEnded } = await untilView(testbed, vmId, runId, 'a next action', (view) => view.hasEnded || view.status.nextAction !== null);
  expect(hasEnded).toBe(false);
  expect(status.nextAction).toMatch(/^Bring the worker of host-b back: the move waits for its answer, and nobody else can give it\. /);
  await testbed.restartWorker('host-b');
  const { result } = await failedMove(endOfMove(testbed.client, vmId, runId));
  expect(result?.outcome).toMatchObject({ kind: 'source-resumed', runsOn: 'host-a' });
});

it.each<{ readonly killed: HostName; readonly vmId: string }>([
  { killed: 'host-a', vmId: 'orphan-a' },
  { killed: 'host-b', vmId: 'orphan-b' },
])('the worker of $killed is killed during the rounds and comes back', async ({ killed, vmId }) => {
  const { console: guest } = await startGuest(testbed, vmId, 'host-a', { dirtyMibPerSecond: 4 });
  const { runId } = await testbed.client.migrate({ vmId, destination: 'host-b', limits: { bandwidthBytesPerSecond: 8 * 1024 * 1024 } });
  await untilCopying(testbed, vmId);
  await testbed.hosts[killed].worker.kill();
  const before = guest.counts().at(-1) ?? 0;
  await testbed.restartWorker(killed);

  const { codes, result } = await failedMove(endOfMove(testbed.client, vmId, runId));
  expect(result?.outcome).toMatchObject({ kind: 'source-resumed', runsOn: 'host-a' });
  expect(codes.some((code) => ['SESSION_LOST', 'CHANNEL_LOST', 'CHANNEL_SILENT', 'HOST_UNREACHABLE', 'DESTINATION_REJECTED'].includes(code))).toBe(true);
  await guest.until((c) => c.unseals().some((u) => u.count > before) && (c.counts().at(-1) ?? 0) > before + 5, 'going on at host-a');
  expect(firstGap(guest.counts())).toBeNull();
  await guest.close();

  const records = (await testbed.client.vms()).filter((vm) => vm.vmId === vmId);
  expect(records.filter((vm) => vm.mayRun).map((vm) => vm.hostId)).toEqual(['host-a']);
  expect(records.find((vm) => vm.hostId === 'host-b')?.status ?? 'absent').toBe('absent');
  expect((await moveTo(testbed, vmId, 'host-b')).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
});
