/**
 * `npm run attack`: every kind of attack, on three enrolled hosts with real QEMU, swtpm and Temporal; then the hostile control plane
 * on hosts in memory (hostile/main.ts) and on two of them with QEMU (hostile/on-qemu/main.ts). Prints how many were tried and how many refused; exits 0 only if all that had an effect were. on-this-machine.sh calls it.
 */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { openArena } from './arena.js';
import { KINDS, collectLoot } from './kinds.js';
import { TABLE_HEAD, problemLines, tableRow } from './report.js';

/** One flip in so many is tried on whole moves to QEMU, which take seconds; the others go to a sink behind the real verification. */
const FLIPS_A_MOVE = 20;

const HOSTILE = 'hostile';

const USAGE = `usage: npm run attack [-- --flips N] [--seed N] [--only KIND,…] [--tries N] [--qemu-tries N] [--planted]

  --flips N     single-bit flips; default 1000, one in ${FLIPS_A_MOVE} of them in a whole move to QEMU
  --seed N      draws them; default 1
  --only KIND,… some of: ${KINDS.map(({ name }) => name).join(', ')}; or ${HOSTILE} alone
  --tries N     runs of the hostile control plane on hosts in memory; default 2000; 0: none
  --qemu-tries N  and on two hosts with QEMU; default 20; 0: none
  --planted     with --only ${HOSTILE}: each defect of hostile/planted.ts, and of hostile/on-qemu/planted.ts, is to be found instead`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      flips: { type: 'string', default: '1000' },
      seed: { type: 'string', default: '1' },
      only: { type: 'string' },
      tries: { type: 'string', default: '2000' },
      'qemu-tries': { type: 'string', default: '20' },
      planted: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      'guest-dir': { type: 'string' },
      'temporal-binary': { type: 'string' },
    },
  });
  const isHostileAlone = values.only === HOSTILE;
  const [flips, seed, guestDir, temporalBinary] = [Number(values.flips), Number(values.seed), values['guest-dir'], values['temporal-binary']];
  const { tries, 'qemu-tries': qemuTries } = values;
  const only = values.only?.split(',') ?? KINDS.map(({ name }) => name);
  const kinds = KINDS.filter(({ name }) => only.includes(name));
  const isRight =
    Number.isSafeInteger(flips) && flips >= 0 && Number.isSafeInteger(seed) && [tries, qemuTries].every((one) => /^\d{1,9}$/.test(one)) && (kinds.length === only.length || isHostileAlone) && (!values.planted || isHostileAlone);
  if (values.help || !isRight || !guestDir || !temporalBinary) return say(USAGE, values.help ? 0 : 2);
  const hostilePrograms = [
    { path: '../hostile/main.js', runs: tries, others: [] },
    { path: '../hostile/on-qemu/main.js', runs: qemuTries, others: ['--guest-dir', guestDir, '--temporal-binary', temporalBinary] },
  ].filter(({ runs }) => Number(runs) > 0);
  /** The worst exit code of them. */
  const hostile = () =>
    Math.max(0, ...hostilePrograms.map(({ path, runs, others }) => {
      const words = [fileURLToPath(new URL(path, import.meta.url)), '--tries', runs, '--seed', values.seed, ...(values.planted ? ['--planted'] : []), ...others];
      return spawnSync(process.execPath, words, { stdio: 'inherit' }).status ?? 1;
    }));
  if (isHostileAlone) return hostile();
  const qemu = Math.ceil(flips / FLIPS_A_MOVE);

  Runtime.install({ logger: new DefaultLogger('ERROR') }); // of the rogue's worker, which tells its life otherwise
  const root = await mkdtemp('/tmp/ka-');
  const arena = await openArena({ root, guestDir, temporalBinary });
  const close = async () => {
    await arena.close();
    await rm(root, { recursive: true, force: true });
  };
  // Workers end with this process; VMs, TPMs and Temporal would not.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void close().finally(() => process.exit(1)));
  let harmful = 0;
  try {
    const loot = await collectLoot(arena);
    say(`seed ${seed}; a move sends ${loot.sizes.imageBytes} bytes of image to QEMU, ${loot.images[0].length} to the sink\n${TABLE_HEAD}`, 0);
    for (const kind of kinds) {
      const trials = await kind.run(arena, loot, { seed, sink: flips - qemu, qemu });
      const problems = problemLines(trials);
      say([tableRow(kind, trials), ...problems].join('\n'), 0);
      harmful += problems.length;
    }
  } finally {
    await close();
  }
  if (values.only === undefined && hostile() !== 0) harmful += 1;
  return say(harmful === 0 ? 'refused, all that had an effect' : `${harmful} not as it must be`, harmful === 0 ? 0 : 1);
}

function say(text: string, code: number): number {
  process.stdout.write(`${text}\n`);
  return code;
}

process.exit(await main());
