/** Every kind of attack, as `npm run attack` has them, with few flips; each must be refused, by its own code, and harm nothing. */
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Arena, openArena } from '../../infra/testbed/attacks/arena.js';
import { KINDS, type Loot, collectLoot } from '../../infra/testbed/attacks/kinds.js';
import { newRoot, openTestbeds, partsFromEnvironment } from './support.js';

/** ignored-bits is a matter of TLS alone: test/parts/attack-flips.test.ts has it. */
const TRIED = KINDS.filter(({ name }) => name !== 'ignored-bits');
const FLIPS = { seed: 7, sink: 22, qemu: 2 };

let root: string;
let arena: Arena;
let loot: Loot;

beforeAll(async () => {
  root = await newRoot();
  arena = await openArena({ root, ...partsFromEnvironment() });
  openTestbeds.add(arena.testbed);
  loot = await collectLoot(arena);
});
afterAll(async () => {
  if (arena) openTestbeds.delete(arena.testbed);
  await arena?.close();
  await rm(root, { recursive: true, force: true });
});

it.each(TRIED)('$name: $what', async (kind) => {
  const trials = await kind.run(arena, loot, FLIPS);
  expect(trials.length).toBeGreaterThan(0);
  expect({ seed: FLIPS.seed, failed: trials.filter(({ problems }) => problems.length > 0) }).toEqual({ seed: FLIPS.seed, failed: [] });
  for (const { what, codes } of trials) expect([what, codes]).not.toEqual([what, []]);
});
