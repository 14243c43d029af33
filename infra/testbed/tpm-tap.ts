/**
 * An attacker at the right moment: sits between a worker and its swtpm, passes every command on,
 * and acts once, after a quote and before the session that is to open a wrapping key. Shows that
 * the TPM itself, not a check of ours, stops a host that changed in between.
 *
 * The swtpm TCTI makes one connection a command, so the first bytes of a connection are a command.
 */
import { once } from 'node:events';
import { type Server, type Socket, connect, createServer } from 'node:net';
import { freePortPair } from './ports.js';

/** TPM_CC (TPM 2.0 Part 2 §6.5.2); at offset 6 of a command, behind its tag and size. */
const COMMAND = { quote: 0x158, startAuthSession: 0x176 } as const;

export interface TpmTap {
  readonly tcti: string;
  close(): Promise<void>;
}

export async function tapTpm(tpmPort: number, act: () => Promise<void>): Promise<TpmTap> {
  const port = await freePortPair();
  let hasQuoted = false;
  let acted: Promise<void> | null = null;
  const data = await listen(port, async (client) => {
    const [command] = (await once(client, 'data')) as [Buffer];
    client.pause();
    const code = command.length >= 10 ? command.readUInt32BE(6) : 0;
    if (code === COMMAND.quote) hasQuoted = true;
    if (hasQuoted && code === COMMAND.startAuthSession) await (acted ??= act());
    const tpm = pass(client, tpmPort);
    tpm.write(command);
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
    const server = createServer((client) => {
      client.on('error', () => client.destroy());
      serve(client).catch(() => client.destroy());
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
