/**
 * `npm run bench`: measures Kororā beside QEMU alone in one run on one machine and prints one report
 * in Markdown. It judges nothing but its own targets, fails only when something does not work, and
 * is never a test. Progress goes to stderr.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { parseArgs, promisify } from 'node:util';
import { HostId } from '../domain/ids.js';
import { createLocalHost } from '../host/local.js';
import { createQemu } from '../hypervisor/qemu/driver.js';
import { type Testbed, type TestbedOptions, startTestbed } from '../infra/testbed/testbed.js';
import { createSwtpmManager } from '../tpm/swtpm.js';
import { abortTable, measureAborts } from './abort.js';
import { lostPagesTable, measureLostPages } from './lost-pages.js';
import { CELLS, type CellResult, measureCell, nameOf } from './moves.js';
import { createBenchNetwork, measureNetwork, networkTable } from './network.js';
import { measureParts } from './parts.js';
import { activityTable, cpuTable, gapTable, partTable, pauseTable, shareTable } from './phases.js';
import { endPlainGuests } from './plain-qemu.js';
import { measureRelay, relayTable } from './relay.js';
import { copyTable, downtimeTable, totalTable } from './report.js';

const PARTS = ['moves', 'phases', 'abort', 'relay', 'network', 'lost-pages'] as const;
const ONLY_WHEN_NAMED: readonly Part[] = ['network', 'lost-pages'];
type Part = (typeof PARTS)[number];
const RELAY_BYTES = 2 ** 30;

const USAGE = `usage: npm run bench [-- --runs N] [-- --only ${PARTS.join('|')}]

  --runs N      moves of each kind and guest (default 5)
  --only PART   moves: Kororā beside QEMU alone; phases: where a move's time goes;
                abort: how soon it takes effect; relay: the channel by itself;
                network (only when named; needs network namespaces): what a client of the guest notices;
                lost-pages (only when named): whether QEMU by itself sends every changed page`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '5' },
      only: { type: 'string' },
      help: { type: 'boolean', default: false },
      'guest-dir': { type: 'string' },
      'temporal-binary': { type: 'string' },
    },
  });
  const runs = Number(values.runs);
  const parts = PARTS.filter((part) => (values.only === undefined ? !ONLY_WHEN_NAMED.includes(part) : values.only === part));
  const [guestDir, temporalBinary] = [values['guest-dir'], values['temporal-binary']];
  if (values.help || !guestDir || !temporalBinary || parts.length === 0 || !Number.isSafeInteger(runs) || runs < 1) {
    process.stderr.write(`${USAGE}\n`);
    return values.help ? 0 : 2;
  }
  const command = `npm run bench${values.only || runs !== 5 ? ` -- --runs ${runs}${values.only ? ` --only ${values.only}` : ''}` : ''}`;
  const sections: string[] = [await headline(command, runs, temporalBinary)];
  if (parts.includes('moves') || parts.includes('phases')) {
    sections.push(...(await withTestbed({ guestDir, temporalBinary }, (testbed) => movesAndPhases(testbed, parts, runs))));
  }
  if (parts.includes('abort')) {
    say('abort');
    const moves = await withTestbed({ guestDir, temporalBinary }, (testbed) => measureAborts(testbed, runs));
    sections.push('## An abort in the memory rounds', abortTable(moves));
  }
  if (parts.includes('relay')) {
    say('relay');
    sections.push('## The channel by itself', relayTable(await measureRelay({ runs, bytes: RELAY_BYTES })));
  }
  if (parts.includes('network')) {
    const network = await createBenchNetwork();
    try {
      const options = { guestDir, temporalBinary, places: network.hosts, channelTap: network.channelTap() };
      sections.push('## What a client of the guest notices', networkTable(await withTestbed(options, (testbed) => measureNetwork(testbed, network, runs))));
    } finally {
      await network.remove();
    }
  }
  if (parts.includes('lost-pages')) {
    const results = await withTestbed({ guestDir, temporalBinary }, (testbed) => measureLostPages(testbed, runs, say));
    sections.push('## Does QEMU alone send every changed page?', lostPagesTable(results));
  }
  process.stdout.write(`${sections.join('\n\n')}\n`);
  return 0;
}

async function movesAndPhases(testbed: Testbed, parts: readonly Part[], runs: number): Promise<readonly string[]> {
  const cells: CellResult[] = [];
  for (const cell of parts.includes('moves') ? CELLS : CELLS.slice(0, 1)) cells.push(await measureCell(testbed, cell, runs, say));
  const sections: string[] = [];
  if (parts.includes('moves')) {
    sections.push(
      '## Moves: Kororā beside QEMU alone',
      'Turn by turn, one guest each; the other one stands still meanwhile. (a) is `migrate` over a unix socket with Kororā’s limits, without attestation, encryption, integrity or ownership.',
      downtimeTable(cells),
      totalTable(cells),
      copyTable(cells),
    );
  }
  const [idle] = cells;
  if (parts.includes('phases') && idle) {
    say('single steps');
    sections.push(
      `## Where the time of a Kororā move goes (${nameOf(idle.cell)})`,
      shareTable(idle.korora),
      activityTable(idle.korora),
      gapTable(idle.korora),
      pauseTable(cells),
      cpuTable(idle.korora),
      partTable(await measureParts(testbed, runs)),
    );
  }
  return sections;
}

/** A signal ends what was started too. */
async function withTestbed<T>(options: Omit<TestbedOptions, 'root'>, work: (testbed: Testbed) => Promise<T>): Promise<T> {
  // Short: unix sockets live below it.
  const root = await mkdtemp('/tmp/kb-');
  say('starting two hosts and Temporal');
  const testbed = await startTestbed({ root, ...options });
  const interrupted = new Promise<never>((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => reject(new Error(`ended by ${signal}`)));
  });
  try {
    return await Promise.race([work(testbed), interrupted]);
  } finally {
    await endPlainGuests();
    await testbed.stop();
    await rm(root, { recursive: true, force: true });
  }
}

async function headline(command: string, runs: number, temporalBinary: string): Promise<string> {
  const hostId = HostId.parse('bench');
  const access = createLocalHost(hostId);
  const [facts, swtpm, { stdout }] = await Promise.all([
    createQemu({ access, hostId }).facts(),
    createSwtpmManager({ access, hostId, caDir: '' }).version(),
    promisify(execFile)(temporalBinary, ['--version']),
  ]);
  const temporal = /version ([\d.]+) \(Server ([\d.]+)/.exec(stdout);
  return [
    `\`${command}\`: n = ${runs} a row, median (min–max).`,
    `Node ${process.versions.node}, QEMU ${facts.version} (${facts.accelerator}), swtpm ${swtpm ?? 'none'}, Temporal CLI ${temporal?.[1] ?? '?'} (server ${temporal?.[2] ?? '?'}), ${availableParallelism()} cores, both hosts on one machine.`,
  ].join('\n');
}

function say(text: string): void {
  process.stderr.write(`[bench] ${text}\n`);
}

process.exit(await main());
