/**
 * Many VMs of a scale run: started, moved, and checked one by one. A VM runs exactly once where one host alone may run it
 * and does, its console over all hosts counts without gap, and it still unseals the one secret it sealed.
 */
import { join } from 'node:path';
import type { VmSurvey } from '../../domain/status.js';
import { endOfMove } from './end-of-move.js';
import { type GuestConsole, countsIn, firstGap, openGuestConsole, unsealsIn } from './guest-console.js';
import type { Testbed } from './testbed.js';

type HostName = keyof Testbed['hosts'];

export interface FleetVm {
  readonly vmId: string;
  host: HostName;
  console: GuestConsole;
  /** What it said on hosts that it has left. */
  said: string;
}

/** With many others at once. */
const MOVE_LIMIT_MS = 600_000;
const GUEST = { memoryMib: 1, dirtyMibPerSecond: 1, tickMs: 250 };

export async function startOne(testbed: Testbed, vmId: string, host: HostName): Promise<FleetVm> {
  await testbed.client.startVm(await testbed.guest(vmId, GUEST), host);
  const console = await consoleOf(testbed, vmId, host);
  await console.until((c) => c.unseals().length > 0, `the first unsealing of ${vmId}`);
  return { vmId, host, console, said: '' };
}

/** To the other host. Rejects with the reasons where the move fails; the VM is then where it was. */
export async function moveOne(testbed: Testbed, vm: FleetVm): Promise<void> {
  const destination = vm.host === 'host-a' ? 'host-b' : 'host-a';
  const { runId } = await testbed.client.migrate({ vmId: vm.vmId, destination });
  await endOfMove(testbed.client, vm.vmId, runId, MOVE_LIMIT_MS);
  await vm.console.close();
  vm.said += vm.console.text();
  vm.host = destination;
  vm.console = await consoleOf(testbed, vm.vmId, destination);
}

/** In words; empty where every VM runs exactly once. Closes the consoles. */
export async function problemsOf(testbed: Testbed, fleet: readonly FleetVm[]): Promise<string[]> {
  const surveyed = await testbed.client.vms();
  const problems = await Promise.all(fleet.map(async (vm) => {
    const heard = await problemsHeardFrom(vm);
    return [...problemsSeen(vm, surveyed.filter(({ vmId }) => vmId === vm.vmId)), ...heard].map((text) => `${vm.vmId}: ${text}`);
  }));
  return problems.flat();
}

function problemsSeen({ host }: FleetVm, surveys: readonly VmSurvey[]): string[] {
  const owners = surveys.filter(({ mayRun }) => mayRun).map(({ hostId }) => hostId);
  const processes = surveys.filter(({ status }) => status !== 'absent').map(({ hostId, status }) => `${status} on ${hostId}`);
  return [
    ...(owners.join() === host ? [] : [`it may run on ${owners.join(' and ') || 'no host'}, not on ${host} alone`]),
    ...(processes.join() === `running on ${host}` ? [] : [`it is ${processes.join(' and ') || 'nowhere'}, not running on ${host} alone`]),
  ];
}

async function problemsHeardFrom({ vmId, console, said }: FleetVm): Promise<string[]> {
  await console.until(() => true, 'reading what it has said');
  const last = console.counts().at(-1) ?? 0;
  const goesOn = console.until((c) => (c.counts().at(-1) ?? 0) > last + 1 && c.unseals().some((u) => u.count > last), `${vmId} going on`);
  const stuck = await goesOn.then(() => [], (error: Error) => [error.message]);
  await console.close();
  const text = said + console.text();
  const gap = firstGap(countsIn(text));
  const secrets = new Set(unsealsIn(text).map((u) => `${u.secretSha256} ${u.ek}`));
  const complaints = text.match(/^(?:memory-wrong|unseal-failed|seal-failed) .*$/gm) ?? [];
  return [
    ...stuck,
    ...(gap ? [`after count ${gap.after} came ${gap.came}`] : []),
    ...(countsIn(text)[0] === 1 ? [] : ['its console does not begin with count 1']),
    ...(secrets.size === 1 ? [] : [`it unsealed ${secrets.size} secrets`]),
    ...complaints,
  ];
}

function consoleOf(testbed: Testbed, vmId: string, host: HostName): Promise<GuestConsole> {
  return openGuestConsole(join(testbed.hosts[host].config.runDir, vmId, 'console.log'));
}
