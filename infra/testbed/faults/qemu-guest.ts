/** The project's guest (infra/guest/README.md) under QEMU, as the fault matrix sees it: by its consoles, its disk and /proc. */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { VmDocument } from '../../../domain/vm.js';
import { countsIn, unsealsIn } from '../guest-console.js';
import type { Testbed } from '../testbed.js';
import { type ConsoleWatch, watchConsole } from './console-watch.js';
import type { TestedGuest } from './guest.js';
import { HOSTS, type HostName } from './move.js';

/** Small, so that a move takes as little as it can; it still changes memory while it is copied. */
export const QEMU_GUEST = { memoryMib: 128, dirtyMibPerSecond: 2, dirtySetMib: 8, unsealEveryS: 1 } as const;

/** The digits of infra/guest/README.md's record. */
const DISK_DIGITS = { from: 13, to: 33 } as const;

export function qemuGuest(testbed: Testbed, vm: VmDocument): TestedGuest {
  const { vmId } = vm;
  const runDirs = Object.fromEntries(HOSTS.map((host) => [host, join(testbed.hosts[host].config.runDir, vmId)])) as Record<HostName, string>;
  const watches = Object.fromEntries(HOSTS.map((host) => [host, watchConsole(join(runDirs[host], 'console.log'))])) as Record<HostName, ConsoleWatch>;
  const marks: Record<HostName, number> = { 'host-a': 0, 'host-b': 0 };
  return {
    vmId,
    async mark(host) {
      for (const each of HOSTS) {
        const text = await watches[each].text();
        marks[each] = each === host ? text.lastIndexOf('\n') + 1 : text.length;
      }
      return countsIn((await watches[host].text()).slice(0, marks[host])).at(-1) ?? 0;
    },
    async said(hosts) {
      let text = '';
      for (const host of hosts) text += (await watches[host].text()).slice(marks[host]);
      return { counts: countsIn(text), unsealings: unsealsIn(text).map(({ secretSha256, ek, pcr, count }) => ({ secret: secretSha256, vtpm: `${ek} ${pcr}`, count })) };
    },
    async diskCount() {
      const record = await readFile(vm.disks[0]?.path ?? '');
      return Number(record.subarray(DISK_DIGITS.from, DISK_DIGITS.to).toString('latin1'));
    },
    async processes() {
      const all = await commandLines();
      return HOSTS.flatMap((host) =>
        all.flatMap(({ pid, words }) => {
          if (!words.some((word) => word.includes(`${runDirs[host]}/`))) return [];
          const kind = kindOf(words[0] ?? '');
          return kind ? [{ host, kind, pid }] : [];
        }),
      );
    },
    async close() {
      for (const host of HOSTS) await watches[host].close();
    },
  };
}

function kindOf(program: string): 'hypervisor' | 'vtpm' | null {
  if (program.includes('qemu-system')) return 'hypervisor';
  return program.endsWith('swtpm') ? 'vtpm' : null;
}

export async function commandLines(): Promise<readonly { readonly pid: number; readonly words: readonly string[] }[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const line = async (pid: number) => ({ pid, words: (await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')).split('\0') });
  return Promise.all(pids.map(line));
}
