/**
 * `npm run matrix`: the whole fault matrix on real QEMU, swtpm, TPMs and Temporal, or with the fake hypervisor in QEMU's and
 * swtpm's place. A line a cell; a diagnosis where one fails; `N passed, N failed` at the end. on-this-machine.sh calls it.
 */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs, promisify } from 'node:util';
import { RECORD_FILE, gitHistory, oldCells } from './age.js';
import { type Button, allButtons } from './buttons.js';
import { type Cell, allCells } from './cells.js';
import { deaths } from './orchestrator.js';
import { type MatrixRecord, document, json, line, updated } from './report.js';
import type { CellResult, Trial } from './rig.js';
import { createRigs } from './rigs.js';
import type { RigParts } from './stage.js';

/** Of each kind. */
const DEATHS = 50;

const USAGE = `usage: npm run matrix [-- --only PATTERN] [--older] [--list] [--record]
       npm run matrix -- --only orchestrator [--seed N]

  --only PATTERN  cells whose name contains it, or matches it as a regular expression
                  orchestrator: ${DEATHS} moves in which the Temporal server dies, ${DEATHS} in which all workers do, at random moments
  --list          the cells, and why the others cannot be
  --rigs N        so many testbeds at once; default 2
  --hypervisor H  qemu or fake; default qemu
  --older         those of them that are older on record than the code that they guard
  --record        into docs/fault-matrix.json and docs/fault-matrix.md; without --only all cells and the orchestrator's deaths`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: '' },
      older: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      record: { type: 'boolean', default: false },
      rigs: { type: 'string', default: '2' },
      hypervisor: { type: 'string', default: 'qemu' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      help: { type: 'boolean', default: false },
      'guest-dir': { type: 'string' },
      'temporal-binary': { type: 'string' },
    },
  });
  const [guestDir, temporalBinary] = [values['guest-dir'], values['temporal-binary']];
  const { hypervisor } = values;
  const isKnown = hypervisor === 'qemu' || hypervisor === 'fake';
  if (values.help || !guestDir || !temporalBinary || !isKnown) return say(USAGE, values.help ? 0 : 2);
  if (values.record && hypervisor === 'fake') return say('only a run on QEMU is recorded: no claim rests on the fake', 2);
  const run = (trials: readonly Trial[]) => runAll({ guestDir, temporalBinary, hypervisor, isThrifty: false, pace: 'product' }, trials, Number(values.rigs));
  const dying = deaths(DEATHS, Number(values.seed));
  const all = [...allCells(), ...allButtons()];
  const [cells, left] = [all.filter(({ notApplicable }) => notApplicable === null), all.filter(({ notApplicable }) => notApplicable !== null)];
  const pattern = new RegExp(values.only);
  const older = values.older ? new Set((await oldCells((await recorded()).cells, cells, gitHistory('.'))).map(({ name }) => name)) : null;
  const isNamed = ({ name }: Cell | Button) => (name.includes(values.only) || pattern.test(name)) && (older?.has(name) ?? true);
  if (values.list) return say([...cells.filter(isNamed).map(({ name }) => name), ...left.filter(isNamed).map(({ name, notApplicable }) => `(${name}: ${notApplicable})`)].join('\n'), 0);
  const named: readonly Trial[] = values.only === 'orchestrator' ? dying : cells.filter(isNamed);
  if (named.length === 0) return older ? say('no cell is older than the code that it guards', 0) : say(`no cell is named ${values.only}; --list lists them`, 2);

  // The deaths of the last run stay together.
  const isDeathDue = values.record && values.only === '' && (older === null || [...older].some((name) => name.startsWith('orchestrator ')));
  const results = await run(isDeathDue ? [...named, ...dying] : named);
  if (values.record) await record(results, cells, left);
  return judged(results);
}

async function record(results: readonly CellResult[], cells: readonly (Cell | Button)[], left: readonly (Cell | Button)[]): Promise<void> {
  const before = await recorded();
  const commit = (await output('git', 'rev-parse', '--short', 'HEAD')).trim() + ((await output('git', 'status', '--porcelain', '--untracked-files=no')) === '' ? '' : '+');
  const next: MatrixRecord = { versions: await versions(), cells: updated(before.cells, results, { date: new Date().toISOString().slice(0, 10), commit }, cells) };
  await writeFile(RECORD_FILE, json(next));
  await writeFile(RECORD_FILE.replace('.json', '.md'), document(next, cells, left));
}

async function recorded(): Promise<Pick<MatrixRecord, 'cells'>> {
  return JSON.parse(await readFile(RECORD_FILE, 'utf8').catch(() => '{"cells":[]}')) as Pick<MatrixRecord, 'cells'>;
}

/** In the order of the trials, whichever ended first. */
async function runAll(parts: RigParts, trials: readonly Trial[], rigCount: number): Promise<readonly CellResult[]> {
  const rigs = createRigs(parts, rigCount);
  // Workers end with this process; VMs, TPMs and Temporal would not.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void rigs.close().finally(() => process.exit(1)));
  const results = await Promise.all(
    trials.map(async (trial) => {
      const result = await rigs.run(trial);
      say(line(result), 0);
      if (result.problems.length > 0) say([...result.problems.map((problem) => `  ${problem}`), result.diagnosis ?? ''].join('\n'), 0);
      return result;
    }),
  );
  await rigs.close();
  return results;
}

function judged(results: readonly CellResult[]): number {
  const failed = results.filter(({ problems }) => problems.length > 0).length;
  return say(`${results.length - failed} passed, ${failed} failed`, failed === 0 ? 0 : 1);
}

async function output(command: string, ...args: string[]): Promise<string> {
  return (await promisify(execFile)(command, args)).stdout;
}

async function versions(): Promise<MatrixRecord['versions']> {
  const numberIn = (text: string) => /\d+\.\d+(?:\.\d+)?/.exec(text)?.[0] ?? 'unknown';
  return {
    qemu: numberIn(await output('qemu-system-x86_64', '--version')),
    swtpm: numberIn(await output('swtpm', '--version')),
    tpm2Tools: numberIn(await output('tpm2_getcap', '--version')),
    node: process.versions.node,
  };
}

function say(text: string, code: number): number {
  process.stdout.write(`${text}\n`);
  return code;
}

process.exit(await main());
