/**
 * Runs tpm2-tools (5.4) against one TPM: one at a time, with the TPM's answer kept apart from the
 * tool's. Knows no keys and no policies.
 *
 * Without a resource manager (swtpm, /dev/tpm0) objects and sessions stay loaded after a tool ends,
 * and a TPM holds three of each: whoever loads something says so. Commands of several processes mix,
 * and a flush of one can hit what a tool of the other has just loaded: there each tool runs under a
 * lock (flock(1)) in `stateDir`. Tools that others run by hand know no lock: what they leave behind is
 * flushed when a slot is missing, and a tool whose object or session they flushed runs again.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type KororaError, refuse } from '../domain/failures.js';
import type { HostAccess } from '../host/port.js';

/** As an output file: binary output without a file on disk. */
export const STDOUT = '/dev/stdout';

/** Part 2 §6.6, with the parameter, handle and session numbers that Esys reports. */
export const RESPONSE = { pcrChanged: 0x128, pcrDigestDiffers: 0x1c4, badHandle: 0x18b, nvUninitialized: 0x14a, nvDefined: 0x14c, policyFail: 0x99d } as const;

export type ToolOutcome =
  | { readonly ok: true; readonly stdout: Buffer }
  /** `responseCode` is null where the tool failed for a reason of its own. */
  | { readonly ok: false; readonly responseCode: number | null; readonly error: KororaError };

export interface TpmTools {
  /** Calls of one `exclusive` are not mixed with those of another one of this TpmTools. Not reentrant. */
  exclusive<T>(work: () => Promise<T>): Promise<T>;
  /** Never refuses because of what the TPM or the tool answered. TPM_UNREACHABLE. */
  attempt(tool: string, args: readonly string[], input?: Buffer): Promise<ToolOutcome>;
  /** Standard output of a tool that succeeded. TPM_UNREACHABLE, TPM_COMMAND_FAILED. */
  run(tool: string, args: readonly string[], input?: Buffer): Promise<Buffer>;
  /** A folder for the files of one operation, gone afterwards with every object that tools left loaded. What fails in cleaning up hides nothing that went before it. */
  withFolder<T>(work: (folder: string) => Promise<T>): Promise<T>;
  /** Unloads what tools left loaded, now. A no-op where a resource manager does it. */
  flush(...kinds: readonly LoadedKind[]): Promise<void>;
  /** The same after the current `exclusive`: the next one waits for it, the result of this one does not. */
  flushAfterwards(...kinds: readonly LoadedKind[]): void;
}

export type LoadedKind = 'objects' | 'sessions';
/** One at a time: given both, tpm2_flushcontext 5.4 flushes neither. */
const FLUSH_OPTION = { objects: '-t', sessions: '-l' } as const satisfies Record<LoadedKind, string>;

/** Of the folders of `withFolder`. */
export const OPERATION_PREFIX = 'tmp-';

const TIMEOUT_MS = 60_000;
const RECONNECT_PAUSE_MS = 150;

export interface TpmToolsOptions {
  readonly access: HostAccess;
  readonly hostId: string;
  readonly tcti: string;
  /** Same for all processes of Kororā that use this TPM. */
  readonly stateDir: string;
}

