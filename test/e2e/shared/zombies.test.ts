/**
 * Workers that stop in the middle of a move and go on later, workers that start among what a dead one left, and a
 * QEMU that somebody started by hand: the records decide, and one copy runs (promise P5).
 */
import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { afterEach, expect, it } from 'vitest';
import type { Finding } from '../../../domain/status.js';
import { vmUuid } from '../../../hypervisor/qemu/command-line.js';
import { endOfMove, statusText } from '../../../infra/testbed/end-of-move.js';
import type { ChannelSwitch, Direction } from '../../../infra/testbed/channel-switch.js';
import { firstGap } from '../../../infra/testbed/guest-console.js';
import type { Testbed } from '../../../infra/testbed/testbed.js';
import { answered } from '../../../infra/testbed/until.js';
import { type HostName, consoleOn, failedMove, moveTo, recordAt, startGuest, untilCopying, untilNextAction } from '../support.js';
import { type SharedTestbed, onSharedTestbed } from '../../support/shared-testbed.js';

const SLOW = { bandwidthBytesPerSecond: 8 * 1024 * 1024 };
let testbed: Testbed;
let network: ChannelSwitch;
let shared: SharedTestbed;

onSharedTestbed((opened) => {
  shared = opened;
  ({ testbed, networks: { 'host-b': network } } = opened);
});
afterEach(() => {
  shared.beforePassing = null;
  testbed.hosts['host-a'].worker.child.kill('SIGCONT');
});

const stateAt = (host: HostName, vmId: string) => recordAt(testbed, host, vmId).state;

/** Stops the worker of host-a in the instant in which a piece goes that way and `isTime`. Resolves then. */
function stopSourceWorkerWhen(isTime: (direction: Direction) => boolean): Promise<void> {
  return new Promise((resolve) => {
    shared.beforePassing = (direction) => {
      if (!isTime(direction)) return;
      process.kill(testbed.hosts['host-a'].worker.pid, 'SIGSTOP');
      shared.beforePassing = null;
      resolve();
    };
  });
}

function workerIsStopped(stopped: Promise<void>, vmId: string): Promise<void> {
  return answered('the moment to stop the worker of host-a', stopped, { limitMs: 120_000, tell: () => statusText(testbed.client, vmId) });
}

async function expectOneRunning(vmId: string, host: HostName): Promise<void> {
  const vms = (await testbed.client.vms()).filter((vm) => vm.vmId === vmId);
  expect(vms.filter((vm) => vm.mayRun).map((vm) => vm.hostId)).toEqual([host]);
  expect(vms.filter((vm) => vm.status !== 'absent').map((vm) => `${vm.hostId} ${vm.status}`)).toEqual([`${host} running`]);
}

async function findingsOf(host: HostName, vmId: string): Promise<readonly Finding[]> {
  const survey = (await testbed.client.hosts()).find(({ hostId }) => hostId === host);
  return survey?.reachable ? survey.findings.filter((finding) => finding.vmId === vmId) : [];
}

