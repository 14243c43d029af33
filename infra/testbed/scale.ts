/**
 * `npm run scale`: many fake VMs move between two hosts, so many at once, and each is then looked for on both. Says how the
 * orchestration, the TPMs and the workers bear it; docs/fake-driver.md has what may be concluded. Exits 0 only if every
 * move succeeded and every VM runs exactly once.
 */
import { parseArgs } from 'node:util';
import { KororaError } from '../../domain/failures.js';
import { diagnose } from './diagnosis.js';
import { type FleetVm, moveOne, problemsOf, startOne } from './fleet.js';
import { startTestbed } from './testbed.js';

const USAGE = `usage: npm run scale [-- --vms N] [--at-once N] [--rounds N]

  --vms N       fake VMs, half of them on either host at first (default: 50)
  --at-once N   moves at once (default: 10)
  --rounds N    how often each VM moves (default: 1)`;

interface Sizes {
  readonly vms: number;
  readonly atOnce: number;
  readonly rounds: number;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      vms: { type: 'string', default: '50' },
      'at-once': { type: 'string', default: '10' },
      rounds: { type: 'string', default: '1' },
      'temporal-binary': { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const sizes: Sizes = { vms: Number(values.vms), atOnce: Number(values['at-once']), rounds: Number(values.rounds) };
  const temporalBinary = values['temporal-binary'];
  const isRight = Object.values(sizes).every((n) => Number.isSafeInteger(n) && n > 0);
  if (values.help || !isRight || !temporalBinary) {
    say(USAGE);
    return values.help ? 0 : 2;
  }
  return scale(sizes, temporalBinary);
}

async function scale({ vms, atOnce, rounds }: Sizes, temporalBinary: string): Promise<number> {
  const root = process.env['KORORA_SCALE_DIR'] ?? '/tmp/korora-scale';
  const testbed = await startTestbed({ root, guestDir: root, temporalBinary, hypervisor: 'fake' });
  try {
    say(`two hosts with fake hypervisors, each with its TPM and worker; Temporal at ${testbed.server.address}`);
    const names = Array.from({ length: vms }, (_, i) => `vm-${i + 1}`);
    const fleet: FleetVm[] = [];
    await inParallel(atOnce, names, async (vmId, i) => void fleet.push(await startOne(testbed, vmId, i % 2 === 0 ? 'host-a' : 'host-b')));
    say(`${fleet.length} VMs run; each moves ${rounds} times, ${atOnce} at once`);

    const durationsMs: number[] = [];
    const failures: string[] = [];
    const startedAtMs = performance.now();
    for (let round = 1; round <= rounds; round++) {
      await inParallel(atOnce, fleet, async (vm) => {
        const beganAtMs = performance.now();
        try {
          await moveOne(testbed, vm);
          durationsMs.push(performance.now() - beganAtMs);
        } catch (error) {
          failures.push(`${vm.vmId} to the other host from ${vm.host}: ${error instanceof KororaError ? error.message : String(error)}`);
        }
      });
    }
    const tookMs = performance.now() - startedAtMs;
    const problems = await problemsOf(testbed, fleet);

    say(`\nmoves         ${durationsMs.length} succeeded, ${failures.length} failed, in ${(tookMs / 1000).toFixed(1)} s`);
    say(`moves/minute  ${((durationsMs.length * 60_000) / tookMs).toFixed(1)}`);
    say(`one move      median ${quantileMs(durationsMs, 0.5)} ms, 95 % within ${quantileMs(durationsMs, 0.95)} ms`);
    for (const text of failures) say(`  ✗ ${text}`);
    say(`${problems.length === 0 ? '✓' : '✗'} each of ${fleet.length} VMs runs exactly once, without a gap, with its own vTPM`);
    for (const text of problems) say(`  ✗ ${text}`);
    if (failures.length > 0 || problems.length > 0) say(await diagnose(testbed));
    return failures.length === 0 && problems.length === 0 ? 0 : 1;
  } finally {
    await testbed.stop();
  }
}

/** In the order of the list, never more than `atOnce` at a time; a failure is told only when nothing is under way any more. */
async function inParallel<T>(atOnce: number, list: readonly T[], work: (item: T, index: number) => Promise<void>): Promise<void> {
  const entries = list.entries();
  const lanes = Array.from({ length: atOnce }, async () => {
    for (const [index, item] of entries) await work(item, index);
  });
  await Promise.allSettled(lanes);
  await Promise.all(lanes);
}

function quantileMs(values: readonly number[], share: number): string {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return value === undefined ? '–' : value.toFixed(0);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

process.exit(await main());
