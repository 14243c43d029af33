/**
 * What a fake VM does, read from its document: the words of the project's guest (infra/guest/README.md) on
 * the kernel command line, and one of its own for the memory that it really has. Pure.
 */
import { MIB, type VmDocument } from '../../domain/vm.js';

export const PAGE_BYTES = 4096;

export interface GuestSettings {
  readonly tickMs: number;
  readonly dirtyMibPerSecond: number;
  readonly dirtySetMib: number;
  readonly unsealEveryS: number;
  readonly pcr: number;
  /** Pages that the VM holds; `memoryBytes` of the document is only what preflight counts with. */
  readonly pages: number;
}

/** `korora.memory_mib`: 1 to 64, 4 unless said. Of a number that is out of bounds the nearest that is not. */
export function settingsOf(vm: VmDocument): GuestSettings {
  const words = new Map(vm.boot.commandLine.split(' ').map((word) => [word.split('=', 1)[0], word.slice(word.indexOf('=') + 1)]));
  const number = (name: string, otherwise: number, [least, most]: readonly [number, number]) => {
    const text = words.get(`korora.${name}`) ?? '';
    return Math.min(most, Math.max(least, /^\d+$/.test(text) ? Number(text) : otherwise));
  };
  const memoryMib = number('memory_mib', 4, [1, 64]);
  return {
    tickMs: number('tick_ms', 100, [1, 60_000]),
    dirtyMibPerSecond: number('dirty_mib_per_s', 0, [0, 1024]),
    dirtySetMib: number('dirty_set_mib', memoryMib, [1, memoryMib]),
    unsealEveryS: number('unseal_every_s', 3, [0, 3600]),
    pcr: number('pcr', 14, [0, 22]),
    pages: (memoryMib * MIB) / PAGE_BYTES,
  };
}
