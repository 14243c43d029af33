/**
 * Death of the orchestrator: at a random moment of a move the Temporal server dies, or all workers at once do, and comes
 * back. Nothing waits for it, unlike at a cell's point; how the move ends is open, what must be so afterwards is not.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { settleable } from '../../../domain/settleable.js';
import { randomFrom } from '../random.js';
import type { Script } from './injector.js';
import type { Move } from './move.js';

export interface Death {
  readonly kind: 'orchestrator';
  readonly name: string;
  readonly who: 'temporal' | 'workers';
  /** After how many points of the move, and how long after that. */
  readonly afterPoints: number;
  readonly delayMs: number;
}

/** A clean move has 56; what one has less shows as a death that did not happen. */
const POINTS_OF_A_MOVE = 54;
const DELAY_MS = 100;
/** Not of a move: how the harness itself asks hosts. */
const NOT_OF_A_MOVE = ['surveyHost', 'showSurvey', 'startVm'];

/** The same for the same seed. */
export function deaths(count: number, seed: number): readonly Death[] {
  const random = randomFrom(seed);
  return (['temporal', 'workers'] as const).flatMap((who) =>
    Array.from({ length: count }, (_, i): Death => {
      const [afterPoints, delayMs] = [Math.floor(random() * POINTS_OF_A_MOVE), Math.floor(random() * DELAY_MS)];
      const whom = who === 'temporal' ? 'of the Temporal server' : 'of all workers';
      return { kind: 'orchestrator', name: `orchestrator ${i + 1} · SIGKILL ${whom} ${delayMs} ms after point ${afterPoints} (seed ${seed})`, who, afterPoints, delayMs };
    }),
  );
}

export function deathOf({ who, afterPoints, delayMs }: Death, move: Move) {
  let reached = 0;
  let dying: Promise<void> | null = null;
  const failing = settleable<never>();
  const die = async () => {
    await delay(delayMs);
    await (who === 'temporal' ? move.killTemporal() : move.killWorkers());
  };
  const script: Script = async ({ name }) => {
    if (NOT_OF_A_MOVE.includes(name)) return 'pass';
    if (reached === afterPoints) {
      dying = die();
      dying.catch(failing.reject);
    }
    reached += 1;
    return 'pass';
  };
  return {
    script,
    hasHappened: () => dying !== null,
    over: async () => void (await dying),
    /** Rejects where it cannot be done, or what died does not come back. */
    failed: failing.promise,
  };
}
