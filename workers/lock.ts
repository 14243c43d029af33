/** One worker a host: a second one would drive the same VMs and hold other sessions. */
import { type Server, connect, createServer } from 'node:net';
import { rm } from 'node:fs/promises';
import { refuse } from '../domain/failures.js';
import type { HostId } from '../domain/ids.js';

/** Held by a listening socket, so that a killed worker leaves none. WORKER_ALREADY_RUNS. */
export async function lockHost(hostId: HostId, path: string): Promise<{ release(): Promise<void> }> {
  const holder = await askHolder(path);
  if (holder !== null) throw refuse('WORKER_ALREADY_RUNS', { host: hostId, pid: holder });
  await rm(path, { force: true });
  const server = createServer((socket) => socket.end(String(process.pid)));
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
  server.unref();
  return { release: () => close(server) };
}

function askHolder(path: string): Promise<string | null> {
  return new Promise((resolve) => {
    let answer = '';
    connect(path)
      .on('data', (data) => (answer += data.toString()))
      .on('end', () => resolve(answer))
      .on('error', () => resolve(null));
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
