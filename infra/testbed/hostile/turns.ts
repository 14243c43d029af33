/**
 * Whose turn it is: everything of a hostile world that may wait asks for a turn first, and one turn is given at a time, when nothing else moves any
 * more. So a world goes the same way whenever the same turns are drawn, and any two steps of it may be swapped.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

/** Of a worker, or of a connection; what waits for it when it is over waits for ever. */
export interface Life {
  isOver: boolean;
}

interface Waiting {
  readonly what: string;
  readonly life: Life;
  /** Not before so many turns were given, unless nobody else waits. */
  readonly notBefore: number;
  readonly go: () => void;
}

/** What is called may stop in its tracks: after so many turns of its own, for so many of all. */
export interface Stall {
  readonly after: number;
  readonly turns: number;
}

const called = new AsyncLocalStorage<{ readonly stall: Stall; taken: number }>();

/** Whatever `work` waits for, and what goes on from there, is of one call, which stalls once. */
export function stalling<T>(stall: Stall, work: () => T): T {
  return called.run({ stall, taken: 0 }, work);
}

function stallNow(): number {
  const call = called.getStore();
  if (!call) return 0;
  call.taken += 1;
  return call.taken === call.stall.after + 1 ? call.stall.turns : 0;
}

/** Everybody in turn. */
export const IN_ORDER = { among: () => 0, delay: () => 0 };

/** How often the event loop is asked whether something still moves: a stream's next step may be a few of its turns away. */
const LOOKS_WHEN_QUIET = 6;

export class Turns {
  #waiting: Waiting[] = [];
  /** How many were given so far. */
  given = 0;

  /** `draw`: of how many, which one; 0 is who waits longest. `delay`: how many turns whoever asks now lets pass, by what it is. */
  constructor(private readonly draw: { readonly among: (count: number) => number; readonly delay: (what: string) => number }) {}

  take(what: string, life: Life): Promise<void> {
    return new Promise((go) => {
      if (!life.isOver) this.#waiting.push({ what, life, go, notBefore: this.given + this.draw.delay(what) + stallNow() });
    });
  }

  /** Gives the next turn; what it was of, or null where nobody waits and nothing moves. */
  async next(): Promise<string | null> {
    for (let look = 0; look < LOOKS_WHEN_QUIET; look++) {
      await new Promise(setImmediate);
      this.#waiting = this.#waiting.filter(({ life }) => !life.isOver);
      if (this.#waiting.length === 0) continue;
      const ready = this.#waiting.filter(({ notBefore }) => notBefore <= this.given);
      const among = ready.length > 0 ? ready : this.#waiting;
      const chosen = among[this.draw.among(among.length)];
      this.#waiting = this.#waiting.filter((one) => one !== chosen);
      this.given += 1;
      chosen?.go();
      return chosen?.what ?? null;
    }
    return null;
  }
}
