/**
 * The vTPMs of a fake host behind the port of tpm/: they run inside the fake machine beside its VMs, so this manager
 * stands here and not in tpm/, which knows no hypervisor. State on disk is encrypted under the state key:
 *
 *   stateDir/fake-vtpm.state         AES-256-GCM (tpm-state.ts)
 *   stateDir/ek-certificates/ek.crt  what stands for an EK certificate: name and key, signed by nobody
 */
import { createHash } from 'node:crypto';
import { refuse } from '../../domain/failures.js';
import type { VtpmManager } from '../../tpm/port.js';
import { createMachineClient } from './client.js';
import type { FakeOptions } from './driver.js';
import { manufactureTpm } from './tpm-state.js';
import { stateFileIn } from './vtpm-server.js';

/** Of this program, for people to see that it is no swtpm; as a version it passes the rules for swtpm's. */
const VERSION = '1.0.0-fake';
const KEY_BYTES = 32;

export function createFakeVtpmManager(options: FakeOptions): VtpmManager {
  const { access, hostId } = options;
  const machine = createMachineClient(options);
  const socketIn = (runDir: string) => `${runDir}/control.sock`;

  return {
    version: async () => VERSION,

    async manufacture({ stateDir, stateKey, name }) {
      assertKey('stateKey', stateKey);
      if ((await access.stat(stateFileIn(stateDir))) !== null) {
        throw refuse('HOST_COMMAND_FAILED', { command: 'manufacture', host: hostId, problem: `there is a vTPM in ${stateDir}` });
      }
      const tpm = manufactureTpm();
      const certificate = JSON.stringify({ name, endorsementKey: tpm.endorsementKey.toString('base64') });
      await access.ensureDirectory(`${stateDir}/ek-certificates`);
      await access.writeFileDurably(`${stateDir}/ek-certificates/ek.crt`, certificate);
      await access.writeFileDurably(stateFileIn(stateDir), tpm.save(stateKey, 'permanent'));
      return { ekCertificateSha256: createHash('sha256').update(certificate).digest('hex') };
    },

    async ensureRunning({ stateDir, runDir, stateKey, migrationKey }) {
      assertKey('stateKey', stateKey);
      assertKey('migrationKey', migrationKey);
      const controlSocketPath = socketIn(runDir);
      const keys = { stateKey: stateKey.toString('base64'), migrationKey: migrationKey.toString('base64') };
      await saying(async () => {
        await machine.ensureThere();
        await machine.ask('startVtpm', { controlSocketPath, stateDir, ...keys });
      });
      return { controlSocketPath };
    },

    isRunning: async (runDir) => (await machine.isThere()) && saying(() => machine.ask('isVtpmRunning', { controlSocketPath: socketIn(runDir) })),

    async ensureStopped(runDir) {
      if (await machine.isThere()) await saying(() => machine.ask('stopVtpm', { controlSocketPath: socketIn(runDir) }));
    },
  };

  async function saying<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      throw refuse('HOST_COMMAND_FAILED', { command: 'fake vTPM', host: hostId, problem: error instanceof Error ? error.message : String(error) }, error);
    }
  }
}

function assertKey(name: string, key: Buffer): void {
  if (key.length !== KEY_BYTES) throw new RangeError(`${name} has ${key.length} bytes, ${KEY_BYTES} expected`);
}
