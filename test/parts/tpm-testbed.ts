/**
 * For tests with a real software TPM: a folder and a testbed TPM on a free port, both gone after
 * `stop`, and `tool` to run tpm2-tools against it from outside of tpm/.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HostId } from '../../domain/ids.js';
import { createLocalHost } from '../../host/local.js';
import { freePortPair } from '../../infra/testbed/ports.js';
import { until } from '../../infra/testbed/until.js';
import { ensureTestbedTpm, ensureTestbedTpmStopped, testbedCaFiles } from '../../tpm/testbed-tpm.js';

export const hostId = HostId.parse('test-host');
export const access = createLocalHost(hostId);

export interface TpmTestbed {
  readonly folder: string;
  readonly tcti: string;
  /** Certificates of the CA that its EK certificates are from. */
  readonly caFiles: readonly string[];
  /** Runs a tool to the end; throws with its stderr unless it succeeds. */
  tool(name: string, ...args: string[]): Promise<Buffer>;
  /** Writes a file into the folder and returns its path. */
  file(content: Buffer): Promise<string>;
  restart(how: 'orderly' | 'killed'): Promise<void>;
  stop(): Promise<void>;
}

export async function startTpmTestbed(): Promise<TpmTestbed> {
  const folder = await mkdtemp(join(tmpdir(), 'korora-tpm-'));
  const spec = { access, hostId, stateDir: join(folder, 'host-tpm'), port: await freePortPair() };
  const { tcti } = await ensureTestbedTpm(spec);
  return {
    folder,
    tcti,
    caFiles: testbedCaFiles(spec.stateDir),
    async tool(name, ...args) {
      const { exitCode, stdout, stderr } = await access.run(name, ['-T', tcti, ...args]);
      if (exitCode !== 0) throw new Error(`${name}: ${stderr.toString()}`);
      return stdout;
    },
    async file(content) {
      const path = join(folder, randomUUID());
      await writeFile(path, content);
      return path;
    },
    async restart(how) {
      if (how === 'killed') {
        const pid = Number((await access.readFile(join(spec.stateDir, 'swtpm.pid')))?.toString());
        await access.signal(pid, 'SIGKILL');
        await until(`the end of swtpm ${pid}`, () => access.commandLineOf(pid), (commandLine) => commandLine === null);
      } else await ensureTestbedTpmStopped(spec);
      await ensureTestbedTpm(spec);
    },
    async stop() {
      await ensureTestbedTpmStopped(spec);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
