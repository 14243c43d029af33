/**
 * One world of the exploration: per host its durable record, its power and its VM process; per move what the two workers
 * have in memory, what the channel carries, and which signed verdicts exist; and, for the invariants only, what was once
 * true. All of it is small numbers in one array, whose characters are the world's name.
 *
 * What was once said may be heard again at any time (signed verdicts, claims, requests of the workflow), so that loss,
 * delay, repetition and reordering need no queue.
 */
import type { Records } from './records.js';
import { LAST_EPOCH, type Move } from './records.js';

export type World = number[];

export const PROCESS = { absent: 0, running: 1, copying: 2, held: 3, draining: 4, movedOut: 5, paused: 6, waiting: 7, loaded: 8 } as const;

/** The source's OutgoingMove (activities/outgoing-move.ts). `broken`: the handover failed, the write of the record may still land. */
export const OUT = { none: 0, offered: 1, copying: 2, held: 3, releasing: 4, broken: 5, manifestSent: 6, rejected: 7, takingBack: 8, withdrawing: 9 } as const;

/** The destination's preparing and receiving (activities/prepare.ts, verify.ts). `owes`: it accepted, failed to run the VM, and must. */
export const IN = { none: 0, expected: 1, listening: 2, receiving: 3, accepted: 4, activated: 5, failing: 6, rejected: 7, owes: 8 } as const;

/** What the channel carried towards the destination. */
export const STREAM = { nothing: 0, image: 1, manifest: 2 } as const;
export const HEARD = { nothing: 0, accepted: 1, rejected: 2 } as const;
/**
 * `paired + epoch`: attested with the peer, the secrets sealed to that epoch. Below: the source's, open and
 * alone, with the epoch that its secrets will name.
 */
export const SESSION = { none: 0, paired: 10 } as const;

const RECORD = 0, POWER = 1, PROC = 2, LATE = 3, SETTLED = 4, HOST_SIZE = 5;
const SOURCE_SESSION = 0, OUTGOING = 1, DESTINATION_SESSION = 2, INCOMING = 3, CARRIED = 4, VERDICT = 5, SAID = 6, MOVE_SIZE = 7;

/** Where each thing is in the array. */
export class Layout {
  readonly fresh: number;
  readonly owners: number;
  readonly fenced: number;
  private readonly movesAt: number;

  constructor(readonly hosts: number, readonly moves: readonly Move[]) {
    this.movesAt = hosts * HOST_SIZE;
    this.fresh = this.movesAt + moves.length * MOVE_SIZE;
    this.owners = this.fresh + 1;
    this.fenced = this.fresh + 2;
  }

  readonly record = (h: number): number => h * HOST_SIZE + RECORD;
  /** 1: off. */
  readonly off = (h: number): number => h * HOST_SIZE + POWER;
  readonly process = (h: number): number => h * HOST_SIZE + PROC;
  /** Bits of LATE_*: calls that passed their check and act at any later time. */
  readonly late = (h: number): number => h * HOST_SIZE + LATE;
  /** Once true: by move, four bits: how it was settled here last (draft.ts). */
  readonly settled = (h: number): number => h * HOST_SIZE + SETTLED;
  readonly sourceSession = (m: number): number => this.movesAt + m * MOVE_SIZE + SOURCE_SESSION;
  readonly out = (m: number): number => this.movesAt + m * MOVE_SIZE + OUTGOING;
  readonly destinationSession = (m: number): number => this.movesAt + m * MOVE_SIZE + DESTINATION_SESSION;
  readonly in = (m: number): number => this.movesAt + m * MOVE_SIZE + INCOMING;
  readonly stream = (m: number): number => this.movesAt + m * MOVE_SIZE + CARRIED;
  readonly heard = (m: number): number => this.movesAt + m * MOVE_SIZE + VERDICT;
  /** Bits: signed verdicts that exist, see `saidBit`. */
  readonly said = (m: number): number => this.movesAt + m * MOVE_SIZE + SAID;

  /** Who holds the newest state of the guest: hosts' processes, then the moves' images on the channel. */
  readonly processBit = (h: number): number => 1 << h;
  readonly imageBit = (m: number): number => 8 << m;
}

export const LATE_START = 1, LATE_RESUME = 2, LATE_DESTROY = 4;

export function saidBit(verdict: 'accepted' | 'rejected', epoch: number): number {
  return 1 << (epoch - 2 + (verdict === 'accepted' ? LAST_EPOCH : 0));
}

/** host-a owns epoch 1 and runs; the others never heard of the VM. */
export function firstWorld(layout: Layout, records: Records): World {
  const world: World = Array.from({ length: layout.fenced + 1 }, () => 0);
  for (let h = 0; h < layout.hosts; h++) world[layout.record(h)] = records.none(h);
  world[layout.record(0)] = records.after(records.none(0), records.create()) as number;
  world[layout.process(0)] = PROCESS.running;
  world[layout.fresh] = layout.processBit(0);
  world[layout.owners] = ownerBits(0, 1);
  return world;
}

/** Two bits for each epoch: the host that owned it, plus one. */
export function ownerBits(host: number, epoch: number): number {
  return (host + 1) << (2 * (epoch - 1));
}

export function ownerOf(owners: number, epoch: number): number {
  return ((owners >> (2 * (epoch - 1))) & 3) - 1;
}

export function isRunning(process: number): boolean {
  return process === PROCESS.running || process === PROCESS.copying;
}

export function nameOf(world: World): string {
  return String.fromCharCode(...world);
}

export function worldOf(name: string): World {
  const world: World = new Array<number>(name.length);
  for (let i = 0; i < name.length; i++) world[i] = name.charCodeAt(i);
  return world;
}
