/**
 * The fake machine as a process of its own:
 *
 *   node machine-process.js SOCKET           starts one in the background where none answers; ends when it listens
 *   node machine-process.js SOCKET --stay    is one
 *
 * Ends on SIGTERM, on shutDown, and by itself once its socket's file is gone: nobody could reach it any more.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { startFakeMachine } from './machine.js';

const LOOK_MS = 1000;

const [path = '', stay] = process.argv.slice(2);
if (await answers(path)) process.exit(0);
if (stay === '--stay') await be(path);
else await startInBackground(path);

async function be(socketPath: string): Promise<void> {
  const machine = await startFakeMachine(socketPath);
  process.stdout.write('ready\n');
  const end = () => void machine.close();
  process.once('SIGTERM', end).once('SIGINT', end);
  const look = setInterval(() => {
    if (!existsSync(socketPath)) end();
  }, LOOK_MS);
  await machine.closed;
  clearInterval(look);
  process.exit(0);
}

/** Its first line on stdout says that it listens; what it says later goes nowhere. */
async function startInBackground(socketPath: string): Promise<void> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), socketPath, '--stay'], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
  const isReady = await new Promise<boolean>((resolve) => {
    child.stdout.once('data', () => resolve(true));
    child.once('exit', () => resolve(false));
  });
  process.exit(isReady ? 0 : 1);
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath, () => {
      socket.destroy();
      resolve(true);
    }).on('error', () => resolve(false));
  });
}
