/**
 * A destination that loses power once the source has relinquished: the move is in doubt and says so, no clock ends
 * that, an operator's fence does, and the host that comes back gives up what it holds (promise P5). The source goes on from its memory
 * only where no disk can know better.
 */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { endOfMove } from '../../../infra/testbed/end-of-move.js';
import type { ChannelSwitch, Direction } from '../../../infra/testbed/channel-switch.js';
import { type GuestConsole, firstGap } from '../../../infra/testbed/guest-console.js';
import { openSigned } from '../../../domain/authority.js';
import type { FailureCode } from '../../../domain/failures.js';
import { killAll } from '../../../infra/testbed/processes.js';
import { pidsBelow } from '../../../infra/testbed/testbed.js';
import type { Testbed } from '../../../infra/testbed/testbed.js';
import { consoleOn, evidenceOf, failedMove, moveTo, recordAt, startGuest, untilNextAction } from '../support.js';
import { onSharedTestbed } from '../../support/shared-testbed.js';

let testbed: Testbed;
let network: ChannelSwitch;
let powerOff: { readonly when: (direction: Direction) => boolean; done: Promise<unknown> } | null = null;

onSharedTestbed((shared) => {
  ({ testbed, networks: { 'host-b': network } } = shared);
  shared.beforePassing = pullThePlug;
});

/** At the chosen moment host-b loses power: its worker, its QEMU and its swtpm are gone, and its network with them. */
function pullThePlug(direction: Direction, carrying: ChannelSwitch): void {
  if (!powerOff?.when(direction)) return;
  process.kill(testbed.hosts['host-b'].worker.pid, 'SIGKILL');
  powerOff.done = pidsBelow(join(testbed.root, 'run/host-b')).then(killAll);
  carrying.cut();
  powerOff = { ...powerOff, when: () => false };
}

