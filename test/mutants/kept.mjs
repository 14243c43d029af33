/**
 * What Stryker keeps of its last run, so that the next one runs only what changed. Stryker sees a changed source and a new test; it sees neither that
 * a test says something else than last time, nor a change of what tests share, nor that a new test comes to what runs while a module is loaded. All three are done here.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';

const FOLDER = '.cache/mutants';

/** The file to give to Stryker, of each `room` its own. */
export function incrementalFile(room) {
  mkdirSync(FOLDER, { recursive: true });
  const file = `${FOLDER}/${room}-${digestOfShared()}.json`;
  for (const name of readdirSync(FOLDER)) if (name.startsWith(`${room}-`) && `${FOLDER}/${name}` !== file) rmSync(`${FOLDER}/${name}`);
  if (existsSync(file)) writeFileSync(file, JSON.stringify(withoutSurvivors(withoutChangedTests(JSON.parse(readFileSync(file, 'utf8'))))));
  return file;
}

/** A test that is not known counts as new: what it ran is tried again, and so is what it killed. */
function withoutChangedTests(report) {
  const isSame = ([name, { source }]) => existsSync(name) && readFileSync(name, 'utf8') === source;
  return { ...report, testFiles: Object.fromEntries(Object.entries(report.testFiles ?? {}).filter(isSame)) };
}

/** They are tried again, always. */
function withoutSurvivors(report) {
  const kept = (mutants) => mutants.filter(({ status }) => status !== 'Survived' && status !== 'NoCoverage');
  return { ...report, files: Object.fromEntries(Object.entries(report.files).map(([name, file]) => [name, { ...file, mutants: kept(file.mutants) }])) };
}

function digestOfShared() {
  const hash = createHash('sha256');
  const shared = ['test/unit', 'test/support'].flatMap((folder) => readdirSync(folder, { recursive: true }).map((name) => `${folder}/${name}`)).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
  for (const name of [...shared.sort(), 'test/mutants/stryker.config.mjs', 'test/mutants/vitest.config.mjs', 'package-lock.json']) hash.update(`${name}\0`).update(readFileSync(name));
  return hash.digest('hex').slice(0, 16);
}
