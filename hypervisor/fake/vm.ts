/**
 * One VM inside a fake machine: what a QEMU process is to the real driver. Goes through the same states and refuses
 * the same things, in one process with all others of its host.
 *
 *   running ◄─► paused    running ─copy─► moving-out ─► moved-out    incoming ─load─► paused ─activate─► running
 *
 * A copy that fails, a load that fails, and a disk that is locked end as they do with QEMU: the source goes on, the
 * waiting copy ends itself, the VM does not run.
 */
import { access } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { problemOf } from '../../domain/failures.js';
import type { CopyLimits } from '../../domain/progress.js';
import { settleable } from '../../domain/settleable.js';
import type { VmDocument } from '../../domain/vm.js';
import type { VmPlace, VmStatus } from '../port.js';
import { type Copy, createCopy } from './copy.js';
import { createDisks } from './disk.js';
import { createGuest } from './guest.js';
import { encodeRecord, loadImage } from './image.js';
import { settingsOf } from './settings.js';
import type { VtpmConnection, VtpmServer } from './vtpm-server.js';

const SETTLE_TIMEOUT_MS = 30_000;

export interface FakeVm {
  readonly vm: VmDocument;
  status(): VmStatus;
  ensureRunning(): Promise<void>;
  /** Stops the guest where it runs. */
  hold(): Promise<void>;
  ensureNotMoving(): Promise<void>;
  /** Nothing is sent before the copy is given a socket. */
  openCopy(limits: CopyLimits): Copy;
  /** Takes the image from a socket; how that ended is told by `loaded`. */
  load(socket: Socket): Promise<void>;
  readonly loaded: Promise<void>;
  activate(): Promise<{ readonly runningAtMs: number }>;
  /** As the end of a process: its sockets break, its locks go. */
  end(): Promise<void>;
}

interface Parts {
  readonly vm: VmDocument;
  readonly place: VmPlace;
  readonly vtpms: VtpmServer;
  /** Called when the VM ends by itself. */
  readonly onEnd: () => void;
}

/** Boots it, or has it wait for an image; rejects with the reason, and then nothing of it is left. */
export async function createVm({ vm, place, vtpms, onEnd }: Parts, isIncoming: boolean): Promise<FakeVm> {
  for (const path of [vm.boot.kernel, vm.boot.initrd]) {
    await access(path).catch(() => {
      throw new Error(`could not load '${path}': No such file or directory`);
    });
  }
  const vtpm = await connect();
  const disks = createDisks(vm.disks);
  if (!isIncoming) await disks.lock();
  const guest = await createGuest({ settings: settingsOf(vm), disks, consolePath: `${place.runDir}/console.log`, vtpm }).catch(async (error: unknown) => {
    await disks.unlock();
    throw error;
  });
  const loaded = settleable<void>();
  let isLoaded = !isIncoming;
  let hasEnded = false;
  let copy: Copy | null = null;
  let source: Socket | null = null;
  if (!isIncoming) guest.run();

  async function connect(): Promise<VtpmConnection | null> {
    if (!vm.vtpm || place.vtpmControlSocketPath === null) return null;
    return isIncoming ? vtpms.await(place.vtpmControlSocketPath) : vtpms.boot(place.vtpmControlSocketPath);
  }

  function status(): VmStatus {
    if (!isLoaded) return 'incoming';
    if (copy?.isUnderWay) return 'moving-out';
    if (guest.isRunning) return 'running';
    return copy?.isCompleted ? 'moved-out' : 'paused';
  }

  async function run(): Promise<void> {
    await disks.lock();
    if (hasEnded) throw new Error('the VM has ended');
    guest.run();
  }

  async function end(): Promise<void> {
    if (hasEnded) return;
    hasEnded = true;
    source?.destroy();
    loaded.reject(new Error('the VM ended'));
    await copy?.cancel('the VM ended');
    await guest.close();
    await disks.unlock();
    // A hypervisor that ends in order ends its swtpm too; a second end finds none.
    if (place.vtpmControlSocketPath !== null) vtpms.stop(place.vtpmControlSocketPath);
  }

  return {
    vm,
    status,
    async ensureRunning() {
      if (copy?.isUnderWay) await within(SETTLE_TIMEOUT_MS, copy.settled, 'the copy does not end');
      const now = status();
      if (now === 'running') return;
      if (now !== 'paused' && now !== 'moved-out') throw new Error(`a VM that is ${now} is not resumed`);
      await run();
      copy = null;
    },
    hold: () => guest.halt(),
    async ensureNotMoving() {
      if (copy?.isUnderWay) await copy.cancel('the copy was cancelled');
    },
    openCopy(limits) {
      if (!isLoaded) throw new Error('a VM that is incoming is not copied');
      if (copy?.isUnderWay) throw new Error('a copy of it is under way');
      const wasRunning = guest.isRunning;
      copy = createCopy({
        memory: guest.memory,
        header: encodeRecord.header({ vmId: vm.vmId, pages: guest.memory.pages }),
        halt: () => guest.halt(),
        goOn: async () => {
          if (wasRunning && !hasEnded) await run();
        },
        tail: () => [...(vtpm ? [encodeRecord.vtpm(vtpm.departing())] : []), encodeRecord.guest(guest.state())],
        letGo: () => disks.unlock(),
      }, limits);
      return copy;
    },
    loaded: loaded.promise,
    async load(socket) {
      if (isLoaded || source) return void socket.destroy();
      source = socket;
      try {
        const target = { vmId: vm.vmId, pages: guest.memory.pages, hasVtpm: vtpm !== null, loadPage: guest.memory.load };
        const image = await loadImage(socket.iterator({ destroyOnReturn: false }), target);
        socket.resume();
        if (image.vtpm) await vtpm?.arriving(image.vtpm);
        guest.restore(image.guest);
        isLoaded = true;
        loaded.resolve();
      } catch (error) {
        loaded.reject(new Error(`load of migration failed: ${problemOf(error)}`));
        onEnd();
        await end();
      }
    },
    async activate() {
      if (!isLoaded) throw new Error('the image is not loaded');
      await run();
      return { runningAtMs: performance.timeOrigin + performance.now() };
    },
    end,
  };
}

async function within(limitMs: number, work: Promise<void>, problem: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(problem)), limitMs);
  });
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
}
