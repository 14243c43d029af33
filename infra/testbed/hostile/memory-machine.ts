/**
 * The VMs and vTPMs of a host in memory, behind the ports of hypervisor and vTPM. A guest is a secret in its vTPM and whether it runs;
 * nothing in here waits for a clock. A copy goes as with QEMU: rounds, the pause, the tail; one that breaks lets the guest go on.
 *
 *   running ─openOutgoing─► moving-out ─read─► paused ─release─► moved-out      incoming ─image─► paused ─activate─► running
 */
import { createHash } from 'node:crypto';
import { Readable, Writable } from 'node:stream';
import { problemOf, refuse } from '../../../domain/failures.js';
import type { HostId } from '../../../domain/ids.js';
import { type Settleable, settleable } from '../../../domain/settleable.js';
import type { VmDocument } from '../../../domain/vm.js';
import type { Hypervisor, HypervisorFacts, IncomingImage, OutgoingImage, PauseFacts, VmStatus } from '../../../hypervisor/port.js';
import type { VtpmManager } from '../../../tpm/port.js';
import type { Disk } from './memory-files.js';
import type { Life, Turns } from './turns.js';

const FACTS: HypervisorFacts = { kind: 'fake', version: '1.0.0', accelerator: 'none', machineTypes: ['pc-q35-7.2'], cpuModels: ['max'] };
/** Begins every image: whoever reads it has guest memory. */
export const IMAGE_BEGINS = 'guest memory of ';

/** What is in a vTPM: who it is, and what only it knows. */
interface VtpmContent {
  readonly identity: string;
  readonly secret: string;
}

interface Vtpm {
  readonly stateDir: string;
  readonly stateKey: string;
  readonly migrationKey: string;
  content: VtpmContent | null;
}

interface Guest {
  readonly vm: VmDocument;
  readonly runDir: string;
  status: Exclude<VmStatus, 'absent' | 'failed'>;
  /** Its vCPUs run, also while it is copied. */
  isRunning: boolean;
  copy: Copy | null;
  load: Settleable<void> | null;
}

interface Copy {
  readonly life: Life;
  readonly paused: Settleable<PauseFacts>;
  isReleased: boolean;
  isOver: boolean;
  isCancelled: boolean;
  /** Ends it: the guest goes on, if it ran. */
  fail(problem: string): void;
}

export interface MachineWatcher {
  /** A vCPU of the VM is let run, by a command. */
  ran(vmId: string): void;
}

export interface MachineParts {
  readonly turns: Turns;
  readonly life: Life;
  readonly watcher: MachineWatcher;
  /** The host's power: what goes on by itself goes on with it, whoever drives it. */
  readonly power: Life;
}

/** The machine of one host; it outlives workers. */
export class Machine {
  readonly guests = new Map<string, Guest>();
  readonly vtpms = new Map<string, Vtpm>();

  constructor(
    readonly hostId: HostId,
    readonly disk: Disk,
  ) {}

  runs(vmId: string): boolean {
    for (const guest of this.guests.values()) if (guest.isRunning && guest.vm.vmId === vmId) return true;
    return false;
  }

  secretOf(vmId: string): string | null {
    const guest = [...this.guests.values()].find(({ vm }) => vm.vmId === vmId);
    return (guest && this.vtpms.get(guest.runDir)?.content?.secret) ?? null;
  }

  copyTo(disk: Disk): Machine {
    const copy = new Machine(this.hostId, disk);
    for (const [runDir, guest] of this.guests) copy.guests.set(runDir, { ...guest, copy: null, load: null });
    for (const [runDir, vtpm] of this.vtpms) copy.vtpms.set(runDir, { ...vtpm });
    return copy;
  }

  /** The worker that drove it is gone: its sockets break. */
  forgetWorker(): void {
    for (const guest of this.guests.values()) {
      guest.copy?.fail('the worker is gone');
      if (guest.status === 'incoming') this.#destroy(guest.runDir);
    }
  }

