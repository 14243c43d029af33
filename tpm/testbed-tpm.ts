/**
 * A software TPM in the place of a host's hardware TPM, for testbeds and tests. Protects nothing: its
 * state lies on the disk in the clear, and whoever reaches its TCP ports commands it.
 *
 *   stateDir/tpm/   swtpm's state     stateDir/ca/   the CA of its EK certificate
 */
import { join } from 'node:path';
import type { HostAccess } from '../host/port.js';
import { ensureSwtpmStopped, manufactureSwtpm, runningPid, startSwtpm } from './swtpm-process.js';

export interface TestbedTpmSpec {
  readonly access: HostAccess;
  readonly hostId: string;
  readonly stateDir: string;
  /** Of 127.0.0.1; the control channel takes the next one. */
  readonly port: number;
}

/**
 * Manufactures the TPM on the first call and starts it where it does not run. Each start is a TPM
 * reset: PCRs begin anew. After an unclean stop its clock is not safe for about five seconds.
 * HOST_COMMAND_FAILED.
 */
export async function ensureTestbedTpm({ access, hostId, stateDir, port }: TestbedTpmSpec): Promise<{ readonly tcti: string }> {
  const tcti = `swtpm:host=127.0.0.1,port=${port}`;
  const host = { access, hostId, caDir: join(stateDir, 'ca') };
  const tpmDir = join(stateDir, 'tpm');
  const isManufactured = join(stateDir, 'manufactured');
  if ((await access.stat(isManufactured)) === null) {
    await access.remove(tpmDir);
    await manufactureSwtpm(host, { stateDir: tpmDir, certificateDir: join(stateDir, 'ek-certificates'), name: hostId });
    await access.writeFileDurably(isManufactured, '');
  }
  if ((await runningPid(access, pidFileIn(stateDir))) !== null) return { tcti };
  await startSwtpm(host, {
    args: [
      '--tpmstate', `dir=${tpmDir},mode=0600`,
      '--server', `type=tcp,port=${port}`,
      '--ctrl', `type=tcp,port=${port + 1}`,
      '--flags', 'startup-clear,not-need-init',
      '--log', `file=${join(stateDir, 'swtpm.log')}`,
    ],
    pidFile: pidFileIn(stateDir),
    isReady: async () => (await access.run('tpm2_getcap', ['-T', tcti, 'properties-fixed'])).exitCode === 0,
  });
  return { tcti };
}

/** The certificates of the CA that signs the EK certificate of the TPM in `stateDir`: its issuer and its root. */
export function testbedCaFiles(stateDir: string): readonly string[] {
  return ['issuercert.pem', 'swtpm-localca-rootca-cert.pem'].map((name) => join(stateDir, 'ca', name));
}

/** Orderly, so that the clock is safe at the next start; no error where it does not run. */
export async function ensureTestbedTpmStopped({ access, hostId, stateDir, port }: TestbedTpmSpec): Promise<void> {
  const pidFile = pidFileIn(stateDir);
  if ((await runningPid(access, pidFile)) !== null) await access.run('tpm2_shutdown', ['-T', `swtpm:host=127.0.0.1,port=${port}`, '-c']);
  await ensureSwtpmStopped({ access, hostId }, pidFile);
}

function pidFileIn(stateDir: string): string {
  return join(stateDir, 'swtpm.pid');
}
