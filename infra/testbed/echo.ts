/** What the client of a guest's echo service sees: every line that came back, and when. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Namespaces } from './namespaces.js';
import { until } from './until.js';

/** The built program, also where this file runs from source under the test runner. */
const CLIENT = fileURLToPath(new URL(import.meta.url.includes('/dist/') ? './echo-client.js' : '../../dist/infra/testbed/echo-client.js', import.meta.url));
const POLL_MS = 10;

export interface Echo {
  readonly line: string;
  readonly atMs: number;
}

export interface EchoClient {
  readonly echoes: readonly Echo[];
  /** Why the one connection ended; null while it stands. */
  readonly ended: string | null;
  /** Resolves when `count` more lines than now have come back; rejects where the connection ended, or they have not after `timeoutMs`. */
  untilMore(count: number, timeoutMs?: number): Promise<void>;
  stop(): Promise<void>;
}

export function openEchoClient({ inClient }: Namespaces, address: string): EchoClient {
  const child: ChildProcess = inClient(process.execPath, [CLIENT, address, '7']);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const echoes: Echo[] = [];
  let ended: string | null = null;
  if (!child.stdout) throw new Error('the echo client has no output');
  createInterface({ input: child.stdout }).on('line', (text) => {
    const [what, line = '', atMs] = text.split(' ');
    if (what === 'echo') echoes.push({ line, atMs: Number(atMs) });
    else ended = text;
  });
  return {
    echoes,
    get ended() {
      return ended;
    },
    async untilMore(count, timeoutMs = 60_000) {
      const wanted = echoes.length + count;
      const cameBack = () => {
        if (ended !== null && echoes.length < wanted) throw new Error(`the connection ended: ${ended}`);
        return echoes.length;
      };
      await until(`${wanted} lines to come back`, cameBack, (lines) => lines >= wanted, { limitMs: timeoutMs, everyMs: POLL_MS });
    },
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** The longest time between two echoes one after the other, of those that end after `fromMs` and begin before `toMs`. */
export function longestGapMs(echoes: readonly Echo[], fromMs: number, toMs: number): number {
  const gaps = echoes.slice(1).flatMap((echo, i) => {
    const before = echoes[i]?.atMs ?? echo.atMs;
    return echo.atMs >= fromMs && before <= toMs ? [echo.atMs - before] : [];
  });
  return Math.max(0, ...gaps);
}
