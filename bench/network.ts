/**
 * What a client of the guest notices of a move: the longest time between two echoes on one TCP connection through a
 * switch (a line every 10 ms), beside the pause, which is STOP of the source's QEMU to RESUME of the destination's.
 * The gap is longer by what TCP takes to send again what arrived at the stopped source.
 */
import { readFile } from 'node:fs/promises';
import { Evidence } from '../domain/evidence.js';
import { type EchoClient, longestGapMs, openEchoClient } from '../infra/testbed/echo.js';
import { BRIDGE, type Namespaces, createNamespaces } from '../infra/testbed/namespaces.js';
import type { Testbed } from '../infra/testbed/testbed.js';
import { spread, table } from './table.js';

const VM = 'talker';
const GUEST = '10.77.0.1';
/** Echoes before a move, so that it falls into a steady flow, and after it. */
const SETTLE_ECHOES = 100;

export interface NoticedMove {
  readonly gapMs: number;
  readonly pauseMs: number;
  /** The longest time between two echoes in the flow before the move: what the machine itself does. */
  readonly usualGapMs: number;
}

export function createBenchNetwork(): Promise<Namespaces> {
  return createNamespaces('10.77.0.2/24');
}

export async function measureNetwork(testbed: Testbed, network: Namespaces, runs: number): Promise<readonly NoticedMove[]> {
  await testbed.client.startVm(await testbed.guest(VM, { dirtyMibPerSecond: 8, network: { mac: '52:54:00:4b:72:01', bridge: BRIDGE, address: `${GUEST}/24` } }), 'host-a');
  const client = openEchoClient(network, GUEST);
  try {
    const moves: NoticedMove[] = [];
    for (let run = 0; run < runs; run++) moves.push(await noticedMove(testbed, client, run % 2 === 0 ? 'host-b' : 'host-a'));
    return moves;
  } finally {
    await client.stop();
  }
}

async function noticedMove(testbed: Testbed, client: EchoClient, destination: string): Promise<NoticedMove> {
  const fromMs = Date.now();
  await client.untilMore(SETTLE_ECHOES, 120_000);
  const { runId } = await testbed.client.migrate({ vmId: VM, destination });
  const { evidencePath } = await testbed.client.result(VM, runId);
  await client.untilMore(SETTLE_ECHOES);
  const { timings } = Evidence.parse(JSON.parse(await readFile(evidencePath, 'utf8')));
  if (!timings.source || !timings.destination) throw new Error('a move without timings');
  const { pausedAtMs } = timings.source;
  return {
    gapMs: longestGapMs(client.echoes, pausedAtMs, timings.endedAtMs),
    pauseMs: timings.destination.runningAtMs - pausedAtMs,
    usualGapMs: longestGapMs(client.echoes, fromMs, timings.startedAtMs),
  };
}

export function networkTable(moves: readonly NoticedMove[]): string {
  const rows = [
    ['pause of the guest', moves.map((m) => m.pauseMs)],
    ['longest time between two echoes, across the pause', moves.map((m) => m.gapMs)],
    ['… in the second before the move', moves.map((m) => m.usualGapMs)],
  ] as const;
  return table(['a client with a line every 10 ms', 'n', 'ms'], rows.map(([name, values]) => [name, String(values.length), spread(values)]));
}
