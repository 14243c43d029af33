/** Shows what is to be signed, and asks. What somebody wrote himself, in full, as an order or a start, is shown and not asked for. */
import type { Confirm, Shown } from '../client/index.js';
import { refuse } from '../domain/failures.js';
import { renderShown } from './shown.js';

const WRITTEN_IN_FULL: readonly Shown['kind'][] = ['korora/order', 'korora/start'];

export interface Asked {
  /** What is shown goes here: stdout is the command's result. */
  write(text: string): void;
  /** Null where nobody can be asked. */
  readonly ask: ((question: string) => Promise<string>) | null;
}

/** CONFIRMATION_MISSING. */
export function confirmBy({ write, ask }: Asked, isYes: boolean): Confirm {
  return async (shown) => {
    write(`${renderShown(shown)}\n`);
    if (isYes || WRITTEN_IN_FULL.includes(shown.kind)) return true;
    if (!ask) throw refuse('CONFIRMATION_MISSING', { kind: shown.kind });
    return ['y', 'yes'].includes((await ask('Sign it? [y/N] ')).trim().toLowerCase());
  };
}
