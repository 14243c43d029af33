/** infra/testbed/processes.ts: who loses power takes others with him, and nobody minds those that are gone. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it, onTestFinished } from 'vitest';
import { killAll } from '../../infra/testbed/processes.js';

async function sleeper(): Promise<ChildProcess & { readonly pid: number }> {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  onTestFinished(() => void child.kill('SIGKILL'));
  await once(child, 'spawn');
  return child as ChildProcess & { readonly pid: number };
}

it('all are killed, also behind one that has ended by itself', async () => {
  const [gone, here] = [await sleeper(), await sleeper()];
  const ended = once(gone, 'exit');
  gone.kill('SIGKILL');
  await ended;
  const killed = once(here, 'exit');
  killAll([gone.pid, here.pid]);
  expect(await killed).toEqual([null, 'SIGKILL']);
});

it('what is no process is not taken for one that has ended', () => {
  expect(() => killAll([Number.NaN])).toThrow();
});
