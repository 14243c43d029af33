/**
 * Ports of this machine. One that a server is to have again after it died is none that the kernel gives to whoever asks for any (from
 * 32768 on, net.ipv4.ip_local_port_range): somebody else could have it meanwhile, even a client that tries to reach that very server.
 */
import { type Server, createServer } from 'node:net';
import { until } from './until.js';

/** The range from which free ports are taken: above the well-known ones, below those of clients. */
const [FROM_PORT, TO_PORT] = [12_000, 32_000];
const SEARCH_LIMIT_MS = 10_000;

export async function freePort(): Promise<number> {
  return portThat('a free port', isFree);
}

/** A port that is free together with the next one. */
export async function freePortPair(): Promise<number> {
  return portThat('a free port that is followed by another', async (port) => (await isFree(port)) && (await isFree(port + 1)));
}

/** Resolves with the port that it listens on; 0 takes one that the kernel chooses. */
export function listenOn(server: Server, host = '127.0.0.1', port = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen(port, host, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : 0);
    });
  });
}

async function portThat(what: string, isRight: (port: number) => Promise<boolean>): Promise<number> {
  const tried = async () => {
    const port = somePort();
    return { port, isRight: await isRight(port) };
  };
  return (await until(what, tried, (trial) => trial.isRight, { limitMs: SEARCH_LIMIT_MS, everyMs: 0 })).port;
}

function somePort(): number {
  return FROM_PORT + Math.floor(Math.random() * (TO_PORT - FROM_PORT));
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const isListening = await listenOn(server, '127.0.0.1', port).then(
    () => true,
    () => false,
  );
  if (isListening) await new Promise((resolve) => server.close(resolve));
  return isListening;
}
