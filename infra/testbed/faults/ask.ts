/** The worker's end of the harness socket. A worker whose harness is gone ends: nothing would ever answer it. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import type { Answer, Point, Reply } from './points.js';

export type Ask = (point: Point) => Promise<Answer>;

export async function connectToHarness(socketPath: string): Promise<Ask> {
  const socket = connect(socketPath);
  await once(socket, 'connect');
  const open = new Map<number, (answer: Answer) => void>();
  let last = 0;
  socket.on('error', () => undefined);
  socket.on('close', () => process.exit(1));
  createInterface({ input: socket }).on('error', () => undefined).on('line', (line) => {
    const { id, answer } = JSON.parse(line) as Reply;
    open.get(id)?.(answer);
    open.delete(id);
    if (open.size === 0) socket.unref();
  });
  // Only an open question keeps the process: a worker that drains must end, one that starts may have nothing else to wait for.
  socket.unref();
  return (point) =>
    new Promise((resolve) => {
      last += 1;
      open.set(last, resolve);
      socket.ref();
      socket.write(`${JSON.stringify({ id: last, point })}\n`);
    });
}
