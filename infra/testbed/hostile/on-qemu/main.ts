/**
 * The hostile control plane on two hosts with QEMU, swtpm and Temporal, as a program of its own (`npm run attack -- --only hostile`, after the runs in memory). Exits 1 where
 * something broke, with what he did in that run. With --planted the same against each defect of planted.ts, which must be found.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { QUICK_WORKERS, type TestbedOptions } from '../../testbed.js';
import { type Found, explore } from './explore.js';
import { DEFECTS_ON_QEMU, plant, workersWithDefects } from './planted.js';
import { type Stage, openStage } from './stage.js';

const { values } = parseArgs({
  options: { tries: { type: 'string', default: '20' }, seed: { type: 'string', default: '1' }, planted: { type: 'boolean', default: false }, 'guest-dir': { type: 'string', default: '' }, 'temporal-binary': { type: 'string', default: '' } },
});
const [tries, seed] = [Number(values.tries), Number(values.seed)];

Runtime.install({ logger: new DefaultLogger('ERROR') }); // of his worker, which tells its life otherwise
let close = () => Promise.resolve();
// Workers end with this process; VMs, TPMs and Temporal would not.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void close().finally(() => process.exit(1)));
process.exit(values.planted ? await findPlanted() : await attack());

async function attack(): Promise<number> {
  return onStage(() => QUICK_WORKERS, async (stage) => {
    const startedAt = performance.now();
    const found = await explore(stage, { tries, seed, onRun: (run, { outcome, replies, helped }) => say(`run ${run} of ${tries}, ${secondsSince(startedAt)} s: ${outcome}, beside ${replies.length} calls${helped.map((what) => `; ${what}`).join('')}`) });
    say(told(found, secondsSince(startedAt)));
    return found.broken ? 1 : 0;
  });
}

async function findPlanted(): Promise<number> {
  let missed = 0;
  for (const defect of DEFECTS_ON_QEMU) {
    const fileIn = (root: string) => join(root, 'planted');
    await onStage((root) => workersWithDefects(fileIn(root)), async (stage) => {
      await plant(stage, fileIn(stage.testbed.root), defect);
      const { tried, broken } = await explore(stage, { tries, seed, hasWayBack: false, seenAs: defect.seenAs });
      if (!broken) missed += 1;
      say(`${defect.name.padEnd(16)}  ${defect.what.padEnd(52)}  ${broken ? `found by run ${tried}: ${broken.breaches[0]}` : `not found in ${tried} runs`}`);
    });
  }
  return missed === 0 ? 0 : 1;
}

async function onStage<T>(workerCommands: (root: string) => NonNullable<TestbedOptions['workerCommands']>, work: (stage: Stage) => Promise<T>): Promise<T> {
  const root = await mkdtemp('/tmp/kh-');
  const stage = await openStage({ root, guestDir: values['guest-dir'], temporalBinary: values['temporal-binary'], workerCommands: workerCommands(root) });
  close = async () => {
    close = () => Promise.resolve();
    await stage.close();
    await rm(root, { recursive: true, force: true });
  };
  try {
    return await work(stage);
  } finally {
    await close();
  }
}

function told({ tried, calls, outcomes, replies, helped, broken }: Found, seconds: string): string {
  return [
    ...(broken ? [`broken ${broken.run === 0 ? 'on the way back' : `in run ${broken.run}`}, seed ${seed}:`, ...broken.attacks.map((attack) => `  ${attack}`), ...broken.breaches.map((breach) => `  ✗ ${breach}`)] : []),
    `moves ended: ${listed(outcomes)}`,
    ...(helped.size > 0 ? [`honest people, beside the moves: ${listed(helped)}`] : []),
    `his calls were answered: ${listed(replies)}`,
    `hostile on QEMU: seed ${seed}, tried ${tried} runs with ${calls} calls in ${seconds} s`,
    `hostile on QEMU: broken ${broken ? 1 : 0}`,
  ].join('\n');
}

function listed(counts: ReadonlyMap<string, number>): string {
  return [...counts].sort(([, a], [, b]) => b - a).map(([name, count]) => `${name} ${count}`).join(', ');
}

function secondsSince(startedAt: number): string {
  return ((performance.now() - startedAt) / 1000).toFixed(0);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
