/**
 * `npm run matrix`: the whole fault matrix on real QEMU, swtpm, TPMs and Temporal, or with the fake hypervisor in QEMU's and
 * swtpm's place. A line a cell; a diagnosis where one fails; `N passed, N failed` at the end. matrix.sh sets the machine up and calls it.
 */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs, promisify } from 'node:util';
import { allCells } from './cells.js';
import { deaths } from './orchestrator.js';
import { document, line } from './report.js';
import type { CellResult, RigParts, Trial } from './rig.js';
import { createRigs } from './rigs.js';

/** Of each kind. */
const DEATHS = 50;

const USAGE = `usage: npm run matrix [-- --only PATTERN] [--list] [--record]
       npm run matrix -- --only orchestrator [--seed N]

  --only PATTERN  cells whose name contains it, or matches it as a regular expression
                  orchestrator: ${DEATHS} moves in which the Temporal server dies, ${DEATHS} in which all workers do, at random moments
  --list          the cells, and why the others cannot be
  --rigs N        so many testbeds at once; default 2
  --hypervisor H  qemu or fake; default qemu
  --record        all cells and the orchestrator's deaths, into docs/fault-matrix.md`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: '' },
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
  const run = (trials: readonly Trial[]) => runAll({ guestDir, temporalBinary, hypervisor }, trials, Number(values.rigs));
  const dying = deaths(DEATHS, Number(values.seed));
  if (values.only === 'orchestrator') return judged(await run(dying));
  const pattern = new RegExp(values.only);
  const named = allCells().filter(({ name }) => name.includes(values.only) || pattern.test(name));
  const cells = named.filter(({ notApplicable }) => notApplicable === null);
  const left = named.filter(({ notApplicable }) => notApplicable !== null);
  if (values.list) return say([...cells.map(({ name }) => name), ...left.map(({ name, notApplicable }) => `(${name}: ${notApplicable})`)].join('\n'), 0);
  if (cells.length === 0) return say(`no cell is named ${values.only}; --list lists them`, 2);

  const results = await run(values.record ? [...cells, ...dying] : cells);
  if (values.record) await writeFile('docs/fault-matrix.md', document(results, left, await versions()));
  return judged(results);
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

async function versions() {
  const first = async (command: string, ...args: string[]) => (await promisify(execFile)(command, args)).stdout;
  const numberIn = (text: string) => /\d+\.\d+(?:\.\d+)?/.exec(text)?.[0] ?? 'unknown';
  return {
    date: new Date().toISOString().slice(0, 10),
    korora: (JSON.parse(await readFile('package.json', 'utf8')) as { version: string }).version,
    qemu: numberIn(await first('qemu-system-x86_64', '--version')),
    swtpm: numberIn(await first('swtpm', '--version')),
    tpm2Tools: numberIn(await first('tpm2_getcap', '--version')),
    node: process.versions.node,
  };
}

function say(text: string, code: number): number {
  process.stdout.write(`${text}\n`);
  return code;
}

process.exit(await main());
