/** One worker a host: a second one would drive the same VMs and hold other sessions. */
import { type Server, connect, createServer } from 'node:net';
import { rm } from 'node:fs/promises';
import { refuse } from '../domain/failures.js';
import type { HostId } from '../domain/ids.js';

const HOLDER_ANSWERS_WITHIN_MS = 2_000;

/** Held by a listening socket, so that a killed worker leaves none. WORKER_ALREADY_RUNS. */
export async function lockHost(hostId: HostId, path: string): Promise<{ release(): Promise<void> }> {
  const holder = await askHolder(path);
  if (holder !== null) throw refuse('WORKER_ALREADY_RUNS', { host: hostId, pid: holder });
  await rm(path, { force: true });
  // Who asks may be gone before the answer; that is nothing to a worker.
  const server = createServer((socket) => socket.on('error', () => undefined).end(String(process.pid)));
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
  server.unref();
  return { release: () => close(server) };
}

/** What the holder says of itself; null where nobody holds the lock. */
function askHolder(path: string): Promise<string | null> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(path)
      .on('data', (data) => (answer += data.toString()))
      .on('end', () => resolve(answer))
      .on('error', () => resolve(null))
      // A holder that is stopped, or too busy to answer, holds it all the same.
      .setTimeout(HOLDER_ANSWERS_WITHIN_MS, () => {
        resolve('unknown: it does not answer');
        socket.destroy();
      });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
