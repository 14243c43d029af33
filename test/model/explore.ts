/**
 * npm run explore: every order of events around domain/ownership.ts, as test/model/explorations.ts lists them.
 *
 *   npm run explore                  one line for each exploration; exit code 1 where an invariant breaks, with the way to it
 *   npm run explore -- --mistakes    plants each mistake instead; one line each, and the shortest way to the breach
 */
import { EXPLORATIONS, type ExplorationName, explore, plant } from './explorations.js';
import { INVARIANTS } from './invariants.js';
import { MISTAKES, type MistakeName } from './mistakes.js';
import { type Found } from './search.js';
import { story } from './story.js';

const isOfMistakes = process.argv.includes('--mistakes');
const names = process.argv.slice(2).filter((word) => !word.startsWith('--'));
const wanted = <T extends string>(all: object): T[] => Object.keys(all).filter((name): name is T => names.length === 0 || names.includes(name));
const sizes = ({ states, transitions, seconds }: Found) => `${states} states, ${transitions} transitions, ${seconds.toFixed(1)} s`;

if (isOfMistakes) {
  for (const name of wanted<MistakeName>(MISTAKES)) {
    const found = plant(name);
    console.log(`${name}: ${found.breach ? `breaks ${found.breach.invariant}` : 'NOT CAUGHT'} (${sizes(found)})`);
    if (found.breach) console.log(story(found.breach.trace));
    else process.exitCode = 1;
  }
} else {
  for (const name of wanted<ExplorationName>(EXPLORATIONS)) {
    const found = explore(name);
    const outcome = found.breach ? `BREAKS ${found.breach.invariant}: ${INVARIANTS[found.breach.invariant]}` : `${Object.keys(INVARIANTS).length} invariants hold`;
    console.log(`${name} (${EXPLORATIONS[name].text}): ${sizes(found)}, ${outcome}`);
    if (!found.breach) continue;
    console.log(story(found.breach.trace));
    process.exitCode = 1;
  }
}
