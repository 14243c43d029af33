/**
 * A host that is this machine: commands by node:child_process (never a shell), files by
 * node:fs/promises, sockets by node:net, processes by /proc (Linux).
 *
 * Every error leaves as HOST_COMMAND_FAILED with the system's error as its cause. Knows no VM, no
 * TPM, no Temporal; keeps no state.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { type BigIntStats, createReadStream } from 'node:fs';
import { chmod, mkdir, mkdtemp, open, readFile, readdir, realpath, rename, rm, stat } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { constants } from 'node:os';
import { basename, dirname, join } from 'node:path';
import type { Duplex, Writable } from 'node:stream';
import { problemOf, refuse } from '../domain/failures.js';
import type { HostId } from '../domain/ids.js';
import { keepEnd, readStart } from './ends.js';
import { environmentOfCommands } from './environment.js';
import type { CommandOptions, CommandResult, FileFacts, HostAccess, SocketListener } from './port.js';

/** How long a command that has ended may keep its output open through a child it left behind. */
const OUTPUT_GRACE_MS = 250;
const COMMAND_TIMEOUT_MS = 60_000;

export function createLocalHost(hostId: HostId): HostAccess {
  const attempt = async <T>(command: string, action: () => Promise<T>): Promise<T> => {
    try {
      return await action();
    } catch (cause) {
      throw refuse('HOST_COMMAND_FAILED', { command, host: hostId, problem: problemOf(cause) }, cause);
    }
  };

  return {
    run: (command, args, options = {}) => attempt(basename(command), () => runToEnd(command, args, options)),

    readFile: (path, atMostBytes) => attempt(`read ${path}`, () => orNull(atMostBytes === undefined ? readFile(path) : readAtMost(path, atMostBytes))),
    readStart: (path, bytes) => attempt(`read ${path}`, () => readStart(path, bytes)),
    writeFileDurably: (path, content) => attempt(`write ${path}`, () => writeDurably(path, content)),
    keepEnd: (path, limits) => attempt(`shorten ${path}`, async () => void (await orNull(keepEnd(path, limits)))),
    makePrivate: (path) => attempt(`set the mode of ${path}`, async () => void (await orNull(chmod(path, 0o600)))),
    ensureDirectory: (path) => attempt(`create ${path}`, () => createDirectory(path)),
    remove: (path) => attempt(`remove ${path}`, () => rm(path, { recursive: true, force: true })),
    list: (path) => attempt(`list ${path}`, async () => ((await orNull(readdir(path))) ?? []).sort()),
    stat: (path) => attempt(`stat ${path}`, () => factsOf(path)),
    resolve: (path) => attempt(`resolve ${path}`, () => resolved(path)),

    connectUnixSocket: (path) => attempt(`connect to ${path}`, () => connected(path)),
    listenUnixSocket: (path) => attempt(`listen on ${path}`, () => listening(path)),

    commandLineOf: (pid) => attempt(`read the command line of process ${pid}`, () => commandLine(pid)),
    processes: () => attempt('list processes', listProcesses),
    signal: (pid, signal) => attempt(`send ${signal} to process ${pid}`, async () => sendSignal(pid, signal)),
    availableMemoryBytes: () => attempt('read /proc/meminfo', availableMemory),
  };
}

/**
 * Node's extra stdio pipes are socket pairs: a command may read fd 3, but cannot open /dev/fd/3.
 * A command killed by a signal has exit code 128 + signal, as in a shell.
 */
function runToEnd(command: string, args: readonly string[], options: CommandOptions): Promise<CommandResult> {
  const secrets = options.secretInputs ?? [];
  const timeoutMs = options.timeoutMs ?? COMMAND_TIMEOUT_MS;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: { ...environmentOfCommands(process.env), ...options.environment },
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe', ...secrets.map(() => 'pipe' as const)],
    });
    const stdout = collect(child.stdio[1]);
    const stderr = collect(child.stdio[2]);
    let isTimedOut = false;
    let grace: NodeJS.Timeout | undefined;
    const limit = setTimeout(() => {
      isTimedOut = true;
      child.kill('SIGKILL');
    }, timeoutMs);

    const finish = (exitCode: number) => {
      clearTimeout(limit);
      clearTimeout(grace);
      for (const stream of child.stdio) stream?.destroy();
      if (isTimedOut) reject(new Error(`no end within ${timeoutMs} ms`));
      else resolve({ exitCode, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr) });
    };
    const exitCodeOf = (code: number | null, signal: NodeJS.Signals | null) => code ?? 128 + (signal ? constants.signals[signal] : 0);

    child.once('error', (error) => {
      clearTimeout(limit);
      reject(error);
    });
    child.once('close', (code, signal) => finish(exitCodeOf(code, signal)));
    child.once('exit', (code, signal) => {
      grace = setTimeout(() => finish(exitCodeOf(code, signal)), OUTPUT_GRACE_MS);
    });
    feed(child.stdio[0], options.input);
    secrets.forEach((secret, i) => feed(child.stdio[3 + i] as Writable, secret));
  });
}

function collect(stream: unknown): Buffer[] {
  const chunks: Buffer[] = [];
  (stream as NodeJS.ReadableStream | null)?.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => undefined);
  return chunks;
}

