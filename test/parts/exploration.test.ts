/**
 * Every order of events around domain/ownership.ts: messages late, lost and repeated, workers that die, hosts that lose
 * power, the operator's fence (test/model; `npm run explore` prints the same). And that the exploration sees what it is
 * for: each planted mistake breaks the invariant it is planted against.
 */
import { describe, expect, it } from 'vitest';
import { EXPLORATIONS, type ExplorationName, explore, plant } from '../model/explorations.js';
import { INVARIANTS } from '../model/invariants.js';
import { MISTAKES, type MistakeName } from '../model/mistakes.js';
import type { Found } from '../model/search.js';
import { story } from '../model/story.js';

const namesOf = <T extends string>(of: Readonly<Record<T, unknown>>) => Object.keys(of) as T[];
const told = ({ breach }: Found) => (breach ? `breaks ${breach.invariant}\n${story(breach.trace)}` : 'nothing broke');

describe('every order of events of', () => {
  it.each(namesOf<ExplorationName>(EXPLORATIONS))('%s breaks no invariant', (name) => {
    expect(told(explore(name))).toBe('nothing broke');
  });
});

describe('a planted mistake is found', () => {
  it.each(namesOf<MistakeName>(MISTAKES))('%s', (name) => {
    const { breach } = plant(name);
    expect(breach?.invariant).toBe(MISTAKES[name].breaks);
    expect(breach?.trace.length).toBeGreaterThan(0);
  });

  it('for every invariant', () => {
    const guarded = new Set<string>(Object.values(MISTAKES).map(({ breaks }) => breaks));
    expect(namesOf(INVARIANTS).filter((name) => !guarded.has(name))).toEqual([]);
  });
});
