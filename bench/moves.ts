/**
 * The same guest moved by QEMU alone (a) and by Kororā (b), turn by turn, so that whatever the
 * machine does meanwhile hits both. The guest whose turn it is not stands still.
 *
 * Kororā's clocks: total = the workflow's start to its end by Temporal's history; downtime = STOP of
 * the source's QEMU to RESUME of the destination's, from the evidence file, as for (a).
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openSigned } from '../domain/authority.js';
import { Evidence } from '../domain/evidence.js';
import { VmId } from '../domain/ids.js';
import { createLocalHost } from '../host/local.js';
import { runFiles } from '../hypervisor/qemu/command-line.js';
import { createQemu } from '../hypervisor/qemu/driver.js';
import { openGuestConsole } from '../infra/testbed/guest-console.js';
import type { Testbed } from '../infra/testbed/testbed.js';
import { createSwtpmManager } from '../tpm/swtpm.js';
import { type CpuTimes, cpuBetween, cpuTimesOf } from './cpu.js';
import { type MoveHistory, readHistory } from './history.js';
import { type PlainMove, openQmpAt, startPlainGuest } from './plain-qemu.js';

export interface Cell {
  readonly memoryMib: number;
  readonly dirtyMibPerSecond: number;
}

export interface KororaMove {
  readonly totalMs: number;
  readonly downtimeMs: number;
  /** Workflow start to RESUME. */
  readonly untilRunningMs: number;
  /** The client's own work before the workflow starts: it asks all hosts which one has the VM. */
  readonly orderingMs: number;
  readonly evidence: Evidence;
  readonly history: MoveHistory;
  readonly cpu: Readonly<Record<CpuPlace, CpuTimes>>;
}

export type CpuPlace = 'source worker' | 'destination worker' | 'control worker' | 'Temporal server';

export interface CellResult {
  readonly cell: Cell;
  readonly plain: readonly PlainMove[];
  readonly korora: readonly KororaMove[];
}

export const CELLS: readonly Cell[] = [256, 1024].flatMap((memoryMib) => [0, 20].map((dirtyMibPerSecond) => ({ memoryMib, dirtyMibPerSecond })));

export const nameOf = ({ memoryMib, dirtyMibPerSecond }: Cell): string =>
  `${memoryMib < 1024 ? `${memoryMib} MiB` : `${memoryMib / 1024} GiB`}, ${dirtyMibPerSecond === 0 ? 'idle' : `dirties ${dirtyMibPerSecond} MiB/s`}`;

/** How long a guest runs undisturbed before its turn. */
const SETTLE_MS = 1_000;
/** Uncounted, there and back: caches of a worker that runs for days are warm. */
const WARM_UP_MOVES = 2;

export async function measureCell(testbed: Testbed, cell: Cell, runs: number, say: (text: string) => void): Promise<CellResult> {
  const name = `m${cell.memoryMib}-d${cell.dirtyMibPerSecond}`;
  say(`${nameOf(cell)}: starting two guests`);
  const plainVm = await testbed.guest(`plain-${name}`, cell);
  const plain = await startPlainGuest(await made(join(testbed.root, `plain-${name}`)), plainVm);
  try {
    const guest = await startKororaGuest(testbed, name, cell);
    try {
      await Promise.all([untilReady(plain.consolePath), untilReady(guest.consolePath)]);
      await Promise.all([plain.pause(), guest.pause()]);
      const [plainMoves, kororaMoves]: [PlainMove[], KororaMove[]] = [[], []];
      for (let run = -WARM_UP_MOVES; run < runs; run++) {
        const ofPlain = await inTurn(plain);
        const ofKorora = await inTurn(guest);
        say(`${nameOf(cell)}: ${run < 0 ? 'warm-up' : `run ${run + 1} of ${runs}`}: QEMU alone ${line(ofPlain)}; Kororā ${line(ofKorora)}`);
        if (run < 0) continue;
        plainMoves.push(ofPlain);
        kororaMoves.push(ofKorora);
      }
      return { cell, plain: plainMoves, korora: kororaMoves };
    } finally {
      await guest.stop();
    }
  } finally {
    await plain.stop();
  }
}