/** A command need not read all it is given: a broken pipe is its decision. */
function feed(stream: Writable | null, content: Buffer | undefined): void {
  stream?.on('error', () => undefined);
  stream?.end(content);
}

/** By what comes, not by the size: files of the kernel say 0. */
async function readAtMost(path: string, atMostBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of createReadStream(path, { end: atMostBytes })) chunks.push(chunk as Buffer);
  const content = Buffer.concat(chunks);
  if (content.length > atMostBytes) throw new Error(`more than ${atMostBytes} bytes`);
  return content;
}

async function writeDurably(path: string, content: Buffer | string): Promise<void> {
  const folder = dirname(path);
  const aside = join(folder, `.${basename(path)}.${randomBytes(6).toString('hex')}`);
  const file = await open(aside, 'wx', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
    await Promise.all([rename(aside, path), file.close()]);
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(aside, { force: true });
    throw error;
  }
  await syncFolder(folder);
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The names of new folders are made durable too: a record inside one must not be lost with it. */
async function createDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let folder = path; folder.length >= first.length; folder = dirname(folder)) await syncFolder(dirname(folder));
}

async function factsOf(path: string): Promise<FileFacts | null> {
  const found = await orNull(stat(path, { bigint: true }));
  if (!found) return null;
  const kind = found.isFile() ? 'file' : found.isDirectory() ? 'directory' : found.isBlockDevice() ? 'block-device' : 'other';
  return { kind, sizeBytes: Number(found.size), inode: String(found.ino), birthTimeNs: String(found.birthtimeNs), links: Number(found.nlink), isOpenToOthers: isOpenToOthers(found) };
}

function isOpenToOthers({ uid, gid, mode }: BigIntStats): boolean {
  const [own, ownGroup] = [BigInt(process.geteuid?.() ?? 0), BigInt(process.getegid?.() ?? 0)];
  const [ofGroup, ofAll] = [(mode & 0o020n) !== 0n, (mode & 0o002n) !== 0n];
  return ofAll || (uid !== 0n && uid !== own) || (ofGroup && gid !== 0n && gid !== ownGroup);
}

async function resolved(path: string): Promise<string | null> {
  return realpath(path).catch((error: unknown) => {
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP', 'ENAMETOOLONG'].includes(codeOf(error))) return null;
    throw error;
  });
}

function connected(path: string): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

/**
 * Binds inside a fresh folder of mode 0700, sets the socket's mode, then renames it into place: at
 * no moment can another user connect. (Process-wide umask would race with other file operations.)
 */
async function listening(path: string): Promise<SocketListener> {
  await rm(path, { force: true });
  const waiting: Socket[] = [];
  const acceptors: { resolve: (socket: Socket) => void; reject: (error: Error) => void }[] = [];
  let isClosed = false;
  const server = createServer((socket) => {
    socket.on('error', () => undefined); // may break before anybody has asked for it
    const acceptor = acceptors.shift();
    if (acceptor) acceptor.resolve(socket);
    else waiting.push(socket);
  });

  const aside = await mkdtemp(join(dirname(path), '.'));
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(join(aside, 's'), resolve);
    });
    await chmod(join(aside, 's'), 0o600);
    await rename(join(aside, 's'), path);
  } catch (error) {
    server.close();
    throw error;
  } finally {
    await rm(aside, { recursive: true, force: true });
  }

  return {
    accept: () =>
      new Promise((resolve, reject) => {
        const socket = waiting.shift();
        if (socket) resolve(socket);
        else if (isClosed) reject(new Error(`${path} is closed`));
        else acceptors.push({ resolve, reject });
      }),
    async close() {
      if (isClosed) return;
      isClosed = true;
      server.close();
      for (const socket of waiting.splice(0)) socket.destroy();
      for (const { reject } of acceptors.splice(0)) reject(new Error(`${path} is closed`));
      await rm(path, { force: true });
    },
  };
}

/** Empty for a zombie and for a kernel thread: neither is a process that one can talk to. */
async function commandLine(pid: number): Promise<readonly string[] | null> {
  const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch((error: unknown) => {
    if (['ENOENT', 'ESRCH'].includes(codeOf(error))) return '';
    throw error;
  });
  return text === '' ? null : text.replace(/\0$/, '').split('\0');
}

async function listProcesses() {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const all = await Promise.all(pids.map(async (pid) => ({ pid, commandLine: await commandLine(pid).catch(() => null) })));
  return all.flatMap(({ pid, commandLine: words }) => (words ? [{ pid, commandLine: words }] : []));
}

/** Ids of 1 and below name init or whole groups. */
function sendSignal(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (!Number.isSafeInteger(pid) || pid <= 1) throw new Error(`${pid} is not the id of a process`);
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}

async function availableMemory(): Promise<number> {
  const kib = /^MemAvailable:\s+(\d+) kB$/m.exec(await readFile('/proc/meminfo', 'utf8'))?.[1];
  if (kib === undefined) throw new Error('it has no MemAvailable');
  return Number(kib) * 1024;
}

async function orNull<T>(promise: Promise<T>): Promise<T | null> {
  return promise.catch((error: unknown) => {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error))) return null;
    throw error;
  });
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
