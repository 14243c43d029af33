/**
 * A guest that QEMU moves without Kororā, to compare with: two QEMU processes with an swtpm each,
 * QMP, the stream straight from one to the other over a unix socket. Same command line, same disk
 * options, same limits as a Kororā move; no attestation, no encryption of the stream, no check of
 * what arrived, no ownership.
 *
 *   start swtpm, QEMU -S -incoming ─► capabilities, limits ─► migrate ─► destination completed ─► cont
 *   └── destination start ─────────┘  └── migrate only ────────────────────────────── RESUME ──┘
 */
import { mkdir, open, rm } from 'node:fs/promises';
import { constants } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { HostId, type VmId } from '../domain/ids.js';
import { type CopyLimits, DEFAULT_LIMITS, plannedPauseMs } from '../domain/progress.js';
import type { VmDocument } from '../domain/vm.js';
import { createLocalHost } from '../host/local.js';
import { commandLine, runFiles } from '../hypervisor/qemu/command-line.js';
import { createQemu } from '../hypervisor/qemu/driver.js';
import { queryMigration, setLimits } from '../hypervisor/qemu/qapi.js';
import { type Qmp, type QmpEvent, openQmp } from '../hypervisor/qemu/qmp.js';
import { ensureSwtpmStopped, manufactureSwtpm } from '../tpm/swtpm-process.js';

export interface PlainMove {
  /** STOP of the source's QEMU to RESUME of the destination's, by QEMU's own clock readings. */
  readonly downtimeMs: number;
  /** From before the destination's swtpm is started until RESUME. */
  readonly totalMs: number;
  /** From the first command of the copy until RESUME. */
  readonly migrateMs: number;
  readonly sentBytes: number;
}

export interface PlainMoveOptions {
  /** Default: Kororā's own, as they stand in the first memory round. */
  readonly limits?: CopyLimits;
  /** Runs when all is loaded and neither side executes; `folder` is a place for files. */
  readonly whileBothStand?: (source: Qmp, destination: Qmp, folder: string) => Promise<void>;
}

export interface PlainGuest {
  readonly consolePath: string;
  /** To a fresh pair of processes; the old pair is ended afterwards, outside the measurement. */
  move(options?: PlainMoveOptions): Promise<PlainMove>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  stop(): Promise<void>;
}

/** One QEMU with its swtpm. */
interface Side {
  readonly folder: string;
  readonly qmp: Qmp;
}

const COPY_TIMEOUT_MS = 60_000;
const FIRST_ROUND_LIMITS: CopyLimits = { ...DEFAULT_LIMITS, downtimeLimitMs: plannedPauseMs(1, DEFAULT_LIMITS) };
const PLAIN = HostId.parse('plain');
const ACCESS = createLocalHost(PLAIN);
const HYPERVISOR = createQemu({ access: ACCESS, hostId: PLAIN });
/** Folder → VM of every side that may have processes, for the end after a signal. */
const sides = new Map<string, VmId>();

export async function endPlainGuests(): Promise<void> {
  for (const [folder, vmId] of sides) await endProcesses(folder, vmId);
}

