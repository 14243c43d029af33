/**
 * Visits every world that steps can reach, breadth first, so that the way to a broken invariant is a shortest one; then
 * looks, over the whole graph, for worlds without a way back.
 */
import { destinationSteps } from './destination.js';
import type { Setting } from './draft.js';
import { type Faults, hostSteps, workflowSteps } from './hosts.js';
import { type InvariantName, brokenIn, isSettled } from './invariants.js';
import { sourceSteps } from './source.js';
import { Here, type Taken } from './steps.js';
import type { Move } from './records.js';
import { SESSION, type World, firstWorld, nameOf, worldOf } from './world.js';

export interface Found {
  readonly states: number;
  readonly transitions: number;
  readonly seconds: number;
  /** Of the first broken invariant: the steps to it. Null where all hold. */
  readonly breach: { readonly invariant: InvariantName; readonly trace: readonly Taken[] } | null;
}

/** More means that the model has no end, which is a mistake in it. */
const TOO_MANY = 4_000_000;

export function search(setting: Setting, faults: Faults): Found {
  const startedAt = performance.now();
  const first = firstWorld(setting.layout, setting.records);
  const numbers = new Map<string, number>([[nameOf(first), 0]]);
  const names = [nameOf(first)];
  const cameFrom = [0];
  const backwards = { from: [] as number[], to: [] as number[] };
  let transitions = 0;
  let here = 0;
  let breach: InvariantName | null = null;
  let breaking: Taken | null = null;

  const from = new Here(setting, (next, taken, broken) => {
    if (breach) return;
    transitions += 1;
    const name = nameOf(next);
    let number = numbers.get(name);
    if (number === undefined) {
      number = names.length;
      numbers.set(name, number);
      names.push(name);
      cameFrom.push(here);
      broken ??= brokenIn(next, setting);
      if (number > TOO_MANY) throw new Error('the worlds do not end');
    }
    if (broken) [breach, breaking] = [broken, taken];
    if (taken.kind === 'settling' && number !== here) {
      backwards.from.push(here);
      backwards.to.push(number);
    }
  });
  for (; here < names.length && !breach; here++) {
    from.world = worldOf(names[here] as string);
    allSteps(from, faults);
  }
  const done = (found: Found['breach']): Found => ({ states: names.length, transitions, seconds: (performance.now() - startedAt) / 1000, breach: found });
  const wayTo = (number: number) => trace(number, names, cameFrom, setting, faults);
  if (breach && breaking) return done({ invariant: breach, trace: [...wayTo(here - 1), breaking] });
  if (setting.only !== null && setting.only !== 'a-way-back') return done(null);
  const lost = firstLost(names, backwards, setting);
  return done(lost === null ? null : { invariant: 'a-way-back', trace: wayTo(lost) });
}

function allSteps(here: Here, faults: Faults): void {
  const { layout, moves, isInTurn } = here.setting;
  for (let m = 0; m < moves.length && (m === 0 || !isInTurn || isOver(here, m - 1)); m++) {
    sourceSteps(here, m);
    destinationSteps(here, m);
    workflowSteps(here, m);
  }
  for (let h = 0; h < layout.hosts; h++) hostSteps(here, h, faults);
}

/** Both hosts have nothing of it in memory, and the source decided. */
function isOver(here: Here, m: number): boolean {
  const { layout, moves } = here.setting;
  const source = here.fact((moves[m] as Move).from);
  if (here.get(layout.sourceSession(m)) !== SESSION.none || here.get(layout.destinationSession(m)) !== SESSION.none) return false;
  return source.isSettled[m] === true || (source.state === 'retired' && source.move === m);
}

/** The steps are not kept while searching; each is found again by taking all from the world before. */
function trace(to: number, names: readonly string[], cameFrom: readonly number[], setting: Setting, faults: Faults): Taken[] {
  const steps: Taken[] = [];
  for (let at = to; at !== 0; at = cameFrom[at] as number) {
    let found: Taken | null = null;
    const from = new Here(setting, (next: World, taken) => {
      if (nameOf(next) === names[at]) found ??= taken;
    });
    from.world = worldOf(names[cameFrom[at] as number] as string);
    allSteps(from, faults);
    if (found) steps.unshift(found);
  }
  return steps;
}

/** The first world, in the order they were found, from which no steps of settling lead to order. */
function firstLost(names: readonly string[], edges: { readonly from: readonly number[]; readonly to: readonly number[] }, setting: Setting): number | null {
  const begins = new Int32Array(names.length + 1);
  for (const to of edges.to) begins[to + 1] = (begins[to + 1] as number) + 1;
  for (let i = 0; i < names.length; i++) begins[i + 1] = (begins[i + 1] as number) + (begins[i] as number);
  const filled = begins.slice();
  const sources = new Int32Array(edges.from.length);
  edges.to.forEach((to, i) => {
    sources[filled[to] as number] = edges.from[i] as number;
    filled[to] = (filled[to] as number) + 1;
  });
  const isSafe = new Uint8Array(names.length);
  const safe = names.flatMap((name, i) => (isSettled(worldOf(name), setting) ? [i] : []));
  for (const i of safe) isSafe[i] = 1;
  for (let next = safe.pop(); next !== undefined; next = safe.pop()) {
    for (let i = begins[next] as number; i < (begins[next + 1] as number); i++) {
      const before = sources[i] as number;
      if (!isSafe[before]) {
        isSafe[before] = 1;
        safe.push(before);
      }
    }
  }
  const lost = isSafe.indexOf(0);
  return lost === -1 ? null : lost;
}