  turnOff(): void {
    for (const runDir of [...this.guests.keys()]) this.#destroy(runDir);
  }

  #destroy(runDir: string): void {
    const guest = this.guests.get(runDir);
    if (!guest) return;
    guest.isRunning = false;
    guest.copy?.fail('the VM ended');
    guest.load?.reject(new Error('the VM ended'));
    this.guests.delete(runDir);
    this.vtpms.delete(runDir);
  }

  hypervisor({ turns, life, watcher, power }: MachineParts): Hypervisor {
    const { hostId, guests, vtpms, disk } = this;
    const inTurn = async <T>(command: string, act: () => T): Promise<T> => {
      await turns.take(`hypervisor of ${hostId}: ${command}`, life);
      try {
        return act();
      } catch (error) {
        throw refuse('HYPERVISOR_COMMAND_FAILED', { command, host: hostId, problem: problemOf(error) }, error);
      } finally {
        await turns.take(`hypervisor of ${hostId}: ${command}, done`, life);
      }
    };
    const run = (guest: Guest) => {
      if (guest.isRunning) return;
      [guest.isRunning, guest.status, guest.copy] = [true, 'running', null];
      watcher.ran(guest.vm.vmId);
    };
    const add = (vm: VmDocument, runDir: string, status: 'running' | 'incoming', load: Settleable<void> | null): Guest => {
      if (guests.has(runDir)) throw new Error('there is such a VM');
      const guest: Guest = { vm, runDir, status, isRunning: false, copy: null, load };
      guests.set(runDir, guest);
      disk.addFolder(runDir);
      disk.files.set(`${runDir}/console.log`, Buffer.from(status));
      return guest;
    };

    return {
      facts: async () => FACTS,
      strangers: async () => [],
      status: (_, runDir) => inTurn('status', () => guests.get(runDir)?.status ?? 'absent'),
      start: (vm, { runDir }) =>
        inTurn('start', () => {
          if (vm.vtpm && !vtpms.get(runDir)?.content) throw new Error('its vTPM does not run');
          run(add(vm, runDir, 'running', null));
        }),
      ensureRunning: (_, runDir) =>
        inTurn('cont', () => {
          const guest = known(runDir);
          if (guest.isRunning) return;
          if (guest.status !== 'paused' && guest.status !== 'moved-out') throw new Error(`a VM that is ${guest.status} is not resumed`);
          run(guest);
        }),
      ensurePaused: (_, runDir) => inTurn('stop', () => hold(runDir)),
      ensureNotMoving: (_, runDir) =>
        inTurn('cancel', () => {
          const copy = guests.get(runDir)?.copy;
          if (copy && !copy.isOver) [copy.isCancelled] = [true, copy.fail('the copy was cancelled')];
        }),
      ensureDestroyed: (_, runDir) =>
        inTurn('quit', () => {
          this.#destroy(runDir);
          disk.remove(`${runDir}/console.log`);
        }),
      openOutgoing: (_, runDir, __, { isHeld = false } = {}) => inTurn('open a copy', () => openOutgoing(known(runDir), isHeld)),
      openIncoming: (vm, { runDir }) =>
        inTurn('wait for an image', () => {
          const loaded = settleable<void>();
          return openIncoming(add(vm, runDir, 'incoming', loaded), loaded);
        }),
    };

    function known(runDir: string): Guest {
      const guest = guests.get(runDir);
      if (!guest) throw new Error('there is no such VM');
      return guest;
    }

    function hold(runDir: string): void {
      const guest = guests.get(runDir);
      if (!guest?.isRunning) return;
      guest.isRunning = false;
      if (guest.status === 'running') guest.status = 'paused';
    }

    function openOutgoing(guest: Guest, isHeldAtFirst: boolean): OutgoingImage {
      if (guest.copy && !guest.copy.isOver) throw new Error('a copy of it is under way');
      const wasRunning = guest.isRunning;
      const paused = settleable<PauseFacts>();
      const ended = settleable<void>();
      let isHeld = isHeldAtFirst;
      let isStarted = false;
      let letGo = settleable<void>();
      const copy: Copy = {
        life: { isOver: false }, paused, isReleased: false, isOver: false, isCancelled: false,
        fail(problem) {
          if (copy.isOver) return;
          [copy.isOver, copy.life.isOver] = [true, true];
          const error = refuse('COPY_FAILED', { problem });
          paused.reject(error);
          ended.reject(error);
          image.destroy(error);
          if (guests.get(guest.runDir) !== guest) return;
          // As QEMU does: what ran before the copy goes on.
          [guest.status, guest.isRunning] = wasRunning ? ['running', true] : ['paused', false];
        },
      };
      const image = new Readable({
        read: () => void (isStarted || ((isStarted = true), void rounds())),
        destroy(error, done) {
          copy.fail('the reader of the image is gone');
          done(error);
        },
      });
      image.on('error', () => undefined);
      guest.copy = copy;

      async function rounds(): Promise<void> {
        await turns.take(`memory of ${guest.vm.vmId} on ${hostId} is copied`, copy.life);
        guest.status = 'moving-out';
        image.push(`${IMAGE_BEGINS}${guest.vm.vmId}\n`);
        while (isHeld) await letGo.promise;
        await turns.take(`${guest.vm.vmId} on ${hostId} pauses for its copy`, copy.life);
        guest.isRunning = false;
        paused.resolve({ stoppedAtMs: Date.now() });
      }

      return {
        image,
        paused: paused.promise,
        progress: async () => ({ round: 1, sentBytes: 1, remainingBytes: 1, totalBytes: 2, dirtyBytesPerSecond: null, elapsedMs: 0, throttlePercent: null }),
        setLimits: () => inTurn('set limits', () => undefined),
        setHeld: (next) =>
          inTurn(next ? 'hold' : 'let go on', () => {
            [isHeld] = [next, letGo.resolve()];
            letGo = settleable<void>();
            return { isHeld, isCertain: isHeld && !isStarted };
          }),
        setThrottle: async () => undefined,
        async release() {
          await paused.promise;
          if (copy.isReleased) return ended.promise;
          copy.isReleased = true;
          try {
            await turns.take(`the tail of ${guest.vm.vmId} leaves ${hostId}`, power);
            if (copy.isOver) await ended.promise;
            const vtpm = vtpms.get(guest.runDir);
            image.push(JSON.stringify({ vmId: guest.vm.vmId, key: vtpm && lockOf(vtpm.migrationKey), vtpm: vtpm?.content ?? null }));
            await turns.take(`the tail of ${guest.vm.vmId} has left ${hostId}`, power);
            if (copy.isOver) await ended.promise;
            [copy.isOver, guest.status] = [true, 'moved-out'];
            ended.resolve();
            image.push(null);
          } catch (error) {
            if (!copy.isCancelled) hold(guest.runDir);
            throw error;
          }
        },
        async close() {
          await turns.take(`hypervisor of ${hostId}: close the copy`, life);
          copy.fail('the copy was closed here');
        },
      };
    }

    function openIncoming(guest: Guest, loaded: Settleable<void>): IncomingImage {
      const pieces: Buffer[] = [];
      const refusal = (problem: string, cause?: unknown) => refuse('IMAGE_NOT_LOADED', { host: hostId, problem }, cause);
      const outcome = loaded.promise.catch((error: unknown) => {
        throw refusal(problemOf(error), error);
      });
      outcome.catch(() => undefined);
      const sink = new Writable({
        write(piece: Buffer, _encoding, done) {
          pieces.push(piece);
          done();
        },
        final(done) {
          void turns.take(`${guest.vm.vmId} is loaded on ${hostId}`, power).then(() => load()).then(loaded.resolve, (error: Error) => void loaded.reject(error));
          done();
        },
      });
      sink.on('error', () => undefined);

      function load(): void {
        if (guests.get(guest.runDir) !== guest) throw new Error('the VM ended');
        const [, tail = ''] = Buffer.concat(pieces).toString().split('\n');
        const { vmId, key, vtpm: content } = JSON.parse(tail) as { vmId: string; key: string; vtpm: VtpmContent };
        const vtpm = vtpms.get(guest.runDir);
        if (vmId !== guest.vm.vmId || !vtpm || key !== lockOf(vtpm.migrationKey)) throw new Error('the image does not fit');
        vtpm.content = content;
        writeVtpm(disk, vtpm.stateDir, vtpm.stateKey, content);
        guest.status = 'paused';
      }

      return {
        sink,
        loaded: () => outcome,
        activate: () =>
          inTurn('run what was loaded', () => {
            if (guest.status !== 'paused' || guests.get(guest.runDir) !== guest) throw new Error('nothing is loaded');
            run(guest);
            return { runningAtMs: Date.now() };
          }),
        async close() {
          await turns.take(`hypervisor of ${hostId}: close what waits`, life);
          sink.destroy();
          if (guest.status !== 'incoming' || guests.get(guest.runDir) !== guest) return;
          // A hypervisor that waits for an image ends with its socket.
          guest.load?.reject(new Error('the image broke off'));
          guests.delete(guest.runDir);
          vtpms.delete(guest.runDir);
        },
      };
    }
  }

  vtpmManager({ turns, life }: Pick<MachineParts, 'turns' | 'life'>): VtpmManager {
    const { hostId, vtpms, disk } = this;
    const inTurn = async <T>(what: string, act: () => T): Promise<T> => {
      await turns.take(`vTPM on ${hostId} ${what}`, life);
      const result = act();
      await turns.take(`vTPM on ${hostId} ${what}, done`, life);
      return result;
    };
    const failed = (problem: string) => refuse('HOST_COMMAND_FAILED', { command: 'vTPM', host: hostId, problem });
    let made = 0;
    return {
      version: async () => '1.0.0',
      manufacture: ({ stateDir, stateKey, name }) =>
        inTurn('is made', () => {
          if (disk.files.has(stateFileIn(stateDir))) throw failed(`there is a vTPM in ${stateDir}`);
          const identity = createHash('sha256').update(`${hostId} ${name} ${(made += 1)} ${turns.given}`).digest('hex');
          writeVtpm(disk, stateDir, stateKey.toString('hex'), { identity, secret: `secret of ${identity}` });
          return { ekCertificateSha256: identity };
        }),
      ensureRunning: ({ stateDir, runDir, stateKey, migrationKey }) =>
        inTurn('starts', () => {
          const controlSocketPath = `${runDir}/control.sock`;
          if (vtpms.has(runDir)) return { controlSocketPath };
          const file = disk.files.get(stateFileIn(stateDir));
          const content = file ? readVtpm(file, stateKey.toString('hex')) : null;
          if (file && !content) throw failed('its state does not open with this key');
          vtpms.set(runDir, { stateDir, stateKey: stateKey.toString('hex'), migrationKey: migrationKey.toString('hex'), content });
          return { controlSocketPath };
        }),
      isRunning: (runDir) => inTurn('is looked for', () => vtpms.has(runDir)),
      ensureStopped: (runDir) => inTurn('stops', () => void vtpms.delete(runDir)),
    };
  }
}

export function stateFileIn(stateDir: string): string {
  return `${stateDir}/vtpm.state`;
}

/** Null where it is not the key. */
export function readVtpm(file: Buffer, stateKeyHex: string): VtpmContent | null {
  const { lock, content } = JSON.parse(file.toString()) as { readonly lock: string; readonly content: VtpmContent };
  return lock === lockOf(stateKeyHex) ? content : null;
}

function writeVtpm(disk: Disk, stateDir: string, stateKeyHex: string, content: VtpmContent): void {
  disk.addFolder(stateDir);
  disk.files.set(stateFileIn(stateDir), Buffer.from(JSON.stringify({ lock: lockOf(stateKeyHex), content })));
}

function lockOf(keyHex: string): string {
  return createHash('sha256').update(keyHex).digest('hex');
}