interface Turns<T> {
  move(): Promise<T>;
  pause(): Promise<void>;
  resume(): Promise<void>;
}

async function inTurn<T>(guest: Turns<T>): Promise<T> {
  await guest.resume();
  await delay(SETTLE_MS);
  const move = await guest.move();
  await guest.pause();
  return move;
}

async function startKororaGuest(testbed: Testbed, vmId: string, cell: Cell): Promise<Turns<KororaMove> & { readonly consolePath: string; stop(): Promise<void> }> {
  let at: 'host-a' | 'host-b' = 'host-a';
  const folderOf = (host: typeof at) => join(testbed.hosts[host].config.runDir, vmId);
  await testbed.client.startVm(await testbed.guest(vmId, cell), at);
  const tell = async (command: 'stop' | 'cont') => {
    const qmp = await openQmpAt(runFiles(folderOf(at)).controlSocket);
    await qmp.execute(command);
    qmp.close();
  };
  return {
    consolePath: runFiles(folderOf(at)).console,
    async move() {
      const destination = at === 'host-a' ? 'host-b' : 'host-a';
      const move = await moveOnce(testbed, vmId, destination);
      at = destination;
      return move;
    },
    pause: () => tell('stop'),
    resume: () => tell('cont'),
    async stop() {
      for (const { config } of Object.values(testbed.hosts)) {
        const access = createLocalHost(config.hostId);
        const runDir = join(config.runDir, vmId);
        await createQemu({ access, hostId: config.hostId }).ensureDestroyed(VmId.parse(vmId), runDir);
        await createSwtpmManager({ access, hostId: config.hostId, caDir: `${config.stateDir}/vtpm-ca` }).ensureStopped(runDir);
      }
    },
  };
}

async function moveOnce(testbed: Testbed, vmId: string, destination: 'host-a' | 'host-b'): Promise<KororaMove> {
  const { client, temporal } = testbed;
  const before = await cpuNow(testbed, destination);
  const orderedAtMs = performance.now();
  const started = await client.migrate({ vmId, destination });
  const orderingMs = performance.now() - orderedAtMs;
  const { evidencePath } = await client.result(vmId, started.runId);
  const after = await cpuNow(testbed, destination);
  const evidence = Evidence.parse(JSON.parse(await readFile(evidencePath, 'utf8')));
  const history = readHistory(await temporal.workflow.getHandle(started.workflowId, started.runId).fetchHistory(), openSigned('korora/order', evidence.order).document);
  const { source, destination: arrived } = evidence.timings;
  if (!source || !arrived) throw new Error(`the move of ${vmId} has no timings`);
  return {
    totalMs: history.completedAtMs - history.startedAtMs,
    downtimeMs: arrived.runningAtMs - source.pausedAtMs,
    untilRunningMs: arrived.runningAtMs - history.startedAtMs,
    orderingMs,
    evidence,
    history,
    cpu: mapValues(after, (times, place) => cpuBetween(before[place], times)),
  };
}

async function cpuNow({ hosts, control, server }: Testbed, destination: 'host-a' | 'host-b'): Promise<Record<CpuPlace, CpuTimes>> {
  const source = destination === 'host-a' ? 'host-b' : 'host-a';
  return {
    'source worker': await cpuTimesOf(hosts[source].worker.pid),
    'destination worker': await cpuTimesOf(hosts[destination].worker.pid),
    'control worker': await cpuTimesOf(control.pid),
    'Temporal server': await cpuTimesOf(server.pid),
  };
}

function mapValues<K extends string, V, W>(record: Record<K, V>, map: (value: V, key: K) => W): Record<K, W> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value as V, key as K)])) as Record<K, W>;
}

async function untilReady(consolePath: string): Promise<void> {
  const console = await openGuestConsole(consolePath);
  await console.until((c) => c.unseals().length > 0 && c.counts().length > 20, 'counting and its first unsealing');
  await console.close();
}

async function made(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  return folder;
}

function line({ totalMs, downtimeMs }: { readonly totalMs: number; readonly downtimeMs: number }): string {
  return `${totalMs.toFixed(0)} ms, of it stopped ${downtimeMs.toFixed(1)} ms`;
}
