/**
 * All that a guest ever says on the console file of one host, across the files' removals: each file is held open from when
 * it is seen, so that what a copy said before it was destroyed is read, too.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';

const POLL_MS = 25;

export interface ConsoleWatch {
  /** Newest, after a look at the files. */
  text(): string;
  close(): void;
}

/** Synchronous calls: a look that finds nothing costs microseconds this way, and most find nothing. */
export function watchConsole(path: string): ConsoleWatch {
  const buffer = Buffer.alloc(64 * 1024);
  let text = '';
  let file: number | null = null;
  let identity = '';
  const timer = setInterval(look, POLL_MS);

  function look(): void {
    readOn();
    const now = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (now === undefined || identityOf(now) === identity) return;
    const next = openWhereThere(path);
    if (next === null) return;
    if (file !== null) closeSync(file);
    [file, identity] = [next, identityOf(fstatSync(next, { bigint: true }))];
    readOn();
  }

  function readOn(): void {
    if (file === null) return;
    for (;;) {
      const bytesRead = readSync(file, buffer);
      if (bytesRead === 0) return;
      text += buffer.toString('latin1', 0, bytesRead);
    }
  }

  return {
    text() {
      look();
      return text;
    },
    close() {
      clearInterval(timer);
      if (file !== null) closeSync(file);
    },
  };
}

function identityOf({ ino, birthtimeNs }: { readonly ino: bigint; readonly birthtimeNs: bigint }): string {
  return `${ino} ${birthtimeNs}`;
}

/** It may be removed between two looks. */
function openWhereThere(path: string): number | null {
  try {
    return openSync(path, 'r');
  } catch {
    return null;
  }
}
