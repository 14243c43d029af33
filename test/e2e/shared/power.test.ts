/**
 * What no protocol can bring back: memory that no process holds any more. The hypervisor of the owner is killed, or everything loses
 * power at once, right after a write of the ownership record. The VM runs nowhere then; the move says so when it ends, one host owns
 * the VM, and it may be started there and nowhere else.
 */
import { expect, it } from 'vitest';
import type { VmId } from '../../../domain/ids.js';
import type { Injector } from '../../../infra/testbed/faults/injector.js';
import { HOSTS, resultOf } from '../../../infra/testbed/faults/move.js';
import { processesOf } from '../../../infra/testbed/faults/vm-processes.js';
import { killAll } from '../../../infra/testbed/processes.js';
import { type Testbed, pidsBelow } from '../../../infra/testbed/testbed.js';
import { type HostName, consoleOn, evidenceOf, failedMove, moveTo, recordAt, startGuest, untilNextAction } from '../support.js';
import { onSharedTestbed } from '../../support/shared-testbed.js';

let testbed: Testbed;
let injector: Injector;
onSharedTestbed((shared) => ({ testbed, injector } = shared));

it.each([
  { host: 'host-a', write: 'offer', fails: 'the hypervisor', failing: killHypervisor, outcome: 'source-resumed', left: ['owner', 'none'] },
  { host: 'host-b', write: 'accept', fails: 'the hypervisor', failing: killHypervisor, outcome: 'moved', left: ['retired', 'owner'] },
] as const)('$fails dies after $host wrote $write: $outcome, and it runs nowhere', async ({ host, write, fails, failing, outcome, left }) => {
  const other = host === 'host-a' ? 'host-b' : 'host-a';
  const vmId = `${write}-${fails.replace('the ', '')}`;
  const { vm, console: guest } = await startGuest(testbed, vmId, 'host-a');
  let failed: Promise<void> | null = null;
  const accident = injector.follow(async (point) => {
    if (failed || point.kind !== 'write' || point.on !== host || point.name !== write || point.at !== 'after') return 'pass';
    failed = failing(host, vm.vmId);
    await failed;
    return 'pass';
  });
  const { runId } = await testbed.client.migrate({ vmId, destination: 'host-b' });
  const { codes, result } = await Promise.race([accident, failedMove(resultOf(testbed, vmId, runId))]);

  expect(failed).not.toBeNull();
  await failed;
  expect(codes).toContain('VM_NOT_RUNNING');
  expect(result?.outcome).toMatchObject({ kind: outcome, runsOn: null });
  if (!result) throw new Error('the move has no result');
  expect((await evidenceOf(result)).outcome).toEqual(result.outcome);
  expect(HOSTS.map((one) => recordAt(testbed, one, vmId).state)).toEqual(left);
  expect((await testbed.client.vms()).filter((known) => known.vmId === vmId && known.status !== 'absent')).toEqual([]);

  expect((await failedMove(testbed.client.startVm(vm, other))).codes).toEqual(['VM_EXISTS']);
  await testbed.client.startVm(vm, host);
  const after = await consoleOn(testbed, vmId, host);
  await after.until((c) => c.counts().includes(1) && c.unseals().length > 0, `unsealing after it was started at ${host}`, 120_000);
  expect(after.unseals().at(-1)?.ek).toBe(guest.unseals()[0]?.ek);
  await Promise.all([guest.close(), after.close()]);
  expect((await moveTo(testbed, vmId, other)).outcome).toMatchObject({ kind: 'moved', runsOn: other });
});

async function killHypervisor(host: HostName, vmId: VmId): Promise<void> {
  const running = await processesOf(testbed.hosts[host].config, host, vmId);
  const pid = running.find(({ kind }) => kind === 'hypervisor')?.pid;
  if (pid === undefined) throw new Error(`no hypervisor of ${vmId} runs on ${host}`);
  process.kill(pid, 'SIGKILL');
}

/** Hosts, their TPMs, their VMs, workers and the Temporal server; then all but the VMs is started again. */
async function blackout(): Promise<void> {
  const { root, hosts, control, server } = testbed;
  await Promise.all([control.kill(), ...HOSTS.map((host) => hosts[host].worker.kill())]);
  killAll((await pidsBelow(root)).filter((pid) => pid !== server.pid));
  await testbed.replaceServer();
  await Promise.all(HOSTS.map((host) => testbed.ensureTpm(host)));
  await Promise.all([testbed.restartControl(), ...HOSTS.map((host) => testbed.restartWorker(host))]);
}

/**
 * The destination answers when it is back, but as a host that was restarted since it attested: what it says of the move counts for nothing, since another system may have
 * written its record meanwhile (docs/decisions/0021-a-signature-is-no-authority.md). People are told so; a fence ends it, and the VM starts again from its disks.
 */
it.each([
  { host: 'host-a', write: 'relinquish', left: 'none' },
  { host: 'host-b', write: 'accept', left: 'retired' },
] as const)('everything loses power after $host wrote $write: the move waits, and a fence of the destination brings the VM back', async ({ host, write, left }) => {
  const vmId = `blackout-${write}`;
  const { console: guest } = await startGuest(testbed, vmId, 'host-a', { hasDisk: true });
  await guest.close();
  let failed: Promise<void> | null = null;
  const accident = injector.follow(async (point) => {
    if (failed || point.kind !== 'write' || point.on !== host || point.name !== write || point.at !== 'after') return 'pass';
    failed = blackout();
    await failed;
    return 'pass';
  });
  const { runId } = await testbed.client.migrate({ vmId, destination: 'host-b' });
  const status = await Promise.race([accident, untilNextAction(testbed, vmId, runId, (action) => action.includes('RESET_COUNT_CHANGED'))]);
  expect(status.phase).toBe('in-doubt');
  expect(status.nextAction).toContain(`korora fence ${vmId} --host host-b`);
  expect(recordAt(testbed, 'host-a', vmId).state).toBe('relinquished');

  await testbed.hosts['host-b'].worker.stop();
  await testbed.client.fence(vmId, { host: 'host-b', reason: 'its power is cut' });
  const { codes, result } = await failedMove(resultOf(testbed, vmId, runId));
  expect(codes).toEqual(expect.arrayContaining(['VM_REBOOTED', 'HOST_FENCED']));
  expect(result?.outcome).toMatchObject({ kind: 'source-resumed', runsOn: 'host-a' });
  expect(recordAt(testbed, 'host-a', vmId)).toMatchObject({ state: 'owner', epoch: 3 });

  await testbed.restartWorker('host-b');
  await testbed.client.reconcile(vmId);
  expect(recordAt(testbed, 'host-b', vmId).state).toBe(left);
  expect((await moveTo(testbed, vmId, 'host-b')).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
});
