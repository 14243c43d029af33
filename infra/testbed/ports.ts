/** Ports of this machine: free ones, and servers that take one. */
import { type Server, createServer } from 'node:net';

/** A port that is free together with the next one. */
export async function freePortPair(): Promise<number> {
  for (;;) {
    const port = await listenOnce(0);
    if (port < 65535 && (await listenOnce(port + 1).catch(() => 0)) !== 0) return port;
  }
}

/** Resolves with the port that it listens on; 0 takes a free one. */
export function listenOn(server: Server, host = '127.0.0.1', port = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen(port, host, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : 0);
    });
  });
}

async function listenOnce(port: number): Promise<number> {
  const server = createServer();
  const listened = await listenOn(server, '127.0.0.1', port);
  await new Promise((resolve) => server.close(resolve));
  return listened;
}
