/**
 * What every swtpm on a host needs, whether it is a VM's vTPM or a testbed's host TPM: a local CA for
 * EK certificates, manufacture, start as a daemon, end. Knows no keys' purpose and no ownership.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { refuse } from '../domain/failures.js';
import type { CommandOptions, HostAccess } from '../host/port.js';

export interface SwtpmHost {
  readonly access: HostAccess;
  readonly hostId: string;
  /** Folder of the CA that signs EK certificates (swtpm_localca(8)); made on first use. */
  readonly caDir: string;
}

/** RSA 2048 takes a second or two, under load more. */
const MANUFACTURE_TIMEOUT_MS = 120_000;
const START_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 5_000;
const POLL_MS = 20;

/**
 * Makes a TPM with EK and platform certificate in `stateDir`, SHA-256 bank only, EK certificates as
 * files in `certificateDir`. With `stateKey` (32 bytes) the state is encrypted by AES-256-CBC.
 * HOST_COMMAND_FAILED, also where there is a TPM already.
 */
export async function manufactureSwtpm(
  host: SwtpmHost,
  spec: { readonly stateDir: string; readonly certificateDir: string; readonly name: string; readonly stateKey?: Buffer },
): Promise<void> {
  const { access, hostId } = host;
  const config = await ensureCaConfiguration(access, host.caDir);
  await access.ensureDirectory(spec.stateDir);
  await access.ensureDirectory(spec.certificateDir);
  const args = [
    '--tpm2', '--tpmstate', spec.stateDir, '--config', config, '--vmid', spec.name,
    '--create-ek-cert', '--create-platform-cert', '--write-ek-cert-files', spec.certificateDir, '--pcr-banks', 'sha256',
    ...(spec.stateKey ? ['--cipher', 'aes-256-cbc', '--keyfile-fd', '3'] : []),
  ];
  // swtpm_setup takes its key as hex only, swtpm itself takes the same key in binary.
  const secretInputs = spec.stateKey ? [Buffer.from(spec.stateKey.toString('hex'))] : [];
  await runOrRefuse(access, hostId, 'swtpm_setup', args, { secretInputs, timeoutMs: MANUFACTURE_TIMEOUT_MS });
  // The keys of the CA among them: swtpm_localca gives its files to the group, whatever the umask.
  for (const folder of [host.caDir, spec.certificateDir]) {
    for (const name of await access.list(folder)) await access.makePrivate(join(folder, name));
  }
}

/**
 * `swtpm socket --daemon` with these arguments, its id in `pidFile`. Returns when it runs and
 * `isReady` says so. HOST_COMMAND_FAILED.
 */
export async function startSwtpm(
  { access, hostId }: Pick<SwtpmHost, 'access' | 'hostId'>,
  spec: { readonly args: readonly string[]; readonly secretInputs?: readonly Buffer[]; readonly pidFile: string; readonly isReady: () => Promise<boolean> },
): Promise<void> {
  const args = ['socket', '--tpm2', ...spec.args, '--pid', `file=${spec.pidFile}`, '--daemon'];
  await runOrRefuse(access, hostId, 'swtpm', args, { secretInputs: spec.secretInputs ?? [], timeoutMs: START_TIMEOUT_MS });
  const isUp = async () => (await runningPid(access, spec.pidFile)) !== null && (await spec.isReady());
  if (!(await becomesTrue(isUp, START_TIMEOUT_MS))) throw refuse('HOST_COMMAND_FAILED', { command: 'swtpm', host: hostId, problem: 'it started but does not answer' });
}

/** Id of the live swtpm that wrote `pidFile`; null where there is none, or another process has its id now. */
export async function runningPid(access: HostAccess, pidFile: string): Promise<number | null> {
  const pid = Number((await access.readFile(pidFile))?.toString().trim() || Number.NaN);
  if (!Number.isSafeInteger(pid) || pid <= 1) return null;
  return (await access.commandLineOf(pid))?.includes(`file=${pidFile}`) ? pid : null;
}

/** SIGTERM, and SIGKILL if that does not help; state is written at every change, so nothing is lost. */
export async function ensureSwtpmStopped({ access, hostId }: Pick<SwtpmHost, 'access' | 'hostId'>, pidFile: string): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const pid = await runningPid(access, pidFile);
    if (pid === null) return access.remove(pidFile);
    await access.signal(pid, signal);
    await becomesTrue(async () => (await access.commandLineOf(pid)) === null, STOP_TIMEOUT_MS);
  }
  if ((await runningPid(access, pidFile)) !== null) throw refuse('HOST_COMMAND_FAILED', { command: 'swtpm', host: hostId, problem: 'it does not end' });
  await access.remove(pidFile);
}

/** Own files for everything that swtpm_localca would keep in system folders. Returns the path of swtpm_setup's configuration. */
async function ensureCaConfiguration(access: HostAccess, caDir: string): Promise<string> {
  const path = (name: string) => join(caDir, name);
  const localCa = { statedir: caDir, signingkey: path('signkey.pem'), issuercert: path('issuercert.pem'), certserial: path('certserial') };
  const setup = {
    create_certs_tool: 'swtpm_localca', // found by its own path search
    create_certs_tool_config: path('swtpm-localca.conf'),
    create_certs_tool_options: path('swtpm-localca.options'),
    active_pcr_banks: 'sha256',
  };
  const files = {
    'swtpm-localca.conf': asConfiguration(localCa),
    'swtpm-localca.options': '--platform-manufacturer Korora\n--platform-version 1\n--platform-model QEMU\n',
    'swtpm_setup.conf': asConfiguration(setup),
  };
  await access.ensureDirectory(caDir);
  for (const [name, content] of Object.entries(files)) {
    if ((await access.readFile(path(name)))?.toString() !== content) await access.writeFileDurably(path(name), content);
  }
  return path('swtpm_setup.conf');
}

function asConfiguration(entries: Readonly<Record<string, string>>): string {
  return Object.entries(entries).map(([key, value]) => `${key} = ${value}\n`).join('');
}

async function runOrRefuse(access: HostAccess, hostId: string, command: string, args: readonly string[], options: CommandOptions): Promise<void> {
  const { exitCode, stdout, stderr } = await access.run(command, args, options);
  if (exitCode === 0) return;
  const problem = [stdout, stderr].map((output) => output.toString().trim()).filter(Boolean).join(' ').slice(-500);
  throw refuse('HOST_COMMAND_FAILED', { command, host: hostId, problem: problem || `exit code ${exitCode}` });
}

async function becomesTrue(condition: () => Promise<boolean>, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) return false;
    await sleep(POLL_MS);
  }
  return true;
}
