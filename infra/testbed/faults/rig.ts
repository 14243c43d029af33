/**
 * Where the cells of the fault matrix run, one after the other: one testbed whose workers ask at every point, one VM that is
 * wherever the cell before left it. A cell is a move with a fault, all checks, and a move without; or, of a thrifty rig, the
 * next cell in place of that one, where it is one whose fault leaves nothing but a move that succeeds.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { MigrationFailedError, workflowIdOf } from '../../../client/index.js';
import { problemOf } from '../../../domain/failures.js';
import type { MigrationResult } from '../../../domain/status.js';
import { type ChannelSwitch, openChannelSwitch } from '../channel-switch.js';
import { diagnose } from '../diagnosis.js';
import { statusText } from '../end-of-move.js';
import { type Testbed, type TestbedOptions, startTestbed } from '../testbed.js';
import { answered, until } from '../until.js';
import { type Cell, type OutcomeKind, forSmallGuest } from './cells.js';
import { type GuestState, type Problems, copyProblems, evidenceProblems, faultProblems, guestProblems, outcomeProblems, phaseProblems, workerProblems } from './checks.js';
import { TESTED_GUESTS, consoleGuest } from './console-guest.js';
import type { TestedGuest, Unsealing } from './guest.js';
import { msUntilResumed, replay, stepsOf } from './history.js';
import { type Injector, type Pace, startInjector, workersThatAsk } from './injector.js';
import { type HostName, moveOf, otherHost, resultOf } from './move.js';
import { type Baseline, baselineOf, remainsOf } from './remains.js';
import { type Death, deathOf } from './orchestrator.js';
import { scriptOf } from './script.js';

const CELL_LIMIT_MS = 180_000;
/** For what is still under way on a testbed that is given up. */
const GIVE_UP_LIMIT_MS = 60_000;
const BOOT_LIMIT_MS = 120_000;

export type Trial = Cell | Death;

export interface CellResult {
  readonly cell: Trial;
  /** Null where the move did not end. */
  readonly outcome: OutcomeKind | null;
  readonly problems: Problems;
  /** Of a source that resumed: how long after the first step broke. */
  readonly resumedAfterMs: number | null;
  /** Of a cell that failed: what the testbed looked like. */
  readonly diagnosis: string | null;
  readonly elapsedMs: number;
}

type Ended = Pick<CellResult, 'outcome' | 'problems' | 'resumedAfterMs'>;

export interface Rig {
  /** Never throws: what goes wrong is in the result, and the next cell gets a new testbed. */
  run(cell: Trial): Promise<CellResult>;
  /** Throws where the move is due that follows the last cell, and fails. */
  close(): Promise<void>;
}

export interface RigParts extends Pick<TestbedOptions, 'guestDir' | 'temporalBinary'> {
  readonly hypervisor: keyof typeof TESTED_GUESTS;
  readonly isThrifty: boolean;
  readonly pace: Pace;
}

export function createRig(parts: RigParts): Rig {
  let stage: Stage | null = null;
  return {
    async run(asked) {
      const cell = parts.hypervisor === 'fake' && asked.kind !== 'orchestrator' ? forSmallGuest(asked) : asked;
      const startedAt = performance.now();
      let diagnosis: string | null = null;
      let trial: Promise<Ended> | null = null;
      let ended: Ended;
      try {
        stage ??= await openStage(parts);
        trial = runTrial(stage, cell);
        ended = await inTime(stage, 'the end of the cell', trial);
        if (!parts.isThrifty && ended.problems.length === 0) ended = { ...ended, problems: await inTime(stage, 'the end of the move after it', moveOn(stage)) };
      } catch (error) {
        ended = { outcome: null, problems: [problemOf(error)], resumedAfterMs: null };
      }
      if (ended.problems.length > 0 && stage) {
        diagnosis = await diagnose(stage.testbed);
        await giveUp(stage, trial);
        stage = null;
      }
      return { cell, ...ended, diagnosis, elapsedMs: performance.now() - startedAt };
    },
    async close() {
      if (!stage) return;
      const [open, last] = [stage, stage.due];
      stage = null;
      try {
        const problems = await moveOn(open);
        if (problems.length > 0) throw new Error(`after ${last}: ${problems.join('; ')}`);
      } finally {
        await open.close();
      }
    },
  };
}

