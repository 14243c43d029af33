/** The explorations: which moves, which hosts, which faults. Each is complete within what it names. */
import type { InvariantName } from './invariants.js';
import { MISTAKES, type MistakeName, applyOf } from './mistakes.js';
import { type Move, Records } from './records.js';
import { type Found, search } from './search.js';
import type { Faults } from './hosts.js';
import { Layout } from './world.js';

const [A, B, C] = [0, 1, 2];
interface Exploration {
  readonly hosts: number;
  readonly moves: readonly Move[];
  readonly faults: Faults;
  readonly isInTurn?: boolean;
  /** What may happen in it, for people. */
  readonly text: string;
}

export const EXPLORATIONS = {
  'one move': { hosts: 2, moves: [{ from: A, to: B }], faults: { workers: [A, B], power: [A, B] }, text: 'A→B; any worker dies, any host loses power, at any time and any number of times' },
  'there and back': { hosts: 2, moves: [{ from: A, to: B }, { from: B, to: A }], faults: { workers: [A, B], power: [] }, text: 'A→B, B→A; workers die' },
  'twice the same way': { hosts: 2, moves: [{ from: A, to: B }, { from: A, to: B }], faults: { workers: [A, B], power: [] }, text: 'A→B, A→B; workers die' },
  'on to a third host': { hosts: 3, moves: [{ from: A, to: B }, { from: B, to: C }], faults: { workers: [A, B, C], power: [] }, text: 'A→B, B→C; workers die' },
  'elsewhere instead': { hosts: 3, moves: [{ from: A, to: B }, { from: A, to: C }], faults: { workers: [A, B, C], power: [] }, text: 'A→B, A→C; workers die' },
  'three moves, the first fenced': { hosts: 3, moves: [{ from: A, to: B }, { from: A, to: C }, { from: B, to: A }], isInTurn: true, faults: { workers: [A], power: [B] }, text: 'A→B, A→C, B→A, one after the other; A’s worker dies, B loses power' },
} as const satisfies Record<string, Exploration>;
export type ExplorationName = keyof typeof EXPLORATIONS;

/** Looks at one invariant only where `only` names it. */
export function explore(name: ExplorationName, mistake: MistakeName | null = null, only: InvariantName | null = null): Found {
  const { hosts, moves, faults, isInTurn = false }: Exploration = EXPLORATIONS[name];
  return search({ layout: new Layout(hosts, moves), records: new Records(moves, applyOf(mistake)), moves, isInTurn, mistake, only }, faults);
}

export function plant(mistake: MistakeName): Found {
  return explore(MISTAKES[mistake].in, mistake, MISTAKES[mistake].breaks);
}