export function createTpmTools({ access, hostId, tcti, stateDir }: TpmToolsOptions): TpmTools {
  const hasResourceManager = /^(device:\/dev\/tpmrm|tabrmd)/.test(tcti);
  const toFlush = new Set<LoadedKind>();
  let last: Promise<void> = Promise.resolve();
  let isStateDirThere = false;

  const locked = async (command: readonly string[]): Promise<readonly string[]> => {
    if (hasResourceManager) return command;
    if (!isStateDirThere) await access.ensureDirectory(stateDir);
    isStateDirThere = true;
    return ['flock', '--no-fork', join(stateDir, 'tpm.lock'), ...command];
  };

  /** Contexts that tpm2-tools save are for their group, too, whatever the umask. */
  const makeFilesPrivate = async (args: readonly string[]) => {
    for (const file of args.filter((arg) => arg.startsWith(`${stateDir}/`))) await access.makePrivate(file);
  };

  const once = async (tool: string, args: readonly string[], input?: Buffer): Promise<ToolOutcome | 'unreachable' | 'disturbed'> => {
    const [command = tool, ...commandArgs] = await locked(commandOf(tool, ['-T', tcti, ...args]));
    const result = await access.run(command, commandArgs, { timeoutMs: TIMEOUT_MS, ...(input ? { input } : {}) });
    if (result.exitCode === 0) {
      await makeFilesPrivate(args);
      return { ok: true, stdout: result.stdout };
    }
    const stderr = result.stderr.toString();
    if (/tcti/i.test(stderr)) {
      if (/Could not load tcti/.test(stderr)) return 'unreachable';
      throw refuse('TPM_UNREACHABLE', { host: hostId, problem: problemIn(stderr) });
    }
    const responseCode = responseCodeIn(stderr);
    if (responseCode !== null && isDisturbance(responseCode)) return 'disturbed';
    return { ok: false, responseCode, error: refuse('TPM_COMMAND_FAILED', { command: tool, host: hostId, problem: problemIn(stderr) }) };
  };

  const flushNow = async (kinds: readonly LoadedKind[]) => {
    for (const kind of kinds) await once('tpm2_flushcontext', [FLUSH_OPTION[kind]]);
  };

  /** A TPM that is gone by now is what the next command reports. */
  const cleanUp = async () => {
    const kinds = [...toFlush];
    toFlush.clear();
    await flushNow(kinds).catch(() => undefined);
  };

  const attempt = async (tool: string, args: readonly string[], input?: Buffer): Promise<ToolOutcome> => {
    const first = await once(tool, args, input);
    if (typeof first === 'object') return first;
    if (first === 'unreachable') await sleep(RECONNECT_PAUSE_MS);
    else await flushNow(['objects', 'sessions']);
    const second = await once(tool, args, input);
    if (typeof second === 'object') return second;
    if (second === 'unreachable') throw refuse('TPM_UNREACHABLE', { host: hostId, problem: `no connection to ${tcti}` });
    return { ok: false, responseCode: null, error: refuse('TPM_COMMAND_FAILED', { command: tool, host: hostId, problem: 'another program takes all slots of the TPM, or flushes ours' }) };
  };

  const run = async (tool: string, args: readonly string[], input?: Buffer): Promise<Buffer> => {
    const outcome = await attempt(tool, args, input);
    if (!outcome.ok) throw outcome.error;
    return outcome.stdout;
  };

  const flush: TpmTools['flush'] = async (...kinds) => (hasResourceManager ? undefined : flushNow(kinds));

  return {
    exclusive(work) {
      const turn = last.then(work);
      last = turn.then(cleanUp, cleanUp);
      return turn;
    },
    attempt,
    run,
    async withFolder(work) {
      const folder = join(stateDir, `${OPERATION_PREFIX}${randomUUID()}`);
      await access.ensureDirectory(folder);
      try {
        return await work(folder);
      } finally {
        await flush('objects').catch(() => undefined);
        await access.remove(folder).catch(() => undefined);
      }
    },
    flush,
    flushAfterwards(...kinds) {
      if (!hasResourceManager) for (const kind of kinds) toFlush.add(kind);
    },
  };
}

/** A tool cannot open /dev/stdout where that is a socket, as it is under Node and sshd: `cat` makes it a pipe. */
function commandOf(tool: string, args: readonly string[]): readonly string[] {
  if (!args.includes(STDOUT)) return [tool, ...args];
  return ['bash', '-o', 'pipefail', '-c', '"$0" "$@" | cat', tool, ...args];
}

/** No slot left (TPM_RC_OBJECT_MEMORY to _OBJECT_HANDLES), or a handle no longer loaded (TPM_RC_REFERENCE_H0 to _S6). */
function isDisturbance(responseCode: number): boolean {
  return (responseCode >= 0x902 && responseCode <= 0x906) || (responseCode >= 0x910 && responseCode <= 0x91e);
}

/** From lines such as `ERROR: Esys_Quote(0x921) - tpm:warn(2.0): …`. */
function responseCodeIn(stderr: string): number | null {
  const match = /^ERROR: \w+\(0x([0-9A-F]+)\) - tpm:/im.exec(stderr);
  return match?.[1] === undefined ? null : Number.parseInt(match[1], 16);
}

/** The one line that says most. */
function problemIn(stderr: string): string {
  const lines = stderr.split('\n').filter((line) => line.startsWith('ERROR'));
  const best = lines.find((line) => /\(0x[0-9A-F]+\) - /i.test(line)) ?? lines.find((line) => !line.includes('Unable to run')) ?? stderr.trim();
  return best.replace(/^ERROR:\s*/, '').slice(0, 500);
}
