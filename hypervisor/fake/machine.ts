/**
 * The fake machine of one host: VMs and vTPMs in the memory of a process that is not the worker's, reached over a unix
 * socket. What a worker that dies leaves behind goes on here, as QEMU and swtpm processes do.
 *
 * It decides nothing and keeps nothing: a machine that ends takes its VMs with it, as a power cut does.
 */
import { chmod, rm } from 'node:fs/promises';
import { type Socket, createServer } from 'node:net';
import { problemOf } from '../../domain/failures.js';
import type { VmId } from '../../domain/ids.js';
import type { Copy } from './copy.js';
import { type Answer, type Question, type QuestionName, type Reply, type StreamRequests, readLine } from './protocol.js';
import { type FakeVm, createVm } from './vm.js';
import { createVtpmServer } from './vtpm-server.js';

export interface FakeMachine {
  /** Ends the VM in that run directory as SIGKILL ends a QEMU: nobody is told. */
  crash(runDir: string): Promise<void>;
  /** Ends everything in it; no error the second time. */
  close(): Promise<void>;
  /** Resolves when it has been closed. */
  readonly closed: Promise<void>;
}

type Handlers = { readonly [N in QuestionName]: (question: Question<N>) => Answer<N> | Promise<Answer<N>> };

/** `path` must be free or stale; the socket's mode is 0600. */
export async function startFakeMachine(path: string): Promise<FakeMachine> {
  const vms = new Map<string, FakeVm>();
  /** Run directories in which a VM is being made. */
  const starting = new Set<string>();
  const copies = new Map<number, Copy>();
  const vtpms = createVtpmServer();
  const sockets = new Set<Socket>();
  let copyCount = 0;

  const find = (vmId: VmId, runDir: string): FakeVm | null => {
    const vm = vms.get(runDir);
    return vm?.vm.vmId === vmId ? vm : null;
  };
  const need = (vmId: VmId, runDir: string): FakeVm => {
    const vm = find(vmId, runDir);
    if (!vm) throw new Error(`no VM ${vmId} runs`);
    return vm;
  };
  const copy = (copyId: number): Copy => {
    const found = copies.get(copyId);
    if (!found) throw new Error('there is no such copy');
    return found;
  };

  const handlers: Handlers = {
    status: ({ vmId, runDir }) => find(vmId, runDir)?.status() ?? 'absent',
    async start({ vm, place, isIncoming }) {
      const { runDir } = place;
      if (vms.has(runDir) || starting.has(runDir)) throw new Error(`a VM runs in ${runDir} already`);
      starting.add(runDir);
      try {
        const made = await createVm({ vm, place, vtpms, onEnd: () => vms.get(runDir) === made && vms.delete(runDir) }, isIncoming);
        vms.set(runDir, made);
      } finally {
        starting.delete(runDir);
      }
      return null;
    },
    ensureRunning: async ({ vmId, runDir }) => nothing(need(vmId, runDir).ensureRunning()),
    hold: async ({ vmId, runDir }) => nothing(need(vmId, runDir).hold()),
    ensureNotMoving: async ({ vmId, runDir }) => nothing(find(vmId, runDir)?.ensureNotMoving()),
    async ensureDestroyed({ vmId, runDir }) {
      const vm = find(vmId, runDir);
      await vm?.end();
      if (vm) vms.delete(runDir);
      return null;
    },
    openCopy({ vmId, runDir, limits }) {
      copyCount += 1;
      copies.set(copyCount, need(vmId, runDir).openCopy(limits));
      return copyCount;
    },
    progress: ({ copyId }) => copy(copyId).progress(),
    setLimits({ copyId, limits }) {
      copy(copyId).setLimits(limits);
      return null;
    },
    paused: ({ copyId }) => copy(copyId).paused,
    release: async ({ copyId }) => nothing(copy(copyId).release()),
    outcome: ({ copyId }) => ({ isCancelled: copy(copyId).isCancelled }),
    async closeCopy({ copyId }) {
      const closed = copies.get(copyId);
      copies.delete(copyId);
      return nothing(closed?.isUnderWay ? undefined : closed?.cancel('the copy was closed'));
    },
    loaded: async ({ vmId, runDir }) => nothing(need(vmId, runDir).loaded),
    activate: ({ vmId, runDir }) => need(vmId, runDir).activate(),
    startVtpm({ controlSocketPath, stateDir, stateKey, migrationKey }) {
      vtpms.start(controlSocketPath, { stateDir, stateKey: Buffer.from(stateKey, 'base64'), migrationKey: Buffer.from(migrationKey, 'base64') });
      return null;
    },
    isVtpmRunning: ({ controlSocketPath }) => vtpms.isRunning(controlSocketPath),
    stopVtpm({ controlSocketPath }) {
      vtpms.stop(controlSocketPath);
      return null;
    },
    shutDown() {
      setImmediate(() => void close()); // after the answer
      return null;
    },
  };

  async function serve(socket: Socket): Promise<void> {
    const line = await readLine(socket);
    if (line === null) return;
    const { name, ...question } = JSON.parse(line) as { readonly name: QuestionName | keyof StreamRequests };
    if (name === 'stream') return copy((question as StreamRequests['stream']).copyId).stream(socket);
    if (name === 'load') {
      const { vmId, runDir } = question as StreamRequests['load'];
      return need(vmId, runDir).load(socket);
    }
    const answer = handlers[name] as (asked: object) => unknown;
    const reply: Reply<unknown> = await Promise.resolve().then(() => answer(question)).then((said) => ({ answer: said }), (error: unknown) => ({ problem: problemOf(error) }));
    socket.end(`${JSON.stringify(reply)}\n`);
  }

  const server = createServer({ allowHalfOpen: false }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
    serve(socket).catch(() => socket.destroy());
  });
  const closed = new Promise<void>((resolve) => server.once('close', resolve));
  await rm(path, { force: true });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
  await chmod(path, 0o600);

  async function close(): Promise<void> {
    if (server.listening) server.close();
    await Promise.all([...vms.values()].map((vm) => vm.end()));
    vms.clear();
    for (const socket of sockets) socket.destroySoon();
    await closed;
  }

  return {
    async crash(runDir) {
      const vm = vms.get(runDir);
      vms.delete(runDir);
      await vm?.end();
    },
    close,
    closed,
  };
}

async function nothing(work: Promise<unknown> | undefined): Promise<null> {
  await work;
  return null;
}
