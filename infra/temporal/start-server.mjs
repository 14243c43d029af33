#!/usr/bin/env node
/**
 * Starts the one-machine Temporal server (`temporal server start-dev`) on loopback, waits until it answers, and leaves
 * it running. For one machine and for tests: one SQLite connection, no TLS, no authentication, hence loopback only.
 *
 *   node infra/temporal/start-server.mjs [--binary PATH] [--port N] [--ui-port N] [--no-ui] [--db-filename FILE]
 *        [--log-file FILE] [--namespace NAME]… [--search-attribute NAME=TYPE]…
 *
 * Prints {"address","uiUrl","pid"} as one line of JSON. Without --port and --ui-port free ones are taken; without
 * --db-filename everything is in memory; without --binary ensure-server.mjs finds one. Stop it with SIGTERM to the pid.
 *
 * Out of the box a sequential activity costs about 100 ms, because the dev server has one history shard whose queues
 * are polled 20 times a second. The dynamic configuration below lifts that limit. With a database file, WAL and
 * synchronous=1 save another third; killing the process then loses nothing, a power cut may lose the last commits.
 */
import { execFile, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';

const run = promisify(execFile);
const loopback = '127.0.0.1';

const DYNAMIC_CONFIG = {
  'history.transferProcessorMaxPollRPS': 2000,
  'history.timerProcessorMaxPollRPS': 2000,
  'history.visibilityProcessorMaxPollRPS': 2000,
};
/** The dynamic configuration as arguments, for whoever starts `temporal server start-dev` in another way. */
export const QUICK_SERVER_ARGUMENTS = each('--dynamic-config-value', DYNAMIC_CONFIG);
const SQLITE_PRAGMAS = { journal_mode: 'WAL', synchronous: 1 };
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 10_000;

/**
 * @param {import('./start-server.d.mts').TemporalServerOptions} options
 * @returns {Promise<import('./start-server.d.mts').TemporalServer>} once the server's frontend reports SERVING
 */
export async function startTemporalServer(options) {
  const port = options.port || (await freePort());
  const uiPort = options.ui === false ? undefined : options.uiPort || (await freePort());
  const logFile = path.resolve(options.logFile ?? path.join(tmpdir(), `korora-temporal-${port}.log`));
  const address = `${loopback}:${port}`;

  mkdirSync(path.dirname(logFile), { recursive: true });
  if (options.databaseFile) mkdirSync(path.dirname(path.resolve(options.databaseFile)), { recursive: true });

  const log = openSync(logFile, 'a');
  const child = spawn(options.binary, serverArguments({ ...options, port, uiPort }), {
    detached: true,
    stdio: ['ignore', log, log],
    env: environment(),
  });
  closeSync(log);
  child.unref();
  const ended = new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (status, signal) => resolve(`ended with ${signal ?? status}`));
  });
  let whyEnded;
  void ended.then((reason) => (whyEnded = reason));

  const stop = async () => {
    if (whyEnded !== undefined) return;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
    await ended;
    clearTimeout(timer);
  };

  const deadline = Date.now() + START_LIMIT_MS;
  for (;;) {
    if (whyEnded !== undefined) throw startFailure(`the server ${whyEnded}`, logFile);
    if ((await isListening(port)) && (await isHealthy(options.binary, address))) break;
    if (Date.now() > deadline) {
      await stop();
      throw startFailure(`no answer on ${address} within ${START_LIMIT_MS / 1000} s`, logFile);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { address, uiUrl: uiPort === undefined ? undefined : `http://${loopback}:${uiPort}`, pid: child.pid, logFile, stop };
}

function serverArguments({ port, uiPort, databaseFile, namespaces = [], searchAttributes = {} }) {
  return [
    ...['server', 'start-dev', '--ip', loopback, '--port', String(port)],
    ...(uiPort === undefined ? ['--headless'] : ['--ui-ip', loopback, '--ui-port', String(uiPort), '--ui-disable-news-fetch']),
    ...QUICK_SERVER_ARGUMENTS,
    ...(databaseFile ? ['--db-filename', path.resolve(databaseFile), ...each('--sqlite-pragma', SQLITE_PRAGMAS)] : []),
    ...namespaces.flatMap((name) => ['--namespace', name]),
    ...each('--search-attribute', searchAttributes),
    ...['--log-level', 'warn', '--color', 'never'],
  ];
}

function each(flag, values) {
  return Object.entries(values).flatMap(([key, value]) => [flag, `${key}=${value}`]);
}

/** The caller's environment without TEMPORAL_*, which would point the CLI at another server; HOME is needed for its settings. */
function environment() {
  const entries = Object.entries(process.env).filter(([name]) => !name.startsWith('TEMPORAL_'));
  return { HOME: homedir(), ...Object.fromEntries(entries) };
}

async function isHealthy(binary, address) {
  try {
    const { stdout } = await run(binary, ['operator', 'cluster', 'health', '--address', address, '--command-timeout', '5s'], { timeout: 10_000, env: environment() });
    return stdout.includes('SERVING');
  } catch {
    return false;
  }
}

function isListening(port) {
  return new Promise((resolve) => {
    const socket = net.connect({ host: loopback, port });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, loopback, () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function startFailure(why, logFile) {
  const tail = readFileSync(logFile, 'utf8').trim().split('\n').slice(-15).join('\n');
  return Object.assign(new Error(`TEMPORAL_SERVER_DID_NOT_START: ${why}. End of ${logFile}:\n${tail}`), { code: 'TEMPORAL_SERVER_DID_NOT_START' });
}

async function main() {
  // Its database has every payload that no key encrypts.
  process.umask(0o077);
  const { values } = parseArgs({
    options: {
      binary: { type: 'string' },
      port: { type: 'string' },
      'ui-port': { type: 'string' },
      'no-ui': { type: 'boolean' },
      'db-filename': { type: 'string' },
      'log-file': { type: 'string' },
      namespace: { type: 'string', multiple: true },
      'search-attribute': { type: 'string', multiple: true },
    },
  });
  const findBinary = async () => {
    const { ensureTemporalBinary } = await import('./ensure-server.mjs');
    return ensureTemporalBinary({ log: (line) => console.error(`[temporal] ${line}`) });
  };
  const server = await startTemporalServer({
    binary: values.binary ?? (await findBinary()),
    port: values.port && Number(values.port),
    uiPort: values['ui-port'] && Number(values['ui-port']),
    ui: !values['no-ui'],
    databaseFile: values['db-filename'],
    logFile: values['log-file'],
    namespaces: values.namespace,
    searchAttributes: Object.fromEntries((values['search-attribute'] ?? []).map((pair) => pair.split('='))),
  });
  console.log(JSON.stringify({ address: server.address, uiUrl: server.uiUrl, pid: server.pid }));
}

if (process.argv[1] && fileURLToPath(import.meta.url) === path.resolve(process.argv[1])) {
  main().catch((error) => {
    console.error(error.code?.startsWith('TEMPORAL_') ? error.message : error);
    process.exitCode = 1;
  });
}
