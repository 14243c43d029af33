/**
 * The client's end of one TCP connection to the guest's echo service: sends a numbered line every 10 ms and says when each came
 * back. A program of its own, because it runs in another network than whoever looks at it (infra/testbed/echo.ts).
 *
 *   node dist/infra/testbed/echo-client.js ADDRESS PORT
 *
 * Prints `echo N MS`, MS being the wall clock at the line's return, and `end REASON` when the connection ends; never connects again.
 */
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

const EVERY_MS = 10;
const [address = '', port = ''] = process.argv.slice(2);
const socket = await connected();
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
async function connected() {
  for (;;) {
    const attempt = connect({ host: address, port: Number(port), timeout: 1000 });
    const isConnected = await new Promise<boolean>((resolve) => {
      attempt.once('connect', () => resolve(true)).once('error', () => resolve(false)).once('timeout', () => resolve(false));
    });
    if (isConnected) return attempt.setTimeout(0);
    attempt.destroy();
    await delay(100);
  }
}
