/**
 * The client's end of one TCP connection to the guest's echo service: sends a numbered line every 10 ms and says when each came
 * back. A program of its own, because it runs in another network than whoever looks at it (infra/testbed/echo.ts).
 *
 *   node dist/infra/testbed/echo-client.js ADDRESS PORT
 *
 * Prints `echo N MS`, MS being the wall clock at the line's return, and `end REASON` when the connection ends; never connects again.
 */
import { type Socket, connect } from 'node:net';
import { createInterface } from 'node:readline';
import { problemOf } from '../../domain/failures.js';
import { until } from './until.js';

const EVERY_MS = 10;
/** Less than whoever looks at it waits for the first lines at most. */
const CONNECT_LIMIT_MS = 110_000;
const [address = '', port = ''] = process.argv.slice(2);
const socket = await connected().catch((error: unknown) => {
  process.stdout.write(`end ${problemOf(error)}\n`);
  process.exit(1);
});
socket.setNoDelay(true);
let sent = 0;
const sending = setInterval(() => socket.write(`${++sent}\n`), EVERY_MS);
let reason = 'the guest closed it';
socket.on('error', (error) => (reason = error.message));
socket.on('close', () => {
  clearInterval(sending);
  process.stdout.write(`end ${reason}\n`);
});
createInterface({ input: socket }).on('line', (line) => process.stdout.write(`echo ${line} ${(performance.timeOrigin + performance.now()).toFixed(3)}\n`));

/** A guest that boots refuses or does not answer yet. */
async function connected(): Promise<Socket> {
  const attempt = async () => {
    const trial = connect({ host: address, port: Number(port), timeout: 1000 });
    const problem = await new Promise<string | null>((resolve) => {
      trial.once('connect', () => resolve(null)).once('error', (error) => resolve(error.message)).once('timeout', () => resolve('no answer'));
    });
    if (problem === null) return trial.setTimeout(0);
    trial.destroy();
    return problem;
  };
  return until<Socket | string, Socket>(`a connection to ${address}, port ${port}`, attempt, (end) => typeof end !== 'string', { limitMs: CONNECT_LIMIT_MS, everyMs: 100 });
}
