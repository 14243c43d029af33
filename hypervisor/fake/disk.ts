/**
 * The disks of a fake VM: the first one takes the counter's record, in the format of the project's guest
 * (infra/guest/README.md), durably; all are locked while the VM may write.
 *
 * The lock is a name in the kernel (an abstract unix socket) made of the file's device and inode: it refuses a
 * second VM on this machine, whichever path it uses, and no killed process leaves it. It reaches no other machine,
 * as little as two fake hosts do.
 */
import { type FileHandle, open, stat } from 'node:fs/promises';
import { type Server, createServer } from 'node:net';
import type { Disk } from '../../domain/vm.js';

const RECORD_BYTES = 512;

export interface FakeDisks {
  /** Takes every lock, or none; rejects as QEMU words it. Nothing to do where they are held. */
  lock(): Promise<void>;
  unlock(): Promise<void>;
  /** Resolves when the record says `count` and is on the storage. */
  record(count: number): Promise<void>;
}

export function createDisks(disks: readonly Disk[]): FakeDisks {
  let locks: readonly Server[] | null = null;
  let first: FileHandle | null = null;

  async function unlock(): Promise<void> {
    const [held, file] = [locks ?? [], first];
    locks = first = null;
    await file?.close();
    await Promise.all(held.map(close));
  }

  return {
    async lock() {
      if (locks) return;
      const taken: Server[] = [];
      locks = taken;
      try {
        for (const disk of disks) taken.push(await lockOf(disk));
        first = disks[0] ? await open(disks[0].path, 'r+') : null;
      } catch (error) {
        await unlock();
        throw error;
      }
    },
    unlock,
    async record(count) {
      if (!first) return;
      const line = `korora-count ${String(count).padStart(20, '0')}\n`;
      await first.write(Buffer.from(`${line.padEnd(RECORD_BYTES - 1)}\n`), 0, RECORD_BYTES, 0);
      await first.datasync();
    },
  };
}

async function lockOf({ id, path }: Disk): Promise<Server> {
  const { dev, ino } = await stat(path, { bigint: true });
  const server = createServer((stranger) => stranger.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', () => reject(new Error(`Failed to get "write" lock of disk ${id}: another VM has ${path}`)));
    server.listen(`\0korora-fake-disk/${dev}/${ino}`, resolve);
  });
  return server;
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
