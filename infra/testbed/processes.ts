/**
 * Child processes of a testbed: started, waited for by what they say, ended by their id. What runs
 * is written down, so that a later run can end what an earlier one left (`--keep`, or a kill).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { answered } from './until.js';

export interface TestbedProcess {
  readonly name: string;
  readonly child: ChildProcess;
  readonly pid: number;
  readonly logFile: string;
  /** Resolves with the exit code (null for a signal). */
  readonly exited: Promise<number | null>;
  /** SIGTERM, then waits. */
  stop(): Promise<void>;
  /** SIGKILL, then waits. */
  kill(): Promise<void>;
}

export interface ProcessSpec {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly logFile: string;
  /** The text on stdout that says it is ready. */
  readonly readyText: string;
}

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 15_000;

export async function startProcess(spec: ProcessSpec): Promise<TestbedProcess> {
  const log = createWriteStream(spec.logFile, { flags: 'a' });
  const child = spawn(spec.command, spec.args, { env: { ...process.env, ...spec.environment }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  child.stderr.pipe(log, { end: false });
  child.stdout.pipe(log, { end: false });
  await untilReady(spec, child, exited).catch((error: unknown) => {
    child.kill('SIGKILL');
    throw error;
  });
  const end = async (signal: 'SIGTERM' | 'SIGKILL') => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(timer);
    log.end();
  };
  return { name: spec.name, child, pid: child.pid ?? 0, logFile: spec.logFile, exited, stop: () => end('SIGTERM'), kill: () => end('SIGKILL') };
}

/** Lets go of a process that is to outlive this one. */
export function leaveRunning({ child }: TestbedProcess): void {
  child.unref();
  child.stdout?.destroy();
  child.stderr?.destroy();
}

/** Processes to end later: id and command line, so that a reused id is not hit. */
export async function writeDown(file: string, pids: readonly number[]): Promise<void> {
  const known = await Promise.all(pids.map(async (pid) => ({ pid, commandLine: await commandLineOf(pid) })));
  await writeFile(file, JSON.stringify(known));
}

/** Kills these at once. One that has ended meanwhile is no error: a vTPM ends with its hypervisor. */
export function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

export async function endWrittenDown(file: string): Promise<void> {
  const known = JSON.parse(await readFile(file, 'utf8').catch(() => '[]')) as readonly { pid: number; commandLine: string | null }[];
  for (const { pid, commandLine } of known) {
    if (commandLine !== null && (await commandLineOf(pid)) === commandLine) killAll([pid]);
  }
  await rm(file, { force: true });
}

export async function commandLineOf(pid: number): Promise<string | null> {
  const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return text === '' ? null : text;
}

/** Processes of QEMU, swtpm, Temporal and fake machines whose command lines name `root`. */
export async function pidsBelow(root: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const isOurs = async (pid: number) => {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    const [program = '', script = ''] = line.split('\0');
    return pid !== process.pid && line.includes(`${root}/`) && (/qemu-system|swtpm|temporal/.test(program) || script.endsWith('fake/machine-process.js'));
  };
  const ours = await Promise.all(pids.map(isOurs));
  return pids.filter((_, i) => ours[i]);
}

async function untilReady(spec: ProcessSpec, child: ChildProcess, exited: Promise<number | null>): Promise<void> {
  let said = '';
  const ready = new Promise<void>((resolve) => {
    child.stdout?.on('data', (data: Buffer) => {
      said += data.toString();
      if (said.includes(spec.readyText)) resolve();
    });
  });
  const ended = exited.then(async (code) => {
    throw new Error(`${spec.name} ended with ${code}: ${await logEnd(spec)}`);
  });
  ended.catch(() => undefined);
  const tell = async () => `the end of ${spec.logFile}\n${await logEnd(spec)}`;
  await answered(`${spec.name} to say "${spec.readyText.trim()}"`, Promise.race([ready, ended]), { limitMs: READY_TIMEOUT_MS, tell });
}

async function logEnd({ logFile }: ProcessSpec): Promise<string> {
  return (await readFile(logFile, 'utf8').catch(() => '')).slice(-1500);
}
