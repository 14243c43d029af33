/**
 * The QEMU process of a VM on its host: found by its pid file and proven by its command line, reached
 * by its two monitor sockets, started, ended. Knows nothing of copies.
 *
 * Two sockets because QEMU serves one client at a time on each: whoever runs a copy holds one of them
 * for minutes, and status, abort or destroy must get through meanwhile, from another worker process too.
 * On the control socket every operation has a connection of its own, so that nothing has to be
 * restored after a worker's death.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { KororaError, problemOf, refuse } from '../../domain/failures.js';
import type { HostId, VmId } from '../../domain/ids.js';
import type { VmDocument } from '../../domain/vm.js';
import type { HostAccess } from '../../host/port.js';
import { isProcessOf, MAX_RUN_DIR_BYTES, runFiles, type RunFiles } from './command-line.js';
import { makeTaps, removeTaps } from './network.js';
import { openQmp, QmpError, type Qmp } from './qmp.js';

/** How the driver reaches one host. */
export interface QemuHost {
  readonly access: HostAccess;
  readonly hostId: HostId;
  readonly binary: string;
}

const GREETING_TIMEOUT_MS = 5_000;
const START_TIMEOUT_MS = 60_000;
/** What a QEMU that was asked to quit, then to terminate, may take each time: it flushes its disks. */
const END_TIMEOUT_MS = 10_000;
const LOG_TAIL_LINES = 5;

/** The id of the live process that is this VM's, by pid file and command line; null where there is none. */
export async function findProcess({ access }: QemuHost, vmId: VmId, runDir: string): Promise<number | null> {
  const pid = Number((await access.readFile(runFiles(runDir).pidFile))?.toString().trim());
  if (!Number.isSafeInteger(pid) || pid <= 1) return null;
  const commandLine = await access.commandLineOf(pid);
  return commandLine && isProcessOf(commandLine, vmId, runDir) ? pid : null;
}

/** Starts QEMU and resolves when its sockets listen. HYPERVISOR_COMMAND_FAILED with QEMU's own words; then nothing of it runs. */
export async function launch(host: QemuHost, { vmId, networks }: VmDocument, runDir: string, args: readonly string[]): Promise<void> {
  const { access } = host;
  if (Buffer.byteLength(runDir) > MAX_RUN_DIR_BYTES) throw commandFailed(host, 'start', new QmpError(`the path ${runDir} is too long for unix sockets`));
  if ((await findProcess(host, vmId, runDir)) !== null) throw commandFailed(host, 'start', new QmpError(`a QEMU of ${vmId} runs there already`));
  await access.ensureDirectory(runDir);
  for (const path of staleFiles(runFiles(runDir))) await access.remove(path);
  try {
    await saying(host, 'start', () => makeTaps(host, vmId, networks));
    const { exitCode, stderr } = await access.run(host.binary, args, { timeoutMs: START_TIMEOUT_MS });
    if (exitCode === 0) return await makeFilesPrivate(host, runDir);
    throw commandFailed(host, 'start', new QmpError([stderr.toString().trim(), await logTail(host, runDir)].filter(Boolean).join('; ') || `exit code ${exitCode}`));
  } catch (error) {
    await removeTaps(host, vmId).catch(() => undefined);
    throw error;
  }
}

/**
 * One operation on the control socket of a VM's process, those of one run directory one after the other.
 * HYPERVISOR_COMMAND_FAILED: no such process, or QEMU refuses, or does not answer.
 */
export async function withControl<T>(host: QemuHost, vmId: VmId, runDir: string, operation: string, action: (qmp: Qmp) => Promise<T>): Promise<T> {
  return inTurn(runDir, async () => {
    if ((await findProcess(host, vmId, runDir)) === null) throw commandFailed(host, operation, new QmpError(`no QEMU of ${vmId} runs`));
    return saying(host, operation, async () => {
      const qmp = await openQmp(await host.access.connectUnixSocket(runFiles(runDir).controlSocket), GREETING_TIMEOUT_MS);
      try {
        return await action(qmp);
      } finally {
        qmp.close();
      }
    });
  });
}

