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
  });
  // The harness ends it by a signal, or by closing the socket; it must not keep a worker that drains.
  socket.unref();
  return (point) =>
    new Promise((resolve) => {
      last += 1;
      open.set(last, resolve);
      socket.write(`${JSON.stringify({ id: last, point })}\n`);
    });
}
