/**
 * Does QEMU, by itself, send every page that the guest changed? Moves a guest that dirties memory with
 * plain QEMU, many short rounds a move, and compares the guest's RAM of both sides while neither runs.
 * Two sizes of memory: one whose pages fill whole words of QEMU's dirty bitmap, and one 8 KiB smaller.
 * Why that matters: docs/decisions/0008-dirty-pages-under-tcg.md.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_LIMITS } from '../domain/progress.js';
import { KIB, MIB, type VmDocument } from '../domain/vm.js';
import { openGuestConsole } from '../infra/testbed/guest-console.js';
import type { Testbed } from '../infra/testbed/testbed.js';
import type { Qmp } from '../hypervisor/qemu/qmp.js';
import { startPlainGuest } from './plain-qemu.js';
import { table } from './table.js';

const PAGE_BYTES = 4096;
/** Slow and with a short pause: more rounds, more chances. */
const LIMITS = { ...DEFAULT_LIMITS, downtimeLimitMs: 20, bandwidthBytesPerSecond: 120 * MIB };

export interface LostPages {
  readonly memoryBytes: number;
  /** Pages that differed, of each move. */
  readonly differing: readonly number[];
}

export async function measureLostPages(testbed: Testbed, runs: number, say: (text: string) => void): Promise<readonly LostPages[]> {
  const results: LostPages[] = [];
  for (const memoryBytes of [256 * MIB, 256 * MIB - 8 * KIB]) {
    const vm = { ...(await testbed.guest(`lost-${results.length}`, { dirtyMibPerSecond: 8 })), memoryBytes };
    results.push({ memoryBytes, differing: await movesOf(join(testbed.root, vm.vmId), vm, runs, say) });
  }
  return results;
}

export function lostPagesTable(results: readonly LostPages[]): string {
  const rows = results.map(({ memoryBytes, differing }) => {
    const losing = differing.filter((pages) => pages > 0);
    return [`${memoryBytes / KIB} KiB`, String(differing.length), String(losing.length), losing.length > 0 ? `${Math.min(...losing)}–${Math.max(...losing)}` : '–'];
  });
  return table(['memory', 'moves', 'moves with pages that differ', 'pages in such a move'], rows);
}

/** A guest that lost pages may not survive: each move has a guest of its own. */
async function movesOf(root: string, vm: VmDocument, runs: number, say: (text: string) => void): Promise<number[]> {
  const differing: number[] = [];
  for (let run = 0; run < runs; run++) {
    const guest = await startPlainGuest(join(root, String(run)), vm);
    try {
      const console = await openGuestConsole(guest.consolePath);
      await console.until((c) => c.unseals().length > 0, 'counting and its first unsealing', 120_000);
      await console.close();
      await guest.move({
        limits: LIMITS,
        whileBothStand: async (...sides) => void differing.push(await differingPages(...sides, vm.memoryBytes)),
      });
    } finally {
      await guest.stop();
    }
    say(`${vm.vmId}, move ${run + 1}: ${differing.at(-1)} pages differ`);
  }
  return differing;
}

async function differingPages(source: Qmp, destination: Qmp, folder: string, memoryBytes: number): Promise<number> {
  const files = [join(folder, 'source.ram'), join(folder, 'destination.ram')] as const;
  for (const [i, qmp] of [source, destination].entries()) await qmp.execute('pmemsave', { val: 0, size: memoryBytes, filename: files[i] });
  const [a, b] = await Promise.all([open(files[0]), open(files[1])]);
  const [pageA, pageB] = [Buffer.alloc(PAGE_BYTES), Buffer.alloc(PAGE_BYTES)];
  let count = 0;
  try {
    for (let at = 0; at < memoryBytes; at += PAGE_BYTES) {
      await Promise.all([a.read(pageA, 0, PAGE_BYTES, at), b.read(pageB, 0, PAGE_BYTES, at)]);
      if (!pageA.equals(pageB)) count++;
    }
  } finally {
    await Promise.all([a.close(), b.close()]);
  }
  return count;
}