/** The connection for a whole copy; the caller closes it. HYPERVISOR_COMMAND_FAILED. */
export function openCopyConnection(host: QemuHost, runDir: string): Promise<Qmp> {
  return saying(host, 'connect to QEMU', async () => openQmp(await host.access.connectUnixSocket(runFiles(runDir).copySocket), GREETING_TIMEOUT_MS));
}

/** Quit, then SIGTERM, then SIGKILL, each to a process that is proven to be this VM's; then its networks and files go. */
export async function ensureGone(host: QemuHost, vmId: VmId, runDir: string): Promise<void> {
  const { access } = host;
  if ((await findProcess(host, vmId, runDir)) !== null) {
    await withControl(host, vmId, runDir, 'quit', (qmp) => qmp.execute('quit')).catch(() => undefined);
    for (const signal of [null, 'SIGTERM', 'SIGKILL'] as const) {
      const pid = await findProcess(host, vmId, runDir);
      if (pid === null) break;
      if (signal) await access.signal(pid, signal);
      if (await endsWithin(host, vmId, runDir, pid)) break;
      if (signal === 'SIGKILL') throw commandFailed(host, 'quit', new QmpError(`process ${pid} does not end`));
    }
  }
  await saying(host, 'remove the networks', () => removeTaps(host, vmId));
  const files = runFiles(runDir);
  for (const path of [...staleFiles(files), files.log, files.console, files.earlierConsole]) await access.remove(path);
}

/** The last lines of QEMU's own log in one line; empty where there are none. */
export async function logTail({ access }: QemuHost, runDir: string): Promise<string> {
  const text = (await access.readFile(runFiles(runDir).log))?.toString() ?? '';
  return text.trim().split('\n').slice(-LOG_TAIL_LINES).map((line) => line.trim()).filter(Boolean).join('; ');
}

/** Runs an action; what QEMU or the connection says against it becomes HYPERVISOR_COMMAND_FAILED. */
export async function saying<T>(host: QemuHost, operation: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw error instanceof KororaError && error.code === 'HYPERVISOR_COMMAND_FAILED' ? error : commandFailed(host, operation, error);
  }
}

export function commandFailed({ hostId }: QemuHost, operation: string, cause: unknown): KororaError {
  return refuse('HYPERVISOR_COMMAND_FAILED', { command: `QEMU ${operation}`, host: hostId, problem: problemOf(cause) }, cause);
}

/** QEMU that goes into the background lets its group read what it makes (umask 027, os_daemonize in os-posix.c). */
export async function makeFilesPrivate({ access }: QemuHost, runDir: string): Promise<void> {
  for (const path of Object.values(runFiles(runDir))) await access.makePrivate(path);
}

function staleFiles(files: RunFiles): readonly string[] {
  return [files.pidFile, files.controlSocket, files.copySocket, files.outgoingSocket, files.incomingSocket];
}

/** QEMU removes its pid file as it leaves, so the process is watched by id. It is no child of ours: nothing reports its end. */
async function endsWithin({ access }: QemuHost, vmId: VmId, runDir: string, pid: number): Promise<boolean> {
  const deadline = performance.now() + END_TIMEOUT_MS;
  for (let pauseMs = 2; performance.now() < deadline; pauseMs = Math.min(pauseMs * 2, 100)) {
    const commandLine = await access.commandLineOf(pid);
    if (!commandLine || !isProcessOf(commandLine, vmId, runDir)) return true;
    await wait(pauseMs);
  }
  return false;
}

const turns = new Map<string, Promise<unknown>>();

function inTurn<T>(key: string, action: () => Promise<T>): Promise<T> {
  const turn = (turns.get(key) ?? Promise.resolve()).then(action, action);
  const last = turn.catch(() => undefined).then(() => {
    if (turns.get(key) === last) turns.delete(key);
  });
  turns.set(key, last);
  return turn;
}