export async function startPlainGuest(root: string, vm: VmDocument): Promise<PlainGuest> {
  const launchOptions = { hostId: PLAIN, accelerator: (await HYPERVISOR.facts()).accelerator === 'kvm' ? 'kvm' : 'tcg', directDiskIds: await disksThatTakeDirectIo(vm) } as const;
  let moves = 0;
  let side = await startSide(join(root, '0'), false);

  async function startSide(folder: string, isIncoming: boolean): Promise<Side> {
    const [runDir, tpmDir] = [join(folder, 'run'), join(folder, 'tpm')];
    sides.set(folder, vm.vmId);
    await mkdir(runDir, { recursive: true });
    await mkdir(tpmDir, { recursive: true });
    if (!isIncoming) {
      await manufactureSwtpm({ access: ACCESS, hostId: 'plain', caDir: join(root, 'ca') }, { stateDir: tpmDir, certificateDir: join(folder, 'ek'), name: vm.vmId });
    }
    const socket = join(runDir, 'tpm.sock');
    await run('swtpm', ['socket', '--tpm2', '--tpmstate', `dir=${tpmDir}`, '--ctrl', `type=unixio,path=${socket}`, '--pid', `file=${join(runDir, 'swtpm.pid')}`, '--daemon']);
    await run('qemu-system-x86_64', commandLine(vm, { runDir, vtpmControlSocketPath: socket }, { ...launchOptions, isIncoming }));
    return { folder, qmp: await openQmpAt(runFiles(runDir).copySocket) };
  }

  async function endSide({ folder, qmp }: Side): Promise<void> {
    qmp.close();
    await endProcesses(folder, vm.vmId);
    await rm(folder, { recursive: true, force: true });
  }

  return {
    consolePath: runFiles(join(root, '0', 'run')).console,
    async move({ limits = FIRST_ROUND_LIMITS, whileBothStand } = {}) {
      const startedAtMs = Date.now();
      const destination = await startSide(join(root, String(++moves)), true);
      const source = side;
      try {
        const readyAtMs = Date.now();
        const { stoppedAtMs, runningAtMs } = await copy(source.qmp, destination.qmp, join(destination.folder, 'run', 'stream.sock'), limits, () => whileBothStand?.(source.qmp, destination.qmp, destination.folder));
        const sentBytes = (await queryMigration(source.qmp)).ram?.transferred ?? 0;
        side = destination;
        return { downtimeMs: runningAtMs - stoppedAtMs, totalMs: runningAtMs - startedAtMs, migrateMs: runningAtMs - readyAtMs, sentBytes };
      } finally {
        await endSide(side === destination ? source : destination);
      }
    },
    pause: async () => void (await side.qmp.execute('stop')),
    resume: async () => void (await side.qmp.execute('cont')),
    stop: () => endSide(side),
  };
}

async function endProcesses(folder: string, vmId: VmId): Promise<void> {
  await HYPERVISOR.ensureDestroyed(vmId, join(folder, 'run'));
  await ensureSwtpmStopped({ access: ACCESS, hostId: 'plain' }, join(folder, 'run/swtpm.pid'));
  sides.delete(folder);
}

/** A connection to a monitor of a QEMU. */
export function openQmpAt(path: string): Promise<Qmp> {
  return openQmp(connect({ path }), 5_000);
}

async function copy(
  source: Qmp,
  destination: Qmp,
  socket: string,
  limits: CopyLimits,
  whileBothStand: () => Promise<void> | undefined,
): Promise<{ readonly stoppedAtMs: number; readonly runningAtMs: number }> {
  const stopped = eventOf(source, (event) => event.name === 'STOP');
  const loaded = eventOf(destination, ({ name, data }) => name === 'MIGRATION' && (data.status === 'completed' || data.status === 'failed'));
  const running = eventOf(destination, (event) => event.name === 'RESUME');
  for (const qmp of [source, destination]) {
    await qmp.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
  }
  await setLimits(source, limits);
  await destination.execute('migrate-incoming', { uri: `unix:${socket}` });
  await source.execute('migrate', { uri: `unix:${socket}` });
  const { data } = await loaded;
  if (data.status !== 'completed') throw new Error(`plain QEMU did not move the guest: ${String(data.status)}`);
  await whileBothStand();
  await destination.execute('cont');
  return { stoppedAtMs: (await stopped).atMs, runningAtMs: (await running).atMs };
}

async function eventOf(qmp: Qmp, fits: (event: QmpEvent) => boolean): Promise<QmpEvent> {
  const event = await qmp.nextEvent(fits, COPY_TIMEOUT_MS);
  if (!event) throw new Error(`plain QEMU did not move the guest within ${COPY_TIMEOUT_MS / 1000} s`);
  return event;
}

async function run(command: string, args: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await ACCESS.run(command, args, { timeoutMs: 60_000 });
  if (exitCode !== 0) throw new Error(`${command} ended with ${exitCode}: ${stderr.toString().trim()}`);
}

/** As the driver finds out, so that both sorts of move treat disks alike. */
async function disksThatTakeDirectIo(vm: VmDocument): Promise<ReadonlySet<string>> {
  const tried = await Promise.all(
    vm.disks.map(async ({ id, path }) => {
      try {
        const file = await open(path, constants.O_RDONLY | constants.O_DIRECT);
        await file.close();
        return [id];
      } catch {
        return [];
      }
    }),
  );
  return new Set(tried.flat());
}

