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

const anything = (...hosts: number[]): Faults => ({ workers: hosts, power: hosts });
const workersOf = (...hosts: number[]): Faults => ({ workers: hosts, power: [] });

export const EXPLORATIONS = {
  'one move': { hosts: 2, moves: [{ from: A, to: B }], faults: anything(A, B), text: 'A→B; workers die, hosts lose power' },
  'there and back': { hosts: 2, moves: [{ from: A, to: B }, { from: B, to: A }], faults: anything(A, B), text: 'A→B and B→A at any time; workers die, hosts lose power' },
  'twice the same way': { hosts: 2, moves: [{ from: A, to: B }, { from: A, to: B }], faults: workersOf(A, B), text: 'A→B and A→B at any time; workers die' },
  'on to a third host': { hosts: 3, moves: [{ from: A, to: B }, { from: B, to: C }], faults: workersOf(A, B, C), text: 'A→B and B→C at any time; workers die' },
  'elsewhere instead': { hosts: 3, moves: [{ from: A, to: B }, { from: A, to: C }], faults: workersOf(A, B, C), text: 'A→B and A→C at any time; workers die' },
  'twice the same way, in turn': { hosts: 2, moves: [{ from: A, to: B }, { from: A, to: B }], isInTurn: true, faults: anything(A, B), text: 'A→B, then A→B; workers die, hosts lose power' },
  'on to a third host, in turn': { hosts: 3, moves: [{ from: A, to: B }, { from: B, to: C }], isInTurn: true, faults: anything(A, B, C), text: 'A→B, then B→C; workers die, hosts lose power' },
  'elsewhere instead, in turn': { hosts: 3, moves: [{ from: A, to: B }, { from: A, to: C }], isInTurn: true, faults: anything(A, B, C), text: 'A→B, then A→C; workers die, hosts lose power' },
  'three moves, in turn': { hosts: 3, moves: [{ from: A, to: B }, { from: A, to: C }, { from: B, to: A }], isInTurn: true, faults: { workers: [A], power: [B] }, text: 'A→B, then A→C, then B→A; A’s worker dies, B loses power' },
  'an older record': { hosts: 2, moves: [{ from: A, to: B }], faults: { ...anything(A, B), folder: [A] }, text: 'A→B; workers die, hosts lose power, A’s record of before the handover comes back' },
  'an older record, on to a third host': { hosts: 3, moves: [{ from: A, to: B }, { from: B, to: C }], isInTurn: true, faults: { ...workersOf(A, B), folder: [A, B] }, text: 'A→B, then B→C; workers die, records of before the handover come back' },
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
