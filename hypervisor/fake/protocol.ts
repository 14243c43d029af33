/**
 * What a fake machine is asked and what it answers, over its unix socket: a connection for each question, one line of
 * JSON there and one back. `stream` and `load` are not answered: the bytes of an image follow, from the machine or to it.
 *
 * Only the driver and the machine of one version speak it, over a socket of mode 0600; keys travel in it.
 */
import type { Duplex } from 'node:stream';
import type { VmId } from '../../domain/ids.js';
import type { CopyLimits, CopyProgress } from '../../domain/progress.js';
import type { VmDocument } from '../../domain/vm.js';
import type { PauseFacts, VmPlace, VmStatus } from '../port.js';

interface OfVm {
  readonly vmId: VmId;
  readonly runDir: string;
}
interface OfCopy {
  readonly copyId: number;
}
interface OfVtpm {
  readonly controlSocketPath: string;
}

/** By name: what is asked, and what is answered. */
export interface Questions {
  readonly status: readonly [OfVm, VmStatus];
  readonly start: readonly [{ readonly vm: VmDocument; readonly place: VmPlace; readonly isIncoming: boolean }, null];
  readonly ensureRunning: readonly [OfVm, null];
  readonly hold: readonly [OfVm, null];
  readonly ensureNotMoving: readonly [OfVm, null];
  readonly ensureDestroyed: readonly [OfVm, null];
  readonly openCopy: readonly [OfVm & { readonly limits: CopyLimits }, number];
  readonly progress: readonly [OfCopy, CopyProgress];
  readonly setLimits: readonly [OfCopy & { readonly limits: CopyLimits }, null];
  /** Answered when it is so, or cannot be any more. */
  readonly paused: readonly [OfCopy, PauseFacts];
  readonly release: readonly [OfCopy, null];
  /** Whether the copy was ended by ensureNotMoving, which wants the VM to go on. */
  readonly outcome: readonly [OfCopy, { readonly isCancelled: boolean }];
  /** Forgets a copy; one that is under way ends with its stream. */
  readonly closeCopy: readonly [OfCopy, null];
  readonly loaded: readonly [OfVm, null];
  readonly activate: readonly [OfVm, { readonly runningAtMs: number }];
  readonly startVtpm: readonly [OfVtpm & { readonly stateDir: string; readonly stateKey: string; readonly migrationKey: string }, null];
  readonly isVtpmRunning: readonly [OfVtpm, boolean];
  readonly stopVtpm: readonly [OfVtpm, null];
  /** Ends the machine and all that runs in it. */
  readonly shutDown: readonly [object, null];
}
export type QuestionName = keyof Questions;
export type Question<N extends QuestionName> = Questions[N][0];
export type Answer<N extends QuestionName> = Questions[N][1];

export interface StreamRequests {
  /** The image of this copy, from the machine. */
  readonly stream: OfCopy;
  /** The image for this waiting VM, to the machine. */
  readonly load: OfVm;
}

export type Reply<T> = { readonly answer: T } | { readonly problem: string };

/** Path of a host's fake machine: beside its VMs' run directories, under a name that no VM can have. */
export function machineSocketIn(runDir: string): string {
  return `${runDir}/fake-machine.sock`;
}

/** The first line; what follows it is still to be read. Null where the other side ends before. */
export async function readLine(socket: Duplex): Promise<string | null> {
  let text = Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    const done = (line: string | null) => {
      socket.off('data', onData).off('error', reject).off('close', onClose).off('end', onClose);
      resolve(line);
    };
    const onClose = () => done(null);
    const onData = (chunk: Buffer) => {
      text = Buffer.concat([text, chunk]);
      const end = text.indexOf('\n');
      if (end < 0) return;
      socket.pause();
      done(text.subarray(0, end).toString('utf8'));
      if (end + 1 < text.length) socket.unshift(text.subarray(end + 1));
    };
    socket.on('data', onData).once('error', reject).once('close', onClose).once('end', onClose);
  });
}
