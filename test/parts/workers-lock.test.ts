/** workers/lock.ts in real processes: of any that start at once one has the lock, and a killed one leaves it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { HostId } from '../../domain/ids.js';
import { built } from '../../infra/testbed/faults/built.js';
import { lockHost } from '../../workers/lock.js';
import { refusalOf } from '../support/refusal.js';

/** Tries when it is told to, says what came of it, and keeps what it has. */
const PROGRAM = `
  import { createInterface } from 'node:readline';
  const { lockHost } = await import(process.argv[1]);
  const kept = [];
  console.log('ready');
  for await (const path of createInterface({ input: process.stdin })) {
    console.log(await lockHost('host-a', path).then((lock) => { kept.push(lock); return 'held'; }, (error) => error.message));
  }
`;

interface Racer {
  readonly child: ChildProcess;
  tries(): Promise<string>;
  kill(): Promise<void>;
}

let folder: string;
const racers = new Set<Racer>();
const path = () => join(folder, 'worker.lock');

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'klock-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));
afterAll(() => Promise.all([...racers].map((racer) => racer.kill())));

async function startRacer(): Promise<Racer> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM, built('workers/lock.js')], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => (await lines.next()).value ?? 'it ended';
  const racer: Racer = {
    child,
    tries() {
      child.stdin.write(`${path()}\n`);
      return next();
    },
    async kill() {
      racers.delete(racer);
      const ended = once(child, 'exit');
      if (child.kill('SIGKILL')) await ended;
    },
  };
  racers.add(racer);
  expect(await next()).toBe('ready');
  return racer;
}

it('is had by one of two that start at once, every time, although the one before it was killed', async () => {
  const two = [await startRacer(), await startRacer()];
  for (let round = 1; round <= 40; round++) {
    const said = await Promise.all(two.map((racer) => racer.tries()));
    const winner = said.indexOf('held');
    expect([round, said[1 - winner]]).toEqual([round, `WORKER_ALREADY_RUNS: a worker of host-a already runs (process ${two[winner]?.child.pid})`]);
    await two[winner]?.kill();
    two[winner] = await startRacer();
  }
}, 120_000);

it('is not had by what a worker started, which outlives it', async () => {
  const host = HostId.parse('host-a');
  const lock = await lockHost(host, path());
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  try {
    await once(child, 'spawn');
    expect(await refusalOf(lockHost(host, path()))).toContain(`(process ${process.pid})`);
    await lock.release();
    const again = await lockHost(host, path());
    expect((await readFile(path(), 'utf8')).trim()).toBe(String(process.pid));
    await again.release();
  } finally {
    child.kill('SIGKILL');
  }
});

it('names nobody where its holder has not said who it is yet, and the file still names one that was killed', async () => {
  const dead = spawn('true');
  await once(dead, 'exit');
  await writeFile(path(), `${dead.pid}\n`);
  const holder = spawn('flock', ['--no-fork', path(), 'sh', '-c', 'echo held; exec sleep 600'], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    await once(holder.stdout, 'data');
    expect(await refusalOf(lockHost(HostId.parse('host-a'), path()))).toContain('(process unknown: it does not say)');
  } finally {
    holder.kill('SIGKILL');
  }
});

it('is free where its file names a process that lives and does not hold it', async () => {
  await writeFile(path(), `${process.pid}\n`);
  const lock = await lockHost(HostId.parse('host-a'), path());
  await lock.release();
});
