/** The processes of a VM on a host, looked for by their command lines in /proc, whatever any record or file says. */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { VmId } from '../../../domain/ids.js';
import { machineSocketIn } from '../../../hypervisor/fake/protocol.js';
import { createLocalHost } from '../../../host/local.js';
import type { HostConfig } from '../../../workers/config.js';
import { createDrivers } from '../../../workers/hypervisors.js';
import type { VmProcess } from './guest.js';
import type { HostName } from './move.js';

export async function processesOf(config: HostConfig, host: HostName, vmId: VmId): Promise<readonly VmProcess[]> {
  const runDir = join(config.runDir, vmId);
  const all = await commandLines();
  if (config.hypervisor === 'fake') return fakeProcesses(config, host, vmId, all);
  return all.flatMap(({ pid, words }) => {
    if (!words.some((word) => word.includes(`${runDir}/`))) return [];
    const kind = kindOf(words[0] ?? '');
    return kind ? [{ host, kind, pid }] : [];
  });
}

/** One process has all fake VMs and vTPMs of its host: which of them there are, it says itself. */
async function fakeProcesses(config: HostConfig, host: HostName, vmId: VmId, all: readonly CommandLine[]): Promise<readonly VmProcess[]> {
  const machine = all.find(({ words }) => words.includes(machineSocketIn(config.runDir)) && words.includes('--stay'));
  if (!machine) return [];
  const { hypervisor, vtpms } = createDrivers(createLocalHost(config.hostId), config);
  const runDir = join(config.runDir, vmId);
  const { pid } = machine;
  return [
    ...((await hypervisor.status(vmId, runDir)) === 'absent' ? [] : [{ host, kind: 'hypervisor', pid } as const]),
    ...((await vtpms.isRunning(runDir)) ? [{ host, kind: 'vtpm', pid } as const] : []),
  ];
}

function kindOf(program: string): VmProcess['kind'] | null {
  if (program.includes('qemu-system')) return 'hypervisor';
  return program.endsWith('swtpm') ? 'vtpm' : null;
}

export interface CommandLine {
  readonly pid: number;
  readonly words: readonly string[];
}

export async function commandLines(): Promise<readonly CommandLine[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const line = async (pid: number) => ({ pid, words: (await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')).split('\0') });
  return Promise.all(pids.map(line));
}
