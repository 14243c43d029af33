#!/usr/bin/env node
/**
 * Prints the path of a `temporal` binary (the Temporal CLI, whose `server start-dev` is the one-machine server), the
 * first of these that works:
 *
 *   1. `temporal` on PATH, version 1.5.0 or newer
 *   2. the cache: $KORORA_CACHE/temporal/<version>/temporal
 *   3. the official download of the version that go.mod pins, into the cache
 *   4. a build of that version with Go, from go.mod and go.sum beside this file, into the cache
 *
 *   node infra/temporal/ensure-server.mjs        path on standard output, progress on standard error
 *
 * Exit status 1 and TEMPORAL_SERVER_UNAVAILABLE with what each way answered, when none works.
 * Uses Node alone, since it may run before `npm ci`. Two at once do not build twice: the second waits for the first.
 *
 * What is trusted: a build is checked against go.sum, module by module. The download is the request the Temporal SDK's
 * own test server makes (temporal.download names an archive and the file in it), over HTTPS and, as there, without a
 * checksum: the publisher offers none at a stable address.
 */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createWriteStream, existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const here = path.dirname(fileURLToPath(import.meta.url));

const OLDEST_CLI = '1.5.0';
/** What a CLI built without a version number is judged by; CLI 1.5.0 carries this server. */
const OLDEST_SERVER = '1.29.0';
const DOWNLOAD_ANSWER_MS = 5_000;
const DOWNLOAD_MS = 5 * 60_000;
const PROGRESS_EVERY_MS = 20_000;

export class TemporalServerUnavailable extends Error {
  code = 'TEMPORAL_SERVER_UNAVAILABLE';

  /** @param {readonly {way: string, answer: string}[]} tried */
  constructor(tried) {
    const goVersion = goModule().go;
    super(
      [
        'TEMPORAL_SERVER_UNAVAILABLE: no usable `temporal` binary. Tried:',
        ...tried.map(({ way, answer }) => `  ${way}: ${answer}`),
        `Install the Temporal CLI ${OLDEST_CLI} or newer on PATH (https://temporal.io/setup), or Go ${goVersion} or newer`,
        '(https://go.dev/dl/; the build then takes some minutes), and run this again.',
      ].join('\n'),
    );
    this.tried = tried;
  }
}

/**
 * @param {{log?: (line: string) => void, cacheFolder?: string}} [options]
 * @returns {Promise<string>} absolute path of a binary that answered `--version`
 */
export async function ensureTemporalBinary({ log = () => {}, cacheFolder = defaultCacheFolder() } = {}) {
  const { cli } = goModule();
  const target = path.join(cacheFolder, 'temporal', cli, 'temporal');
  const tried = [];

  for (const [way, find] of [
    ['temporal on PATH', () => fromPath()],
    ['cache', () => fromCache(target)],
    ['download', () => withLock(target, log, () => download(cli, target, log))],
    ['build with Go', () => withLock(target, log, () => build(cli, target, log))],
  ]) {
    try {
      return await find();
    } catch (error) {
      const answer = firstLines(error);
      tried.push({ way, answer });
      log(`${way}: ${answer}`);
    }
  }
  throw new TemporalServerUnavailable(tried);
}

/** `$KORORA_CACHE`, else `korora` in the user's cache folder. */
export function defaultCacheFolder() {
  return process.env.KORORA_CACHE || path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'korora');
}

// --- the ways ---------------------------------------------------------------------------------------------------

async function fromPath() {
  const binary = onPath('temporal');
  if (binary === undefined) throw new Error('not there');
  await verifyVersion(binary);
  return binary;
}

async function fromCache(target) {
  if (!existsSync(target)) throw new Error(`no ${target}`);
  await verifyVersion(target);
  return target;
}

