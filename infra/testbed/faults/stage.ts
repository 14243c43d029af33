/** One testbed of the fault matrix, whose workers ask at every point, with its one VM; and what every trial does there: moves it, and looks at everything afterwards. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { MigrationFailedError } from '../../../client/index.js';
import type { MigrationResult } from '../../../domain/status.js';
import { type ChannelSwitch, openChannelSwitch } from '../channel-switch.js';
import { type Testbed, type TestbedOptions, startTestbed } from '../testbed.js';
import { until } from '../until.js';
import { type GuestState, type Problems, copyProblems, guestProblems, workerProblems } from './checks.js';
import { TESTED_GUESTS, consoleGuest } from './console-guest.js';
import type { TestedGuest, Unsealing } from './guest.js';
import { replay } from './history.js';
import { type Injector, type Pace, startInjector, workersThatAsk } from './injector.js';
import { type HostName, resultOf } from './move.js';
import { type Baseline, baselineOf, remainsOf } from './remains.js';

const BOOT_LIMIT_MS = 120_000;

export interface RigParts extends Pick<TestbedOptions, 'guestDir' | 'temporalBinary'> {
  readonly hypervisor: keyof typeof TESTED_GUESTS;
  readonly isThrifty: boolean;
  readonly pace: Pace;
}

export interface Stage {
  readonly testbed: Testbed;
  readonly injector: Injector;
  readonly networks: Readonly<Record<HostName, ChannelSwitch>>;
  readonly guest: TestedGuest;
  readonly baseline: Baseline;
  owner: HostName;
  state: GuestState;
  /** The last cell, as long as nothing has moved after it. */
  due: string | null;
  /** Of the last move: settles when its workflow has ended. */
  moving: Promise<unknown>;
  isGivenUp: boolean;
  close(): Promise<void>;
}

export async function openStage(parts: RigParts): Promise<Stage> {
  const root = await mkdtemp('/tmp/kr-');
  const socketPath = `${root}.sock`;
  const injector = await startInjector(socketPath);
  const networks = {} as Record<HostName, ChannelSwitch>;
  const channelTap: TestbedOptions['channelTap'] = async ({ hostId, listen }) => {
    const network = await openChannelSwitch(listen);
    networks[hostId as HostName] = network;
    return network.address;
  };
  const testbed = await startTestbed({ root, ...parts, workerCommands: workersThatAsk(socketPath, parts.pace), channelTap });
  // Of this rig alone: a VM of that name on another testbed of this machine could be taken for a stranger.
  const vm = await testbed.guest(`tried-${randomBytes(3).toString('hex')}`, TESTED_GUESTS[parts.hypervisor]);
  const guest = consoleGuest(testbed, vm);
  const close = async () => {
    void injector.follow(null);
    guest.close();
    await testbed.stop();
    await injector.close();
    await Promise.all(Object.values(networks).map((network) => network.close()));
    await rm(root, { recursive: true, force: true });
    await rm(socketPath, { force: true });
  };
  try {
    await testbed.client.startVm(vm, 'host-a');
    const unsealed = await firstUnsealing(guest, 'host-a');
    return { testbed, injector, networks, guest, baseline: await baselineOf(testbed.hosts), owner: 'host-a', state: { lastCount: 0, unsealed }, due: null, moving: Promise.resolve(), isGivenUp: false, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function firstUnsealing(guest: TestedGuest, host: HostName): Promise<Unsealing> {
  const said = await until('the first unsealing of the guest', () => guest.said([host]), ({ unsealings }) => unsealings.length > 0, { limitMs: BOOT_LIMIT_MS, everyMs: 100 });
  return said.unsealings[0]!;
}

/** Everything that must be so whatever happened. */
export async function stateProblems(stage: Stage, from: HostName, isStartedAgain: boolean): Promise<Problems> {
  const { testbed, guest, owner, baseline } = stage;
  const works = await guestProblems(guest, from === owner ? [owner] : [from, owner], stage.state, isStartedAgain);
  stage.state = works.state;
  return [
    ...works.problems,
    ...(await copyProblems(testbed, guest, owner)),
    ...(await remainsOf(testbed.hosts, guest.vmId, owner, baseline)),
    ...workerProblems(testbed),
  ];
}

export async function markHere(stage: Stage): Promise<void> {
  stage.state = { ...stage.state, lastCount: await stage.guest.mark(stage.owner) };
}

export interface EndedMove {
  readonly result: MigrationResult;
  readonly codes: readonly string[];
  readonly runId: string;
}

export function moveAndWait(stage: Stage, destination: HostName): Promise<EndedMove> {
  const moving = startAndWait(stage, destination);
  stage.moving = moving;
  return moving;
}

async function startAndWait(stage: Stage, destination: HostName): Promise<EndedMove> {
  const { testbed, guest: { vmId } } = stage;
  const { runId } = await testbed.client.migrate({ vmId, destination });
  try {
    return { result: await resultOf(testbed, vmId, runId, () => stage.isGivenUp), codes: [], runId };
  } catch (error) {
    if (!(error instanceof MigrationFailedError) || !error.result) throw error;
    return { result: error.result, codes: error.failures.map((f) => f.code), runId };
  }
}

export async function replayProblems(history: Parameters<typeof replay>[0], workflowId: string): Promise<Problems> {
  return replay(history, workflowId).then(() => [], (error: unknown) => [`its history does not replay: ${String(error)}`]);
}
