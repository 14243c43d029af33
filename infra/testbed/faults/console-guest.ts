/** A guest that speaks the words of infra/guest/README.md, as the fault matrix sees it: by its consoles, its disk and its processes. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { VmDocument } from '../../../domain/vm.js';
import { complaintsIn, countsIn, unsealsIn } from '../guest-console.js';
import type { Testbed } from '../testbed.js';
import { type ConsoleWatch, watchConsole } from './console-watch.js';
import type { TestedGuest } from './guest.js';
import { HOSTS, type HostName } from './move.js';
import { processesOf } from './vm-processes.js';

/** Small, so that a move takes as little as it can; it still changes memory while it is copied. */
export const TESTED_GUESTS = {
  qemu: { memoryMib: 128, dirtyMibPerSecond: 2, dirtySetMib: 8, unsealEveryS: 1 },
  fake: { dirtyMibPerSecond: 2, dirtySetMib: 2, tickMs: 50, unsealEveryS: 0 },
} as const;

/** The digits of infra/guest/README.md's record. */
const DISK_DIGITS = { from: 13, to: 33 } as const;

export function consoleGuest(testbed: Testbed, vm: VmDocument): TestedGuest {
  const { vmId } = vm;
  const watches = Object.fromEntries(HOSTS.map((host) => [host, watchConsole(join(testbed.hosts[host].config.runDir, vmId, 'console.log'))])) as Record<HostName, ConsoleWatch>;
  const marks: Record<HostName, number> = { 'host-a': 0, 'host-b': 0 };
  return {
    vmId,
    async mark(host) {
      for (const each of HOSTS) {
        const text = watches[each].text();
        marks[each] = each === host ? text.lastIndexOf('\n') + 1 : text.length;
      }
      return countsIn(watches[host].text().slice(0, marks[host])).at(-1) ?? 0;
    },
    async said(hosts) {
      let text = '';
      for (const host of hosts) text += watches[host].text().slice(marks[host]);
      const unsealings = unsealsIn(text).map(({ secretSha256, ek, pcr, count }) => ({ secret: secretSha256, vtpm: `${ek} ${pcr}`, count }));
      return { counts: countsIn(text), unsealings, complaints: complaintsIn(text) };
    },
    async diskCount() {
      const record = await readFile(vm.disks[0]?.path ?? '');
      return Number(record.subarray(DISK_DIGITS.from, DISK_DIGITS.to).toString('latin1'));
    },
    processes: async () => (await Promise.all(HOSTS.map((host) => processesOf(testbed.hosts[host].config, host, vmId)))).flat(),
    close() {
      for (const host of HOSTS) watches[host].close();
    },
  };
}