interface Stage {
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

async function openStage(parts: RigParts): Promise<Stage> {
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

async function runTrial(stage: Stage, trial: Trial): Promise<Ended> {
  const before = stage.due;
  if (before !== null && !isToMove(trial)) {
    const problems = await moveOn(stage);
    if (problems.length > 0) return { outcome: null, problems: problems.map((problem) => `of the cell before, ${before}: ${problem}`), resumedAfterMs: null };
  }
  const { testbed, injector } = stage;
  const move = moveOf(testbed, stage.networks, stage.guest, stage.owner);
  await markHere(stage);
  const death = trial.kind === 'orchestrator' ? deathOf(trial, move) : null;
  const fault = trial.kind === 'orchestrator' ? null : scriptOf(trial, move);
  const accident = injector.follow(death?.script ?? fault?.script ?? null);
  const { result, codes, runId } = await Promise.race([accident, ...(death ? [death.failed] : []), moveAndWait(stage, move.destination)]);
  void injector.follow(null);
  await Promise.race([accident, Promise.all([death?.over(), fault?.over()])]);

  stage.owner = result.outcome.kind === 'moved' ? move.destination : move.source;
  const history = await testbed.temporal.workflow.getHandle(workflowIdOf(stage.guest.vmId), runId).fetchHistory();
  const steps = stepsOf(history);
  const ended = { outcome: result.outcome.kind, resumedAfterMs: result.outcome.kind === 'source-resumed' ? msUntilResumed(steps) : null };
  const problems = [
    ...(fault && trial.kind !== 'orchestrator' ? [...faultProblems(trial, move, fault, steps), ...outcomeProblems(trial, move, fault, result, codes)] : []),
    ...(death && !death.hasHappened() ? ['nothing died: the move has fewer points'] : []),
    ...phaseProblems(result),
    ...(await evidenceProblems(testbed, result)),
    ...(await stateProblems(stage, move.source, codes.includes('VM_REBOOTED'))),
    ...(await replayProblems(history, workflowIdOf(stage.guest.vmId))),
  ];
  if (problems.length > 0) return { ...ended, problems: stage.due === null ? problems : [...problems, `or the cell before left something: ${stage.due}`] };
  stage.due = trial.name;
  return { ...ended, problems };
}

/** Whether it can take the place of a move without a fault. */
export function isToMove(trial: Trial): boolean {
  return trial.kind !== 'orchestrator' && isDeepStrictEqual(trial.outcomes, ['moved']);
}

/** It moves again, with no fault, where nothing has since the last cell. */
async function moveOn(stage: Stage): Promise<Problems> {
  if (stage.due === null) return [];
  const problems = await moveOnce(stage);
  stage.due = null;
  return problems.map((problem) => `in the move after it: ${problem}`);
}

async function moveOnce(stage: Stage): Promise<Problems> {
  await markHere(stage);
  const from = stage.owner;
  const { result, codes } = await moveAndWait(stage, otherHost(from));
  if (result.outcome.kind !== 'moved') return [`it ended ${result.outcome.kind}: ${codes.join(', ')}`];
  stage.owner = otherHost(from);
  return stateProblems(stage, from, false);
}

/** Everything that must be so whatever happened. */
async function stateProblems(stage: Stage, from: HostName, isStartedAgain: boolean): Promise<Problems> {
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

async function markHere(stage: Stage): Promise<void> {
  stage.state = { ...stage.state, lastCount: await stage.guest.mark(stage.owner) };
}

interface EndedMove {
  readonly result: MigrationResult;
  readonly codes: readonly string[];
  readonly runId: string;
}

function moveAndWait(stage: Stage, destination: HostName): Promise<EndedMove> {
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

async function replayProblems(history: Parameters<typeof replay>[0], workflowId: string): Promise<Problems> {
  return replay(history, workflowId).then(() => [], (error: unknown) => [`its history does not replay: ${String(error)}`]);
}

/** Ends what still waits on the testbed before the testbed ends: a client that is cut off in mid-call throws where nobody can catch it. */
async function giveUp(stage: Stage, trial: Promise<unknown> | null): Promise<void> {
  const workflowId = workflowIdOf(stage.guest.vmId);
  stage.isGivenUp = true;
  await stage.testbed.temporal.workflow.getHandle(workflowId).terminate('the cell failed').catch(() => undefined); // it may have ended
  await answered(`what is under way of ${workflowId}`, Promise.allSettled([trial, stage.moving]), { limitMs: GIVE_UP_LIMIT_MS }).catch((error: unknown) => console.error(problemOf(error)));
  await stage.close();
}

function inTime<T>({ testbed, guest }: Stage, what: string, work: Promise<T>): Promise<T> {
  return answered(what, work, { limitMs: CELL_LIMIT_MS, tell: () => statusText(testbed.client, guest.vmId) });
}
