/**
 * npm run mutants: changes the code in one place at a time (Stryker) and sees whether a unit test notices.
 *
 *   npm run mutants                      every file of test/mutants/scope.mjs
 *   npm run mutants -- --only PATTERN    files whose path contains it, or matches it as a regular expression
 *   npm run mutants -- --changed         what changed since the record: of a file that it has, the lines that git calls changed
 *   … --within SECONDS                   not at all, with the reason, where it would probably take longer
 *   … --at-once N                        so many mutants beside each other; without it, two
 *   … --record                           into docs/mutants.json and docs/mutants.md; not with --changed
 *
 * The exit code is 0 if nothing survived but what test/mutants/survivors.json explains.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Stryker } from '@stryker-mutator/core';
import { digestOf, placesIn, secondsExpected } from './changed.mjs';
import { secondsFor } from './clock.mjs';
import { incrementalFile } from './kept.mjs';
import { documentOf, rowOf, scoreOf, totalOf, unexplained } from './record.mjs';
import { ROOMS, mutatedFiles, roomOf } from './scope.mjs';

const RECORD = 'docs/mutants.json';
const { values: asked } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    changed: { type: 'boolean', default: false },
    within: { type: 'string', default: 'Infinity' },
    'at-once': { type: 'string', default: '2' },
    record: { type: 'boolean', default: false },
  },
});
if (asked.record && asked.changed) throw new Error('--record is not for --changed: a row of changed lines would forget the others');

const textOf = (path) => readFileSync(path, 'utf8');
const recorded = existsSync(RECORD) ? JSON.parse(textOf(RECORD)).files : {};
const explanations = JSON.parse(textOf('test/mutants/survivors.json'));
const pattern = new RegExp(asked.only);
const chosen = mutatedFiles().filter((file) => file.includes(asked.only) || pattern.test(file));
const places = chosen.flatMap((file) => placesIn(file, textOf(file), asked.changed ? recorded[file] : undefined));
const expected = secondsExpected(places, recorded);

if (places.length === 0) {
  console.log(`no mutants: ${asked.changed ? 'nothing changed since the record' : 'no such file'}`);
} else if (expected > Number(asked.within)) {
  console.log(`no mutants: those of what changed would take about ${expected} s, and there are ${asked.within}. By hand: npm run mutants -- --changed`);
} else {
  process.exitCode = tell(await run());
}

/** One row for each file that was mutated; vitest.config.mjs says which tests are for the files of which room. */
async function run() {
  const rows = {};
  for (const room of ROOMS) Object.assign(rows, await runOf(room, places.filter(({ file }) => roomOf(file) === room)));
  return rows;
}

async function runOf(room, places) {
  if (places.length === 0) return {};
  process.env.KORORA_MUTATED_ROOM = room;
  const results = await new Stryker({
    configFile: 'test/mutants/stryker.config.mjs',
    mutate: places.map(({ file, lines }) => (lines ? `${file}:${lines.first}-${lines.last}` : file)),
    concurrency: Number(asked['at-once']),
    incrementalFile: incrementalFile(room),
  }).runMutationTest();
  const origin = { at: new Date().toISOString().slice(0, 10), commit: execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8' }).trim() };
  const files = [...new Set(places.map(({ file }) => file))];
  return Object.fromEntries(files.map((file) => {
    const source = textOf(file);
    const ofFile = results.filter(({ fileName }) => fileName === resolve(file));
    return [file, rowOf(source, ofFile, { ...origin, sha256: digestOf(source), seconds: secondsFor(resolve(file)) ?? recorded[file]?.seconds ?? 0 })];
  }));
}

function tell(files) {
  const line = (name, row) => console.log(`${scoreOf(row).toFixed(1).padStart(5)} %  ${name}: ${row.killed + row.timeout} caught, ${row.survived} survived, ${row.noCoverage} that no test runs, ${Math.round(row.seconds)} s`);
  for (const [file, row] of Object.entries(files)) line(file, row);
  line('all', totalOf(Object.values(files)));
  if (asked.record) record(files);
  const without = unexplained(files, explanations);
  for (const one of without) console.log(`survived: ${JSON.stringify(one)}`);
  console.log(`${without.length} survived without an explanation in test/mutants/survivors.json`);
  return without.length === 0 ? 0 : 1;
}

function record(files) {
  const all = { ...recorded, ...files };
  const { version } = JSON.parse(textOf('node_modules/@stryker-mutator/core/package.json'));
  const whole = { tool: `Stryker ${version}`, files: Object.fromEntries(mutatedFiles().filter((file) => all[file]).map((file) => [file, all[file]])) };
  writeFileSync(RECORD, `${JSON.stringify(whole, null, 2)}\n`);
  writeFileSync('docs/mutants.md', documentOf(whole, explanations));
}
