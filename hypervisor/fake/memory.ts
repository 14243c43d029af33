/**
 * The memory of a fake VM: pages that remember which write touched them last, and which pages changed since a
 * copy last looked. Writes go round the working set, so what every page must hold follows from the number
 * of writes alone: a page that a move lost or took from elsewhere shows.
 */
import { PAGE_BYTES } from './settings.js';

export interface Memory {
  readonly pages: number;
  /** Pages written since they were last taken. */
  readonly dirtyPages: number;
  /** The next `count` pages of the working set, on behalf of writes `writes` + 1 and up. */
  rewrite(writes: number, count: number): void;
  /** The first page that does not hold what `writes` writes leave there, in words; null where all do. */
  problem(writes: number): string | null;
  read(page: number): Buffer;
  load(page: number, content: Buffer): void;
  /** Forgets what is dirty, and says what was. */
  takeDirty(): readonly number[];
}

export function createMemory(pages: number, setPages: number): Memory {
  const bytes = Buffer.alloc(pages * PAGE_BYTES);
  const dirty = new Set<number>();
  const at = (page: number) => bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);

  return {
    pages,
    get dirtyPages() {
      return dirty.size;
    },
    rewrite(writes, count) {
      for (let write = writes + 1; write <= writes + count; write++) {
        const page = write % setPages;
        const content = at(page);
        content.writeBigUInt64LE(BigInt(write));
        content.writeBigUInt64LE(BigInt(write), PAGE_BYTES - 8);
        dirty.add(page);
      }
    },
    problem(writes) {
      for (let page = 0; page < pages; page++) {
        const last = page < setPages ? writes - (((writes - page) % setPages) + setPages) % setPages : 0;
        const expected = BigInt(Math.max(0, last));
        for (const offset of [0, PAGE_BYTES - 8]) {
          const found = at(page).readBigUInt64LE(offset);
          if (found !== expected) return `page=${page} holds=${found} expected=${expected}`;
        }
      }
      return null;
    },
    read: (page) => Buffer.from(at(page)),
    load(page, content) {
      if (page >= pages || content.length !== PAGE_BYTES) throw new Error(`there is no page ${page} of ${content.length} bytes`);
      content.copy(at(page));
    },
    takeDirty() {
      const taken = [...dirty];
      dirty.clear();
      return taken;
    },
  };
}
