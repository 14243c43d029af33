/**
 * What Kororā asks of a hypervisor. Small on purpose; each driver turns its hypervisor into an
 * outgoing image (rounds, then "everything sent but the tail, source paused", then release or
 * resume) and an incoming image ("everything loaded and paused", then activate or discard).
 */
import type { Readable, Writable } from 'node:stream';
import type { CopyLimits, CopyProgress } from '../domain/progress.js';
import type { Hold } from '../domain/status.js';
import type { VmDocument } from '../domain/vm.js';
import type { VmId } from '../domain/ids.js';

export interface HypervisorFacts {
  readonly kind: 'qemu' | 'fake';
  readonly version: string;
  /** Found by trying, not by looking at /dev/kvm. */
  readonly accelerator: 'kvm' | 'tcg' | 'none';
  readonly machineTypes: readonly string[];
  readonly cpuModels: readonly string[];
}

/**
 * `absent`: no process. `incoming`: a destination that waits for or loads an image.
 * `moved-out`: all state was sent; paused, may be resumed. `failed`: the process is there and of no use.
 */
export const VM_STATUSES = ['absent', 'running', 'paused', 'incoming', 'moving-out', 'moved-out', 'failed'] as const;
export type VmStatus = (typeof VM_STATUSES)[number];

/** Where a VM's run-time files live on its host and which vTPM it connects to. */
export interface VmPlace {
  /** Sockets, pid file, logs; short path (unix sockets). */
  readonly runDir: string;
  readonly vtpmControlSocketPath: string | null;
}

export interface Hypervisor {
  facts(): Promise<HypervisorFacts>;
  /** From the hypervisor itself, by its control socket; an unreachable control socket of a live process is `failed`. */
  status(vmId: VmId, runDir: string): Promise<VmStatus>;
  /** Boots the VM. HYPERVISOR_COMMAND_FAILED. */
  start(vm: VmDocument, place: VmPlace): Promise<void>;
  /** Runs vCPUs of a paused or moved-out VM and tells its networks where it is; idempotent on a running one. */
  ensureRunning(vmId: VmId, runDir: string): Promise<void>;
  /** Stops vCPUs; idempotent, and nothing where there is no process. */
  ensurePaused(vmId: VmId, runDir: string): Promise<void>;
  /** Processes of this host that look like the VM (its name, identity, or a disk of it) and are no VM that a worker keeps; for people. */
  strangers(vm: VmDocument): Promise<readonly string[]>;
  /** Ends the copy that runs, if one does, and waits until the VM is back in `running`, `paused` or `moved-out`. */
  ensureNotMoving(vmId: VmId, runDir: string): Promise<void>;
  /** Ends the process and removes what it left in runDir and of its networks; idempotent. */
  ensureDestroyed(vmId: VmId, runDir: string): Promise<void>;

  /** Opens the copy of a running VM. Nothing is sent before `image` is read. `isHeld`: as if after setHeld(true). */
  openOutgoing(vm: VmDocument, runDir: string, limits: CopyLimits, options?: { readonly isHeld?: boolean }): Promise<OutgoingImage>;
  /** Starts a paused, waiting copy. Its vCPUs do not run, and its networks hear nothing of it, before activate(). */
  openIncoming(vm: VmDocument, place: VmPlace): Promise<IncomingImage>;
}

export interface OutgoingImage {
  /** The whole image as bytes; ends after release(). */
  readonly image: Readable;
  /** Resolves when the source is paused and only the tail is left; the stream holds there until release(). Rejects COPY_FAILED. */
  readonly paused: Promise<PauseFacts>;
  progress(): Promise<CopyProgress>;
  setLimits(limits: CopyLimits): Promise<void>;
  /**
   * Holds the copy, the VM running on, or lets it go on. A hold ends by itself where the source is paused in spite of it, which
   * one that is `isCertain` excludes.
   */
  setHeld(isHeld: boolean): Promise<Hold>;
  /** Slows vCPUs by this share of their time, in percent, until the copy ends; only where it was opened with `autoConverge`. */
  setThrottle(percent: number): Promise<void>;
  /** Sends the tail; resolves when the last byte was written to `image`. The VM stays paused. */
  release(): Promise<void>;
  /** Lets go of sockets; leaves the VM as it is. */
  close(): Promise<void>;
}

export interface PauseFacts {
  /** Wall clock of the hypervisor when vCPUs stopped, ms since the epoch (fractional). */
  readonly stoppedAtMs: number;
}

export interface IncomingImage {
  /** Takes the image; ended by the channel after the last byte. */
  readonly sink: Writable;
  /** Resolves when all is loaded and the VM is paused. Rejects IMAGE_NOT_LOADED. */
  loaded(): Promise<void>;
  /** Runs the vCPUs, then tells the VM's networks where it is. Gives the wall clock of the hypervisor when they started, ms since the epoch (fractional). */
  activate(): Promise<{ readonly runningAtMs: number }>;
  /** Lets go of sockets; leaves the process as it is. */
  close(): Promise<void>;
}
