/**
 * The hostile control plane as a program of its own (`npm run attack -- --only hostile`): so many runs, each of other numbers, and the first that breaks something made as
 * small as it gets. With --planted the same against each defect of planted.ts, where what breaks is what must.
 */
import { register } from 'node:module';
import { parseArgs } from 'node:util';
import type { Found } from './explore.js';

// Before anything that checks a signature is loaded.
register('./hooks.js', import.meta.url);
const { liveThePast } = await import('./past.js');
const { explore } = await import('./explore.js');
const { DEFECTS } = await import('./planted.js');
const { INVARIANTS } = await import('./judge.js');

const { values } = parseArgs({ options: { tries: { type: 'string', default: '2000' }, seed: { type: 'string', default: '1' }, planted: { type: 'boolean', default: false } } });
const [tries, seed] = [Number(values.tries), Number(values.seed)];
const beginning = await liveThePast();
const startedAt = performance.now();
process.exit(values.planted ? await findPlanted() : await attack());

async function attack(): Promise<number> {
  const found = await explore({ tries, seed, beginning });
  const seconds = (performance.now() - startedAt) / 1000;
  say(`hostile: seed ${seed}, ${beginning.activityNames.length} activities of three hosts, ${found.tried} runs tried in ${seconds.toFixed(0)} s`);
  if (!found.broken) return say(`nothing broke of ${Object.keys(INVARIANTS).length} invariants`, 0);
  say(broken(found));
  return 1;
}

async function findPlanted(): Promise<number> {
  let missed = 0;
  for (const { name, what, breaks, planted } of DEFECTS) {
    const found = await explore({ tries, seed, beginning, planted, watched: breaks, isShrunk: false });
    if (!found.broken) missed += 1;
    say(`${name.padEnd(20)}  ${what.padEnd(72)}  ${found.broken ? `found by run ${found.tried}: ${found.broken.breaches[0]?.invariant}` : `not found in ${found.tried} runs`}`);
  }
  return missed === 0 ? 0 : 1;
}

function broken({ broken: smallest }: Found): string {
  if (!smallest) return '';
  const { plan: { acts, ...plan }, breaches, attacks } = smallest;
  return [`broken, in the smallest run that was found (${acts.length} acts; ${JSON.stringify(plan)}):`, ...attacks.map((attack) => `  ${attack}`), ...breaches.map(({ invariant, what, at }) => `  ✗ turn ${at}, ${invariant} (${INVARIANTS[invariant]}): ${what}`)].join('\n');
}

function say(text: string, code = 0): number {
  process.stdout.write(`${text}\n`);
  return code;
}
