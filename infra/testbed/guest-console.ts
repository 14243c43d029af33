/**
 * Reads what the project's guest says on its console (infra/guest/README.md). Keeps the file open,
 * so that what was written before the file was removed is still read.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { problemOf } from '../../domain/failures.js';
import { until } from './until.js';

export interface Unsealed {
  readonly secretSha256: string;
  readonly ek: string;
  readonly pcr: string;
  readonly count: number;
}

export interface GuestConsole {
  /** All text so far. */
  text(): string;
  counts(): readonly number[];
  /** Every successful unseal so far, oldest first. */
  unseals(): readonly Unsealed[];
  /** Resolves when `isTrue`; rejects with `what` and the console's end after `timeoutMs`. */
  until(isTrue: (console: GuestConsole) => boolean, what: string, timeoutMs?: number): Promise<void>;
  close(): Promise<void>;
}

const POLL_MS = 25;

export async function openGuestConsole(path: string, timeoutMs = 10_000): Promise<GuestConsole> {
  const file = await openWhenThere(path, timeoutMs);
  let text = '';
  const buffer = Buffer.alloc(64 * 1024);
  let reading: Promise<void> = Promise.resolve();
  const read = () =>
    (reading = reading.then(async () => {
      for (;;) {
        const { bytesRead } = await file.read(buffer, 0, buffer.length);
        if (bytesRead === 0) return;
        text += buffer.toString('latin1', 0, bytesRead);
      }
    }));
  const console: GuestConsole = {
    text: () => text,
    counts: () => countsIn(text),
    unseals: () => unsealsIn(text),
    async until(isTrue, what, limitMs = 60_000) {
      await until(`the guest: ${what}`, read, () => isTrue(console), { limitMs, everyMs: POLL_MS, tell: () => `the end of its console\n${text.slice(-600)}` });
    },
    async close() {
      await read();
      await file.close();
    },
  };
  await read();
  return console;
}

export function countsIn(text: string): number[] {
  return [...text.matchAll(/^count (\d+)\r?$/gm)].map((match) => Number(match[1]));
}

export function unsealsIn(text: string): Unsealed[] {
  return [...text.matchAll(/^unsealed sha256=([0-9a-f]{64}) ek=([0-9a-f]{64}) pcr\d+=([0-9a-f]{64}) count=(\d+)\r?$/gm)].map(
    ([, secretSha256 = '', ek = '', pcr = '', count = '']) => ({ secretSha256, ek, pcr, count: Number(count) }),
  );
}

/** What a guest says when something failed inside it. */
export function complaintsIn(text: string): string[] {
  return [...text.matchAll(/^(?:seal-failed|unseal-failed|memory-wrong) .*$/gm)].map(([line]) => line);
}

/** The first number that is not one more than the one before it; null where there is no gap. */
export function firstGap(counts: readonly number[]): { readonly after: number; readonly came: number } | null {
  for (let i = 1; i < counts.length; i++) {
    const [before, now] = [counts[i - 1] ?? 0, counts[i] ?? 0];
    if (now !== before + 1) return { after: before, came: now };
  }
  return null;
}

async function openWhenThere(path: string, limitMs: number): Promise<FileHandle> {
  const opened = () => open(path, 'r').catch((error: unknown) => problemOf(error));
  return until<FileHandle | string, FileHandle>(`the console ${path}`, opened, (file) => typeof file !== 'string', { limitMs, everyMs: POLL_MS });
}