async function download(version, target, log) {
  const platform = { linux: 'linux', darwin: 'darwin' }[process.platform];
  const arch = { x64: 'amd64', arm64: 'arm64' }[process.arch];
  if (!platform || !arch) throw new Error(`no archive for ${process.platform} ${process.arch}`);

  const question = `https://temporal.download/cli/v${version}?platform=${platform}&arch=${arch}&format=tar.gz`;
  const answer = await fetch(question, { signal: AbortSignal.timeout(DOWNLOAD_ANSWER_MS) });
  if (!answer.ok) throw new Error(`${question} answered ${answer.status}`);
  const { archiveUrl, fileToExtract } = await answer.json();
  if (!String(archiveUrl).startsWith('https://')) throw new Error(`not an https address: ${archiveUrl}`);

  log(`downloading ${archiveUrl}`);
  const folder = await partialFolder(target);
  try {
    const archive = await fetch(archiveUrl, { signal: AbortSignal.timeout(DOWNLOAD_MS) });
    if (!archive.ok || !archive.body) throw new Error(`${archiveUrl} answered ${archive.status}`);
    const file = path.join(folder, 'archive.tar.gz');
    await pipeline(Readable.fromWeb(archive.body), createWriteStream(file));
    await run('tar', ['-xzf', file, '-C', folder, fileToExtract]);
    log(`SHA-256 of the archive: ${createHash('sha256').update(await readFile(file)).digest('hex')}`);
    return await moveIntoCache(path.join(folder, fileToExtract), target);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function build(version, target, log) {
  const go = await findGo();
  const folder = await partialFolder(target);
  const output = path.join(folder, 'temporal');
  const startedAt = Date.now();
  const seconds = () => Math.round((Date.now() - startedAt) / 1000);
  log(`building the Temporal CLI ${version} with ${go.version} (about 5 minutes on two cores)`);
  const progress = setInterval(() => log(`building … ${seconds()} s`), PROGRESS_EVERY_MS);
  try {
    await runToEnd(
      go.binary,
      [
        ...['build', '-mod=readonly', '-trimpath', '-buildvcs=false'],
        ...['-ldflags', `-s -w -X github.com/temporalio/cli/internal/temporalcli.Version=${version}`],
        ...['-o', output, 'github.com/temporalio/cli/cmd/temporal'],
      ],
      // GOFLAGS of the user could contradict the flags above; GOWORK would pull in a workspace around the project.
      { cwd: here, env: { ...process.env, HOME: homedir(), CGO_ENABLED: '0', GOFLAGS: '', GOWORK: 'off', GOTOOLCHAIN: go.toolchain } },
    );
    const binary = await moveIntoCache(output, target);
    log(`built in ${seconds()} s`);
    return binary;
  } finally {
    clearInterval(progress);
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * A Go that is new enough, else one that can fetch a new enough toolchain by itself (1.21 and later, GOTOOLCHAIN=auto;
 * checked against Go's checksum database). Looks on PATH and where Go's own archive and Debian put theirs.
 */
async function findGo() {
  const needed = goModule().go;
  const candidates = [onPath('go'), '/usr/local/go/bin/go', '/usr/lib/go/bin/go'].filter((file) => file && existsSync(file));
  const seen = [];
  for (const binary of new Set(candidates)) {
    const { stdout } = await run(binary, ['env', 'GOVERSION'], { cwd: '/', env: { ...process.env, HOME: homedir(), GOTOOLCHAIN: 'local' } }).catch(() => ({ stdout: '' }));
    const version = /^go(\d+\.\d+(\.\d+)?)/.exec(stdout.trim())?.[1];
    if (version !== undefined) seen.push({ binary, version });
  }
  const ready = seen.find(({ version }) => !isOlder(version, needed));
  if (ready) return { ...ready, version: `go${ready.version}`, toolchain: 'local' };
  const able = seen.find(({ version }) => !isOlder(version, '1.21.0'));
  if (able) return { ...able, version: `go${able.version}, which fetches go${needed}`, toolchain: 'auto' };
  throw new Error(seen.length === 0 ? 'no go command' : `go ${seen.map(({ version }) => version).join(', ')} is older than ${needed}`);
}

// --- one at a time ------------------------------------------------------------------------------------------------

/**
 * Runs `make` while holding the lock file beside the target (it holds the owner's pid). Whoever waited finds the
 * owner's result instead. A lock whose owner is gone is taken over.
 */
async function withLock(target, log, make) {
  const lock = `${target}.lock`;
  await mkdir(path.dirname(target), { recursive: true });
  for (let waited = 0; ; waited++) {
    const handle = await open(lock, 'wx').catch((error) => {
      if (error.code !== 'EEXIST') throw error;
    });
    if (handle) {
      await handle.writeFile(String(process.pid));
      await handle.close();
      break;
    }
    if (!(await isHeld(lock))) {
      await rm(lock, { force: true });
      continue;
    }
    if (waited % 20 === 0) log(`waiting for another process that fetches or builds it (lock ${lock})`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  const release = () => rm(lock, { force: true });
  try {
    return await fromCache(target).catch(make);
  } finally {
    await release();
  }
}

async function isHeld(lock) {
  try {
    const pid = Number(await readFile(lock, 'utf8'));
    // Between its creation and its writing a lock is empty for an instant; only an old empty one is nobody's.
    if (pid === 0) return Date.now() - (await stat(lock)).mtimeMs < 5_000;
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

// --- helpers --------------------------------------------------------------------------------------------------------

/** Versions pinned in go.mod: of the CLI, and of the Go it needs. */
function goModule() {
  const text = readFileSync(path.join(here, 'go.mod'), 'utf8');
  const cli = /^\s*(?:require )?github\.com\/temporalio\/cli v(\S+)/m.exec(text)?.[1];
  const go = /^go (\S+)/m.exec(text)?.[1];
  if (!cli || !go) throw new Error('infra/temporal/go.mod names no CLI version or no Go version');
  return { cli, go };
}

function onPath(name) {
  for (const folder of (process.env.PATH ?? '').split(path.delimiter)) {
    const file = path.join(folder, name);
    if (folder !== '' && existsSync(file)) return file;
  }
  return undefined;
}

/** Runs `binary --version` and throws unless it is new enough. */
async function verifyVersion(binary) {
  const { stdout } = await run(binary, ['--version'], { timeout: 20_000, env: { ...process.env, HOME: homedir() } });
  const [, cli, server] = /version v?(\d+\.\d+\.\d+)\S* \(Server (\d+\.\d+\.\d+)/.exec(stdout) ?? [];
  if (cli === undefined) throw new Error(`${binary} says ${JSON.stringify(stdout.trim().slice(0, 100))}`);
  const isNewEnough = cli === '0.0.0' ? !isOlder(server, OLDEST_SERVER) : !isOlder(cli, OLDEST_CLI);
  if (!isNewEnough) throw new Error(`${binary} is ${stdout.trim()}, older than ${OLDEST_CLI}`);
}

function isOlder(version, than) {
  const parts = (text) => text.split('.').map(Number);
  const [a, b] = [parts(version), parts(than)];
  const i = [0, 1, 2].find((n) => (a[n] ?? 0) !== (b[n] ?? 0));
  return i !== undefined && (a[i] ?? 0) < (b[i] ?? 0);
}

/** A folder beside the target, so that a rename moves out of it. Only the lock's holder asks, so an old one is a leftover. */
async function partialFolder(target) {
  const folder = path.join(path.dirname(target), '.partial');
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  return folder;
}

async function moveIntoCache(file, target) {
  await chmod(file, 0o755);
  await verifyVersion(file);
  await rename(file, target);
  return target;
}

/** Like `run`, but keeps only the end of what the command says, however much that is. */
function runToEnd(command, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    // A build must not outlive who asked for it.
    const interrupt = (signal) => {
      child.kill(signal);
      child.once('close', () => process.exit(1));
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
      process.once(signal, interrupt);
      child.once('close', () => process.off(signal, interrupt));
    }
    let said = '';
    const listen = (chunk) => (said = (said + chunk).slice(-4000));
    child.stdout.on('data', listen);
    child.stderr.on('data', listen);
    child.on('error', reject);
    child.on('close', (status) => (status === 0 ? resolve() : reject(new Error(`${path.basename(command)} ended with ${status}: ${said.trim()}`))));
  });
}

function firstLines(error) {
  const cause = error.cause ? ` (${error.cause.code ?? error.cause.message})` : '';
  const text = `${error.message}${cause}`.trim().split('\n');
  return (text.length > 6 ? [...text.slice(0, 2), '…', ...text.slice(-3)] : text).join('\n    ');
}

if (process.argv[1] && fileURLToPath(import.meta.url) === path.resolve(process.argv[1])) {
  try {
    console.log(await ensureTemporalBinary({ log: (line) => console.error(`[temporal] ${line}`) }));
  } catch (error) {
    console.error(error.code === 'TEMPORAL_SERVER_UNAVAILABLE' ? error.message : error);
    process.exitCode = 1;
  }
}
