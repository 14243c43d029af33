/**
 * An attacker at the right moment: sits between a worker and its swtpm, passes everything on, and
 * changes a PCR as soon as one quote has been made. Shows that the TPM itself, not a check of
 * ours, stops a host that changed between its quote and the unsealing.
 */
import { type Server, type Socket, connect, createServer } from 'node:net';
import { freePortPair } from './ports.js';

/** TPM_CC_Quote (TPM 2.0 Part 2 §6.5.2). */
const TPM_CC_QUOTE = 0x158;

export interface TpmTap {
  readonly tcti: string;
  close(): Promise<void>;
}

/** `afterQuote` runs once, before the next command is let through. */
export async function tapTpm(tpmPort: number, afterQuote: () => Promise<void>): Promise<TpmTap> {
  const port = await freePortPair();
  let hasQuoted = false;
  let changed: Promise<void> | null = null;
  const data = await listen(port, async (client) => {
    if (hasQuoted) await (changed ??= afterQuote());
    const tpm = pass(client, tpmPort);
    client.on('data', (chunk) => {
      if (chunk.length >= 10 && chunk.readUInt32BE(6) === TPM_CC_QUOTE) hasQuoted = true;
    });
    client.pipe(tpm);
  });
  const control = await listen(port + 1, async (client) => void client.pipe(pass(client, tpmPort + 1)));
  return {
    tcti: `swtpm:host=127.0.0.1,port=${port}`,
    async close() {
      await Promise.all([data, control].map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

function listen(port: number, serve: (client: Socket) => Promise<void>): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ pauseOnConnect: true }, (client) => {
      client.on('error', () => client.destroy());
      void serve(client).then(() => client.resume(), () => client.destroy());
    });
    server.once('error', reject).listen(port, '127.0.0.1', () => resolve(server));
  });
}

function pass(client: Socket, port: number): Socket {
  const tpm = connect(port, '127.0.0.1');
  tpm.on('error', () => client.destroy());
  client.on('close', () => tpm.destroy());
  tpm.pipe(client);
  return tpm;
}
