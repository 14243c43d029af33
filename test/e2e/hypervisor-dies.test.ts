/**
 * The hypervisor of a VM is killed right after a write of its ownership record, its worker lives: the one case in which a VM runs
 * nowhere, since nobody has its memory any more or may run it. The move says so, and where it may be started.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { VmId } from '../../domain/ids.js';
import { type Injector, startInjector, workersThatAsk } from '../../infra/testbed/faults/injector.js';
import { processesOf } from '../../infra/testbed/faults/vm-processes.js';
import type { Testbed } from '../../infra/testbed/testbed.js';
import { type HostName, consoleOn, evidenceOf, failedMove, moveTo, openTestbed, recordAt, startGuest } from './support.js';

let testbed: Testbed;
let injector: Injector;
beforeAll(async () => {
  testbed = await openTestbed(async (root) => {
    injector = await startInjector(`${root}.sock`);
    return { workerCommands: workersThatAsk(`${root}.sock`) };
  });
});
afterAll(async () => {
  await testbed?.stop();
  await injector?.close();
});

it.each([
  { host: 'host-a', write: 'offer', outcome: 'source-resumed', left: ['owner', 'none'] },
  { host: 'host-b', write: 'accept', outcome: 'moved', left: ['retired', 'owner'] },
] as const)('on $host, after it wrote “$write”: $outcome, and it runs nowhere', async ({ host, write, outcome, left }) => {
  const vmId = `dead-${write}`;
  const { vm, console: guest } = await startGuest(testbed, vmId, 'host-a');
  let killed = 0;
  const accident = injector.follow(async (point) => {
    if (killed === 0 && point.kind === 'write' && point.on === host && point.name === write && point.at === 'after') killed = await killHypervisor(host, vm.vmId);
    return 'pass';
  });
  const { codes, result } = await Promise.race([accident, failedMove(testbed.client.migrate({ vmId, destination: 'host-b' }).then(({ runId }) => testbed.client.result(vmId, runId)))]);

  expect(killed).toBeGreaterThan(0);
  expect(codes).toContain('VM_NOT_RUNNING');
  expect(result?.outcome).toMatchObject({ kind: outcome, runsOn: null });
  if (!result) throw new Error('the move has no result');
  expect((await evidenceOf(result)).outcome).toEqual(result.outcome);
  expect((['host-a', 'host-b'] as const).map((one) => recordAt(testbed, one, vmId).state)).toEqual(left);
  expect((await testbed.client.vms()).filter((known) => known.vmId === vmId && known.status !== 'absent')).toEqual([]);

  await testbed.client.startVm(vm, host);
  const after = await consoleOn(testbed, vmId, host);
  await after.until((c) => c.counts().includes(1) && c.unseals().length > 0, `unsealing after it was started at ${host}`, 120_000);
  expect(after.unseals().at(-1)?.ek).toBe(guest.unseals()[0]?.ek);
  await Promise.all([guest.close(), after.close()]);
  const other = host === 'host-a' ? 'host-b' : 'host-a';
  expect((await moveTo(testbed, vmId, other)).outcome).toMatchObject({ kind: 'moved', runsOn: other });
});

async function killHypervisor(host: HostName, vmId: VmId): Promise<number> {
  const running = await processesOf(testbed.hosts[host].config, host, vmId);
  const pid = running.find(({ kind }) => kind === 'hypervisor')?.pid ?? 0;
  if (pid > 0) process.kill(pid, 'SIGKILL');
  return pid;
}
