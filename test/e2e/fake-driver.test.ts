/**
 * Moves of fake VMs: hosts, TPMs, quotes, channel, records, workers and Temporal are real, and so is all that goes wrong
 * here. Guards that the fake can stand in for QEMU where the orchestration is looked at; no promise rests on it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { endOfMove } from '../../infra/testbed/end-of-move.js';
import { type ChannelTap, tapChannel } from '../../infra/testbed/channel-tap.js';
import { countsIn, firstGap, unsealsIn } from '../../infra/testbed/guest-console.js';
import type { Testbed } from '../../infra/testbed/testbed.js';
import { type HostName, consoleOn, evidenceOf, failedMove, moveTo, openTestbed, startGuest, untilCopying, vmsOf } from './support.js';

const BUSY = { dirtyMibPerSecond: 2, tickMs: 20 };
/** Four seconds for the memory of a fake VM. */
const SLOW = { bandwidthBytesPerSecond: 1024 * 1024 };
let testbed: Testbed;
let tap: ChannelTap;
/** The VM whose stream is attacked as soon as its source has relinquished. */
let victim = '';

beforeAll(async () => {
  testbed = await openTestbed((root) => ({
    hypervisor: 'fake',
    async channelTap({ hostId, listen }) {
      if (hostId !== 'host-b') return listen;
      tap = await tapChannel(listen, () => {
        const record = join(root, 'host-a/state/vms', victim, 'ownership.json');
        return victim !== '' && existsSync(record) && readFileSync(record, 'utf8').includes('"relinquished"');
      });
      return tap.address;
    },
  }));
});
afterAll(async () => {
  await testbed?.stop();
  await tap?.close();
});

async function runsOnlyOn(vmId: string, host: HostName): Promise<void> {
  const surveys = await testbed.client.hosts();
  const seen = surveys.flatMap((survey) => vmsOf(survey).filter((vm) => vm.vmId === vmId));
  expect(seen.filter((vm) => vm.mayRun).map((vm) => vm.hostId)).toEqual([host]);
  expect(seen.filter((vm) => vm.status !== 'absent').map((vm) => [vm.hostId, vm.status])).toEqual([[host, 'running']]);
}

it('a fake VM moves: it counts without gap, on the disk too, and unseals the same secret', async () => {
  const { vm, console: atA } = await startGuest(testbed, 'paper', 'host-a', BUSY);
  expect((await testbed.client.hosts()).map((host) => host.reachable && host.hypervisor)).toEqual(['fake 1.0.0 none', 'fake 1.0.0 none']);
  const result = await moveTo(testbed, 'paper', 'host-b');
  expect(result.outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
  const atB = await consoleOn(testbed, 'paper', 'host-b');
  await atB.until((c) => c.unseals().length > 0, 'an unsealing at host-b');
  await Promise.all([atA.close(), atB.close()]);
  const said = atA.text() + atB.text();
  expect(countsIn(said)[0]).toBe(1);
  expect(firstGap(countsIn(said))).toBeNull();
  expect(new Set(unsealsIn(said).map((u) => `${u.secretSha256} ${u.ek} ${u.pcr}`)).size).toBe(1);
  expect(said).not.toMatch(/unseal-failed|memory-wrong/);
  const recorded = Number((await readFile(vm.disks[0]?.path ?? '')).subarray(13, 33).toString('latin1'));
  expect(recorded).toBeGreaterThanOrEqual(countsIn(said).at(-1) ?? Infinity);
  await runsOnlyOn('paper', 'host-b');
  expect((await evidenceOf(result)).manifest?.streamBytes).toBeGreaterThan(4 * 1024 * 1024);
});

it('a stream that is changed on its way is rejected, and the source goes on', async () => {
  const { console: atA } = await startGuest(testbed, 'glass', 'host-a', BUSY);
  victim = 'glass';
  const { codes, result } = await failedMove(moveTo(testbed, 'glass', 'host-b'));
  victim = '';
  expect(tap.flips).toBe(1);
  expect(result?.outcome).toMatchObject({ kind: 'source-resumed', runsOn: 'host-a' });
  expect(codes).toContain('DESTINATION_REJECTED');
  const before = atA.counts().at(-1) ?? 0;
  await atA.until((c) => c.unseals().some((u) => u.count > before), 'an unsealing at host-a again');
  await atA.close();
  expect(firstGap(atA.counts())).toBeNull();
  await runsOnlyOn('glass', 'host-a');
});

it.each<{ readonly killed: HostName; readonly vmId: string }>([
  { killed: 'host-a', vmId: 'orphan-a' },
  { killed: 'host-b', vmId: 'orphan-b' },
])('the worker of $killed is killed during the rounds: the VM outlives it, goes on, and moves later', async ({ killed, vmId }) => {
  const { console: atA } = await startGuest(testbed, vmId, 'host-a', BUSY);
  const { runId } = await testbed.client.migrate({ vmId, destination: 'host-b', limits: SLOW });
  await untilCopying(testbed, vmId);
  await testbed.hosts[killed].worker.kill();
  const before = atA.counts().at(-1) ?? 0;
  await atA.until((c) => (c.counts().at(-1) ?? 0) > before + 5, 'counting while the worker is gone');
  await testbed.restartWorker(killed);
  const { result } = await failedMove(endOfMove(testbed.client, vmId, runId));
  expect(result?.outcome).toMatchObject({ kind: 'source-resumed', runsOn: 'host-a' });
  await runsOnlyOn(vmId, 'host-a');
  expect((await moveTo(testbed, vmId, 'host-b')).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
  const atB = await consoleOn(testbed, vmId, 'host-b');
  await atB.until((c) => c.unseals().length > 0, 'an unsealing at host-b');
  await Promise.all([atA.close(), atB.close()]);
  expect(firstGap(countsIn(atA.text() + atB.text()))).toBeNull();
  expect(new Set(unsealsIn(atA.text() + atB.text()).map((u) => u.secretSha256)).size).toBe(1);
});
