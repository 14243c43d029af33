/**
 * The hostile control plane on two hosts with QEMU, swtpm and Temporal, as a program of its own (`npm run attack -- --only hostile`, after the runs in memory). Exits 1 where
 * something broke, with what he did in that run.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { QUICK_WORKERS } from '../../testbed.js';
import { type Found, explore } from './explore.js';
import { openStage } from './stage.js';

const { values } = parseArgs({ options: { tries: { type: 'string', default: '20' }, seed: { type: 'string', default: '1' }, 'guest-dir': { type: 'string', default: '' }, 'temporal-binary': { type: 'string', default: '' } } });
const [tries, seed] = [Number(values.tries), Number(values.seed)];

Runtime.install({ logger: new DefaultLogger('ERROR') }); // of his worker, which tells its life otherwise
const root = await mkdtemp('/tmp/kh-');
const stage = await openStage({ root, guestDir: values['guest-dir'], temporalBinary: values['temporal-binary'], workerCommands: QUICK_WORKERS });
const close = async () => {
  await stage.close();
  await rm(root, { recursive: true, force: true });
};
// Workers end with this process; VMs, TPMs and Temporal would not.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void close().finally(() => process.exit(1)));
const startedAt = performance.now();
const seconds = () => ((performance.now() - startedAt) / 1000).toFixed(0);
let found: Found;
try {
  found = await explore(stage, { tries, seed, onRun: (run, { outcome, replies, helped }) => say(`run ${run} of ${tries}, ${seconds()} s: ${outcome}, beside ${replies.length} calls${helped.map((what) => `; ${what}`).join('')}`) });
} finally {
  await close();
}
say(told(found));
process.exit(found.broken ? 1 : 0);

function told({ tried, calls, outcomes, replies, helped, broken }: Found): string {
  return [
    ...(broken ? [`broken ${broken.run === 0 ? 'on the way back' : `in run ${broken.run}`}, seed ${seed}:`, ...broken.attacks.map((attack) => `  ${attack}`), ...broken.breaches.map((breach) => `  ✗ ${breach}`)] : []),
    `moves ended: ${listed(outcomes)}`,
    ...(helped.size > 0 ? [`honest people, beside the moves: ${listed(helped)}`] : []),
    `his calls were answered: ${listed(replies)}`,
    `hostile on QEMU: seed ${seed}, tried ${tried} runs with ${calls} calls in ${seconds()} s`,
    `hostile on QEMU: broken ${broken ? 1 : 0}`,
  ].join('\n');
}

function listed(counts: ReadonlyMap<string, number>): string {
  return [...counts].sort(([, a], [, b]) => b - a).map(([name, count]) => `${name} ${count}`).join(', ');
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
