/**
 * QEMU processes that could be a second copy of a VM: started by hand, or by something else. Found by name, UUID or disk
 * on their command lines. A process whose pid file names it, in a folder of this VM's name, is kept by a worker (on a
 * machine with several hosts: by another one) and is no stranger; the ownership records speak for it.
 */
import { dirname, basename } from 'node:path';
import type { VmDocument } from '../../domain/vm.js';
import { runFiles, vmUuid } from './command-line.js';
import type { QemuHost } from './process.js';

export async function findStrangers({ access }: QemuHost, vm: VmDocument): Promise<readonly string[]> {
  const alike = (await access.processes()).filter(({ commandLine }) => looksLike(commandLine, vm));
  const strange = await Promise.all(alike.map(async ({ pid, commandLine }) => ((await isKept(pid, commandLine)) ? [] : [`process ${pid} (${commandLine[0]})`])));
  return strange.flat();

  async function isKept(pid: number, commandLine: readonly string[]): Promise<boolean> {
    const pidFile = commandLine[commandLine.indexOf('-pidfile') + 1];
    if (!pidFile || basename(dirname(pidFile)) !== vm.vmId || pidFile !== runFiles(dirname(pidFile)).pidFile) return false;
    return Number((await access.readFile(pidFile))?.toString().trim()) === pid;
  }
}

function looksLike(commandLine: readonly string[], vm: VmDocument): boolean {
  if (!/qemu/.test(commandLine[0] ?? '')) return false;
  const names = new Set([vm.vmId, `guest=${vm.vmId}`, vmUuid(vm.vmId)]);
  return commandLine.some((word, i) => {
    const isName = ['-name', '-uuid'].includes(commandLine[i - 1] ?? '') && word.split(',').some((part) => names.has(part));
    return isName || vm.disks.some(({ path }) => word.split(',').some((part) => part === path || part === `file=${path}` || part === `filename=${path}`));
  });
}