it('a source worker that is stopped before it hears that it was accepted changes nothing: the VM runs on the destination', async () => {
  const vmId = 'sleeper';
  const { console: atA } = await startGuest(testbed, vmId, 'host-a', { dirtyMibPerSecond: 4 });
  const stopped = stopSourceWorkerWhen((direction) => direction === 'to source' && stateAt('host-b', vmId) === 'owner');
  const { runId } = await testbed.client.migrate({ vmId, destination: 'host-b' });
  await workerIsStopped(stopped, vmId);
  const atB = await consoleOn(testbed, vmId, 'host-b');
  await atB.until((c) => c.unseals().length > 0, 'unsealing at host-b while the worker of host-a is stopped');
  const status = await untilNextAction(testbed, vmId, runId);
  expect(status.phase).toBe('activated');
  expect(status.nextAction).toContain('Bring the worker of host-a back');
  expect(stateAt('host-a', vmId)).toBe('relinquished');

  const { stderr, code } = await promisify(execFile)('node', ['dist/cli/main.js', 'worker', 'host', '--config', testbed.hosts['host-a'].configFile], { env: { ...process.env, ...testbed.environment } }).then(
    () => ({ stderr: 'it started', code: 0 }),
    (error: { stderr: string; code: number }) => error,
  );
  expect(stderr).toContain('WORKER_ALREADY_RUNS');
  expect(code).toBe(1);

  process.kill(testbed.hosts['host-a'].worker.pid, 'SIGCONT');
  expect((await endOfMove(testbed.client, vmId, runId)).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
  await expectOneRunning(vmId, 'host-b');
  await atB.close();
  await atA.close();
  expect(firstGap([...atA.counts(), ...atB.counts()])).toBeNull();
  expect((await moveTo(testbed, vmId, 'host-a')).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-a' });
});

it('a source worker that is stopped before its manifest arrives lets the VM run only after the proven rejection', async () => {
  const vmId = 'dreamer';
  const { console: atA } = await startGuest(testbed, vmId, 'host-a', { dirtyMibPerSecond: 4 });
  const stopped = stopSourceWorkerWhen((direction) => {
    if (direction !== 'to destination' || stateAt('host-a', vmId) !== 'relinquished') return false;
    network.swallow('to destination');
    return true;
  });
  const { runId } = await testbed.client.migrate({ vmId, destination: 'host-b' });
  await workerIsStopped(stopped, vmId);
  const before = atA.counts().at(-1) ?? 0;
  await untilNextAction(testbed, vmId, runId, (action) => action.includes('worker of host-a'));
  expect(stateAt('host-a', vmId)).toBe('relinquished');

  network.mend();
  process.kill(testbed.hosts['host-a'].worker.pid, 'SIGCONT');
  const { result } = await failedMove(endOfMove(testbed.client, vmId, runId));
  expect(result?.outcome).toMatchObject({ kind: 'source-resumed', runsOn: 'host-a' });
  await atA.until((c) => c.unseals().some((u) => u.count > before), 'going on at host-a');
  expect(firstGap(atA.counts())).toBeNull();
  await atA.close();
  await expectOneRunning(vmId, 'host-a');
  expect((await moveTo(testbed, vmId, 'host-b')).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
});

it('workers that start while nobody orchestrates end what no move tends, and say so', async () => {
  const vmId = 'foundling';
  const { console: atA } = await startGuest(testbed, vmId, 'host-a', { dirtyMibPerSecond: 4 });
  const { runId } = await testbed.client.migrate({ vmId, destination: 'host-b', limits: SLOW });
  await untilCopying(testbed, vmId);
  await Promise.all([testbed.control.kill(), testbed.hosts['host-a'].worker.kill(), testbed.hosts['host-b'].worker.kill()]);
  expect([stateAt('host-a', vmId), stateAt('host-b', vmId)]).toEqual(['offering', 'incoming']);
  await testbed.restartWorker('host-a');
  await testbed.restartWorker('host-b');
  expect([stateAt('host-a', vmId), stateAt('host-b', vmId)]).toEqual(['owner', 'none']);
  const before = atA.counts().at(-1) ?? 0;
  await atA.until((c) => c.unseals().some((u) => u.count > before), 'going on at host-a');

  await testbed.restartControl();
  expect((await failedMove(endOfMove(testbed.client, vmId, runId))).result?.outcome).toMatchObject({ kind: 'source-resumed', runsOn: 'host-a' });
  expect(await findingsOf('host-a', vmId)).toMatchObject([{ found: 'a move to host-b that no worker tends', done: 'the move is off, the VM runs on' }]);
  expect(await findingsOf('host-b', vmId)).toMatchObject([{ found: 'a copy from host-a that waited for an image', done: 'rejected for good; the copy is gone' }]);
  await expectOneRunning(vmId, 'host-a');
  expect(firstGap(atA.counts())).toBeNull();
  await atA.close();
});

it('a QEMU that was started by hand on the old host is refused at a start, and speaks against a move', async () => {
  const vmId = 'twin';
  const { vm, console: atA } = await startGuest(testbed, vmId, 'host-a');
  await atA.close();
  await moveTo(testbed, vmId, 'host-b');
  const qemu = spawn('qemu-system-x86_64', ['-name', `guest=${vmId}`, '-uuid', vmUuid(vm.vmId), '-nodefaults', '-display', 'none', '-S', '-machine', 'none'], { stdio: 'ignore' });
  try {
    await answered('the start of a QEMU', new Promise((resolve, reject) => qemu.once('spawn', resolve).once('error', reject)));
    expect((await failedMove(testbed.client.startVm(vm, 'host-a'))).codes).toEqual(['VM_EXISTS']);
    const { codes, error } = await failedMove(moveTo(testbed, vmId, 'host-a'));
    expect(codes).toContain('STRANGER_FOUND');
    expect(error.message).toContain(`process ${qemu.pid}`);
    await expectOneRunning(vmId, 'host-b');
  } finally {
    const ended = new Promise((resolve) => qemu.once('exit', resolve));
    qemu.kill('SIGKILL');
    await answered('the end of that QEMU', ended);
  }
  expect((await moveTo(testbed, vmId, 'host-a')).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-a' });
});
