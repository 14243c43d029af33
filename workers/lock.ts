/**
 * One worker a host: a second one would drive the same VMs and hold other sessions.
 *
 * The lock is the kernel's: flock(2), of a file in the run folder, which is the worker's own. It is taken in one step, so of any number that
 * start at once one has it, and it goes with the last descriptor of the open file. Node has no call for it; flock(1) of util-linux locks a
 * descriptor that it inherits, and the lock is then of the open file that this process keeps, not of the command's, which has ended. No
 * other child inherits that descriptor (O_CLOEXEC), so no VM that outlives the worker holds it.
 *
 * Not a listening socket: a path is bound only after what a killed worker left there was removed, which two may do at once. Nor one in the
 * abstract namespace: every user of the machine may take its name, and it is another in every network namespace.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type FileHandle, open } from 'node:fs/promises';
import { refuse } from '../domain/failures.js';
import type { HostId } from '../domain/ids.js';
import { environmentOfCommands } from '../host/environment.js';

/** How long a holder may take from the lock to writing down who it is. */
const SAYS_WHO_WITHIN_MS = 2_000;
const TAKEN = 75;

/** Held until released, or until this process ends in whatever way. WORKER_ALREADY_RUNS; HOST_COMMAND_FAILED where there is no flock(1). */
export async function lockHost(hostId: HostId, path: string): Promise<{ release(): Promise<void> }> {
  const file = await open(path, 'a+', 0o600);
  try {
    const deadline = performance.now() + SAYS_WHO_WITHIN_MS;
    while (!(await tryLock(hostId, file))) {
      const holder = await readHolder(file);
      if (holder !== null) throw refuse('WORKER_ALREADY_RUNS', { host: hostId, pid: holder });
      if (performance.now() > deadline) throw refuse('WORKER_ALREADY_RUNS', { host: hostId, pid: 'unknown: it does not say' });
    }
    await file.truncate(0);
    await file.write(`${process.pid}\n`);
    return { release: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function tryLock(host: HostId, { fd }: FileHandle): Promise<boolean> {
  const problem = (what: string, cause?: unknown) => refuse('HOST_COMMAND_FAILED', { command: 'flock', host, problem: what }, cause);
  const child = spawn('flock', ['--nonblock', '--conflict-exit-code', String(TAKEN), '3'], { env: environmentOfCommands(process.env), stdio: ['ignore', 'ignore', 'ignore', fd] });
  const [exitCode] = (await once(child, 'exit').catch((error: unknown) => {
    throw problem(String(error), error);
  })) as [number | null];
  if (exitCode !== 0 && exitCode !== TAKEN) throw problem(`exit code ${exitCode}`);
  return exitCode === 0;
}

/** Null where the file does not say yet: a worker that was killed is named in it until the next one has written. */
async function readHolder(file: FileHandle): Promise<number | null> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(32), 0, 32, 0);
  const pid = Number(buffer.toString('latin1', 0, bytesRead).trim() || Number.NaN);
  return Number.isSafeInteger(pid) && pid > 1 && lives(pid) ? pid : null;
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
