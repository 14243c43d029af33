/**
 * Bounds what guests say on their consoles, which lie in memory (/run). QEMU appends each to a file for as long as the VM runs, whether a
 * worker runs or not, so that nothing a guest says depends on one; it has no bound for that file. A worker looks at the files again and again and
 * cuts them, those of an earlier worker at its start.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { HostAccess } from '../host/port.js';
import { MIB } from '../domain/vm.js';
import { logLine } from './log.js';

/** Of `console.log`, beside what a guest writes between two looks. Its end is kept in `console.log.1`. */
export const CONSOLE_BYTES = 8 * MIB;
export const KEPT_BYTES = 4 * MIB;
const EVERY_MS = 2_000;

/** One look at the consoles of all VMs. What cannot be looked at is told, and is no reason to leave the others. */
export async function shortenConsoles(access: HostAccess, runDir: string): Promise<void> {
  for (const name of await access.list(runDir)) {
    const path = `${runDir}/${name}/console.log`;
    await access.keepEnd(path, { atMostBytes: CONSOLE_BYTES, keepBytes: KEPT_BYTES, aside: `${path}.1` }).catch((error: unknown) => logLine(String(error)));
  }
}

/** Until stopped. */
export function keepConsolesShort(access: HostAccess, runDir: string): { stop(): Promise<void> } {
  const stopped = new AbortController();
  const looking = (async () => {
    while (!stopped.signal.aborted) {
      await shortenConsoles(access, runDir);
      await delay(EVERY_MS, null, { signal: stopped.signal, ref: false }).catch(() => undefined);
    }
  })();
  return {
    stop() {
      stopped.abort();
      return looking;
    },
  };
}
