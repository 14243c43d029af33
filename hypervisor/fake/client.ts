/**
 * The worker's end of a fake machine: asks one question a connection, opens streams, and starts the machine where
 * something is to be started and none is there. Keeps nothing between two questions, so a new worker needs nothing.
 */
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { KororaError, problemOf, refuse } from '../../domain/failures.js';
import type { HostId } from '../../domain/ids.js';
import type { HostAccess } from '../../host/port.js';
import { type Answer, type Question, type QuestionName, type Reply, type StreamRequests, machineSocketIn, readLine } from './protocol.js';

/** What the machine says against a question. */
export class MachineProblem extends Error {
  override readonly name = 'MachineProblem';
}

export interface MachineClient {
  /** Rejects MachineProblem: it says no, does not answer, or is not there. */
  ask<N extends QuestionName>(name: N, question: Question<N>, options?: { readonly timeoutMs?: number | null }): Promise<Answer<N>>;
  openStream<N extends keyof StreamRequests>(name: N, request: StreamRequests[N]): Promise<Duplex>;
  /** False where no machine listens; then none of its VMs is there either. */
  isThere(): Promise<boolean>;
  ensureThere(): Promise<void>;
  /** Runs an action; what the machine says against it becomes HYPERVISOR_COMMAND_FAILED. */
  saying<T>(operation: string, action: () => Promise<T>): Promise<T>;
}

const ANSWER_TIMEOUT_MS = 60_000;
const START_TIMEOUT_MS = 30_000;

export function createMachineClient({ access, hostId, runDir }: { readonly access: HostAccess; readonly hostId: HostId; readonly runDir: string }): MachineClient {
  const path = machineSocketIn(runDir);
  let starting: Promise<void> | null = null;

  async function open(name: string, request: object): Promise<Duplex> {
    const socket = await access.connectUnixSocket(path).catch((cause: unknown) => {
      throw new MachineProblem('no fake machine runs', { cause });
    });
    socket.on('error', () => undefined); // its close follows
    socket.write(`${JSON.stringify({ name, ...request })}\n`);
    return socket;
  }

  async function ask<N extends QuestionName>(name: N, question: Question<N>, { timeoutMs = ANSWER_TIMEOUT_MS }: { readonly timeoutMs?: number | null } = {}): Promise<Answer<N>> {
    const socket = await open(name, question);
    const timer = timeoutMs === null ? undefined : setTimeout(() => socket.destroy(), timeoutMs);
    try {
      const line = await readLine(socket);
      if (line === null) throw new MachineProblem('the fake machine does not answer');
      const reply = JSON.parse(line) as Reply<Answer<N>>;
      if ('problem' in reply) throw new MachineProblem(reply.problem);
      return reply.answer;
    } finally {
      clearTimeout(timer);
      socket.destroy();
    }
  }

  async function isThere(): Promise<boolean> {
    if ((await access.stat(path)) === null) return false;
    const socket = await access.connectUnixSocket(path).catch(() => null);
    socket?.destroy();
    return socket !== null;
  }

  async function start(): Promise<void> {
    if (await isThere()) return;
    await access.ensureDirectory(runDir);
    const program = fileURLToPath(new URL('machine-process.js', import.meta.url));
    const { exitCode, stderr } = await access.run(process.execPath, [program, path], { timeoutMs: START_TIMEOUT_MS });
    if (exitCode !== 0) throw new MachineProblem(`the fake machine does not start: ${stderr.toString().trim()}`);
  }

  return {
    ask,
    openStream: open,
    isThere,
    ensureThere() {
      return (starting ??= start().finally(() => (starting = null)));
    },
    async saying(operation, action) {
      try {
        return await action();
      } catch (error) {
        if (error instanceof KororaError && error.code === 'HYPERVISOR_COMMAND_FAILED') throw error;
        throw refuse('HYPERVISOR_COMMAND_FAILED', { command: `fake ${operation}`, host: hostId, problem: problemOf(error) }, error);
      }
    },
  };
}