it.each<{ readonly name: string; readonly vmId: string; readonly hasDisk: boolean; readonly when: (vmId: string, direction: Direction) => boolean; readonly left: string }>([
  { name: 'before it accepted', vmId: 'undecided', hasDisk: false, left: 'incoming', when: (vmId, direction) => direction === 'to destination' && recordAt(testbed, 'host-a', vmId).state === 'relinquished' },
  { name: 'after it accepted', vmId: 'decided', hasDisk: true, left: 'owner', when: (vmId, direction) => direction === 'to source' && recordAt(testbed, 'host-b', vmId).state === 'owner' },
])('a destination that loses power $name is fenced, and yields when it is back', async ({ vmId, hasDisk, when, left }) => {
  const { vm, console: guest } = await startGuest(testbed, vmId, 'host-a', { dirtyMibPerSecond: 4, hasDisk });
  powerOff = { when: (direction) => when(vmId, direction), done: Promise.resolve() };
  const { runId } = await testbed.client.migrate({ vmId, destination: 'host-b' });

  const early = await failedMove(testbed.client.fence(vmId, { host: 'host-b', reason: 'too early' }));
  expect(early.codes).toEqual(['NOTHING_TO_FENCE']);
  const doubt = await untilNextAction(testbed, vmId, runId);
  await powerOff.done;
  expect(doubt.phase).toBe('in-doubt');
  expect(doubt.nextAction).toContain('Bring the worker of host-b back');
  // In backticks: the web UI makes dashes typographic elsewhere.
  expect(doubt.nextAction).toContain(`\`korora fence ${vmId} --host host-b --reason TEXT\``);
  expect([recordAt(testbed, 'host-a', vmId).state, recordAt(testbed, 'host-b', vmId).state]).toEqual(['relinquished', left]);
  expect((await failedMove(testbed.client.fence(vmId, { host: 'host-a', reason: 'the wrong one' }))).codes).toEqual(['NOTHING_TO_FENCE']);
  expect((await failedMove(testbed.client.abort(vmId, 'it hangs'))).codes).toEqual(['PAST_POINT_OF_NO_RETURN']);

  const stoppedAt = guest.counts().at(-1) ?? 0;
  await testbed.client.fence(vmId, { host: 'host-b', reason: 'its power is cut' });
  const { codes, result } = await failedMove(endOfMove(testbed.client, vmId, runId));
  expect(codes).toContain('HOST_FENCED');
  expect(result?.outcome).toMatchObject({ kind: 'source-resumed', runsOn: 'host-a' });
  if (!result) throw new Error('no result');
  expect((await evidenceOf(result)).fences.map(({ envelope }) => openSigned('korora/fence', envelope).document)).toMatchObject([{ host: 'host-b', by: 'operator', reason: 'its power is cut' }]);
  expect(recordAt(testbed, 'host-a', vmId)).toMatchObject({ state: 'owner', epoch: 3, settled: [{ outcome: 'fenced', reason: 'operator: its power is cut' }] });
  await (hasDisk ? startsFromItsDisk : goesOn)(vmId, guest, codes, stoppedAt);
  await guest.close();

  network.mend();
  await testbed.restartWorker('host-b');
  expect((await failedMove(testbed.client.startVm(vm, 'host-b'))).codes).toEqual(['VM_EXISTS']);
  const { owner, silent } = await testbed.client.reconcile(vmId);
  expect({ owner, silent }).toEqual({ owner: 'host-a', silent: [] });
  const vms = (await testbed.client.vms()).filter((known) => known.vmId === vmId);
  expect(vms.filter((known) => known.mayRun).map(({ hostId, status }) => `${hostId} ${status}`)).toEqual(['host-a running']);
  expect(vms.find(({ hostId }) => hostId === 'host-b')?.status ?? 'absent').toBe('absent');
  expect((await moveTo(testbed, vmId, 'host-b')).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
});

/** The fenced host has nothing that outlives it: the memory of the source is the newest there is. */
async function goesOn(_: string, guest: GuestConsole, codes: readonly FailureCode[], stoppedAt: number): Promise<void> {
  expect(codes).not.toContain('VM_REBOOTED');
  await guest.until((c) => c.unseals().some((u) => u.count > stoppedAt), 'unsealing again at host-a');
  expect(firstGap(guest.counts())).toBeNull();
}

/** The fenced host may have written to the disk since: no memory of before runs over it. */
async function startsFromItsDisk(vmId: string, before: GuestConsole, codes: readonly FailureCode[], stoppedAt: number): Promise<void> {
  expect(codes).toContain('VM_REBOOTED');
  const after = await consoleOn(testbed, vmId, 'host-a');
  await after.until((c) => c.unseals().length > 0, 'sealing and unsealing after it was started again', 120_000);
  expect(after.counts()[0]).toBe(1);
  expect(after.unseals()[0]?.ek).toBe(before.unseals()[0]?.ek);
  expect(Math.max(...before.counts())).toBe(stoppedAt);
  await after.close();
}

it('a destination that loses power after it accepted, and comes back, owns a VM that runs nowhere: the move says so, and it may be started there', async () => {
  const { vm, console: guest } = await startGuest(testbed, 'dropped', 'host-a');
  powerOff = { when: (direction) => direction === 'to source' && recordAt(testbed, 'host-b', 'dropped').state === 'owner', done: Promise.resolve() };
  const { runId } = await testbed.client.migrate({ vmId: 'dropped', destination: 'host-b' });
  await untilNextAction(testbed, 'dropped', runId);
  await powerOff.done;
  network.mend();
  await testbed.restartWorker('host-b');

  const { codes, result } = await failedMove(endOfMove(testbed.client, 'dropped', runId));
  expect(codes).toEqual(['VM_NOT_RUNNING']);
  expect(result?.outcome).toMatchObject({ kind: 'moved', runsOn: null, failures: [{ code: 'VM_NOT_RUNNING' }] });
  if (!result) throw new Error('the move has no result');
  expect((await evidenceOf(result)).outcome).toEqual(result.outcome);
  expect([recordAt(testbed, 'host-a', 'dropped').state, recordAt(testbed, 'host-b', 'dropped').state]).toEqual(['retired', 'owner']);
  await testbed.client.startVm(vm, 'host-b');
  const after = await consoleOn(testbed, 'dropped', 'host-b');
  await after.until((c) => c.counts().includes(1) && c.unseals().length > 0, 'unsealing after it was started at host-b', 120_000);
  expect(after.unseals().at(-1)?.ek).toBe(guest.unseals()[0]?.ek);
  await Promise.all([guest.close(), after.close()]);
});

/** The workflow is terminated while its move is in doubt: an operator, or a database that was lost. Nothing orchestrates the end then. */
it.each([
  { name: 'by its destination’s verdict', vmId: 'untended', isBack: true },
  { name: 'by a fence', vmId: 'untended-fenced', isBack: false },
])('a move whose workflow is gone ends $name', async ({ vmId, isBack }) => {
  const { console: guest } = await startGuest(testbed, vmId, 'host-a', { hasDisk: false });
  powerOff = { when: (direction) => direction === 'to destination' && recordAt(testbed, 'host-a', vmId).state === 'relinquished', done: Promise.resolve() };
  const { runId } = await testbed.client.migrate({ vmId, destination: 'host-b' });
  await untilNextAction(testbed, vmId, runId);
  await powerOff.done;
  await testbed.temporal.workflow.getHandle(`migrate-${vmId}`).terminate('a test');
  const stoppedAt = guest.counts().at(-1) ?? 0;

  expect(await testbed.client.reconcile(vmId)).toEqual({ owner: null, yielded: [], silent: ['host-b'] });
  expect(recordAt(testbed, 'host-a', vmId)).toMatchObject({ state: 'relinquished', peer: 'host-b' });
  const fence = { reason: 'its power is cut' };
  expect((await failedMove(testbed.client.fence(vmId, { host: 'host-a', ...fence }))).codes).toEqual(['NOTHING_TO_FENCE']);
  network.mend();
  if (isBack) {
    await testbed.restartWorker('host-b');
    expect((await failedMove(testbed.client.fence(vmId, { host: 'host-b', ...fence }))).codes).toEqual(['FENCE_REFUSED']);
    expect(await testbed.client.reconcile(vmId)).toEqual({ owner: 'host-a', yielded: [], silent: [] });
  } else {
    await testbed.client.fence(vmId, { host: 'host-b', ...fence });
    await testbed.restartWorker('host-b');
  }
  expect(recordAt(testbed, 'host-a', vmId)).toMatchObject({ state: 'owner', settled: [{ outcome: isBack ? 'rejected' : 'fenced' }] });
  await guest.until((c) => c.unseals().some((u) => u.count > stoppedAt), 'unsealing again at host-a');
  expect(firstGap(guest.counts())).toBeNull();
  await guest.close();
  expect((await moveTo(testbed, vmId, 'host-b')).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
});
