/**
 * All that a guest ever says on the console file of one host, across the files' removals: each file is held open from when
 * it is seen, so that what a copy said before it was destroyed is read, too.
 */
import { type FileHandle, open } from 'node:fs/promises';

const POLL_MS = 25;

export interface ConsoleWatch {
  /** Newest, after a look at the files. */
  text(): Promise<string>;
  close(): Promise<void>;
}

export function watchConsole(path: string): ConsoleWatch {
  let text = '';
  let file: FileHandle | null = null;
  let identity = '';
  let last: Promise<void> = Promise.resolve();
  const look = () => (last = last.then(lookNow));
  const timer = setInterval(() => void look(), POLL_MS);

  async function lookNow(): Promise<void> {
    await readOn();
    const now = await open(path, 'r').catch(() => null);
    const { ino, birthtimeNs } = (await now?.stat({ bigint: true })) ?? { ino: 0n, birthtimeNs: 0n };
    if (now === null || identity === `${ino} ${birthtimeNs}`) return now?.close();
    await file?.close();
    [file, identity] = [now, `${ino} ${birthtimeNs}`];
    await readOn();
  }

  async function readOn(): Promise<void> {
    const buffer = Buffer.alloc(64 * 1024);
    for (;;) {
      const { bytesRead } = (await file?.read(buffer, 0, buffer.length)) ?? { bytesRead: 0 };
      if (bytesRead === 0) return;
      text += buffer.toString('latin1', 0, bytesRead);
    }
  }

  return {
    async text() {
      await look();
      return text;
    },
    async close() {
      clearInterval(timer);
      await last;
      await file?.close();
    },
  };
}
