/**
 * The vTPMs of a host: one swtpm per VM, its state encrypted at rest, its migration blobs encrypted
 * under the VM's migration key. Keys come from the caller over file descriptors and are kept nowhere.
 *
 *   stateDir/                   swtpm's state (tpm2-00.permall), locked by the running swtpm
 *   stateDir/ek-certificates/   EK certificates from manufacture: the vTPM's identity
 *   runDir/                     control.sock (0600), swtpm.pid, swtpm.log
 *
 * Started without --terminate: it waits for a hypervisor that is started later, and its end has one
 * owner, `ensureStopped`, however the hypervisor ended. (A hypervisor that ends in order tells swtpm to
 * end too, CMD_SHUTDOWN; one that crashes leaves it for the next one to connect to.)
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { KororaError, refuse } from '../domain/failures.js';
import type { HostAccess } from '../host/port.js';
import type { VtpmManager } from './port.js';
import { type SwtpmHost, ensureSwtpmStopped, manufactureSwtpm, runningPid, startSwtpm } from './swtpm-process.js';

/** sun_path without its NUL (unix(7)). */
const SOCKET_PATH_BYTES_MAX = 107;
const KEY_BYTES = 32;

export function createSwtpmManager(host: SwtpmHost): VtpmManager {
  const { access, hostId } = host;
  /** Asked once: a host's swtpm does not change under a worker without a restart. */
  let installed: string | null = null;
  return {
    async version() {
      return (installed ??= await findVersion(access));
    },

    async manufacture({ stateDir, stateKey, name }) {
      assertKey('stateKey', stateKey);
      const certificateDir = join(stateDir, 'ek-certificates');
      await manufactureSwtpm(host, { stateDir, certificateDir, name, stateKey });
      const hash = createHash('sha256');
      for (const file of await access.list(certificateDir)) hash.update((await access.readFile(join(certificateDir, file))) ?? '');
      return { ekCertificateSha256: hash.digest('hex') };
    },

    async ensureRunning({ stateDir, runDir, stateKey, migrationKey }) {
      assertKey('stateKey', stateKey);
      assertKey('migrationKey', migrationKey);
      const controlSocketPath = join(runDir, 'control.sock');
      if (Buffer.byteLength(controlSocketPath) > SOCKET_PATH_BYTES_MAX) {
        throw refuse('HOST_COMMAND_FAILED', { command: 'swtpm', host: hostId, problem: `the path ${controlSocketPath} is longer than ${SOCKET_PATH_BYTES_MAX} bytes` });
      }
      if ((await runningPid(access, pidFileIn(runDir))) !== null) return { controlSocketPath };
      await access.ensureDirectory(stateDir);
      await access.ensureDirectory(runDir);
      await access.remove(controlSocketPath); // a stale one would pass for ready
      await startSwtpm(host, {
        args: [
          '--tpmstate', `dir=${stateDir},mode=0600`,
          '--ctrl', `type=unixio,path=${controlSocketPath},mode=0600`,
          '--key', 'fd=3,format=binary,mode=aes-256-cbc',
          '--migration-key', 'fd=4,format=binary,mode=aes-256-cbc',
          '--log', `file=${join(runDir, 'swtpm.log')}`,
        ],
        secretInputs: [stateKey, migrationKey],
        pidFile: pidFileIn(runDir),
        isReady: async () => (await access.stat(controlSocketPath)) !== null,
      });
      return { controlSocketPath };
    },

    isRunning: async (runDir) => (await runningPid(access, pidFileIn(runDir))) !== null,

    ensureStopped: (runDir) => ensureSwtpmStopped(host, pidFileIn(runDir)),
  };
}

function pidFileIn(runDir: string): string {
  return join(runDir, 'swtpm.pid');
}

function assertKey(name: string, key: Buffer): void {
  if (key.length !== KEY_BYTES) throw new RangeError(`${name} has ${key.length} bytes, ${KEY_BYTES} expected`);
}

/** Null where there is no swtpm that can be run. */
async function findVersion(access: HostAccess): Promise<string | null> {
  try {
    const { stdout } = await access.run('swtpm', ['--version']);
    return /version (\d+\.\d+\.\d+)/.exec(stdout.toString())?.[1] ?? null;
  } catch (error) {
    if (error instanceof KororaError) return null;
    throw error;
  }
}
