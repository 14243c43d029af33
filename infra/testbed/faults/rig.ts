/**
 * Where the cells of the fault matrix run, one after the other: one testbed whose workers ask at every point, one VM that is
 * wherever the cell before left it. A cell is a move with a fault, all checks, and a move without; or, of a thrifty rig, the
 * next cell in place of that one, where it is one whose fault leaves nothing but a move that succeeds.
 */
import { isDeepStrictEqual } from 'node:util';
import { workflowIdOf } from '../../../client/index.js';
import { problemOf } from '../../../domain/failures.js';
import { diagnose } from '../diagnosis.js';
import { statusText } from '../end-of-move.js';
import { answered } from '../until.js';
import { runButton } from './button-trial.js';
import type { Button, ButtonEnd } from './buttons.js';
import { type Cell, type OutcomeKind, forSmallGuest } from './cells.js';
import { type Problems, evidenceProblems, faultProblems, outcomeProblems, phaseProblems } from './checks.js';
import { msUntilResumed, stepsOf } from './history.js';
import { moveOf, otherHost } from './move.js';
import { type Death, deathOf } from './orchestrator.js';
import { scriptOf } from './script.js';
import { type RigParts, type Stage, markHere, moveAndWait, openStage, replayProblems, stateProblems } from './stage.js';

const CELL_LIMIT_MS = 180_000;
/** For what is still under way on a testbed that is given up. */
const GIVE_UP_LIMIT_MS = 60_000;

export type Trial = Cell | Button | Death;

export interface CellResult {
  readonly cell: Trial;
  /** Null where the move did not end. */
  readonly outcome: OutcomeKind | ButtonEnd | null;
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

export function createRig(parts: RigParts): Rig {
  let stage: Stage | null = null;
  return {
    async run(asked) {
      const cell = parts.hypervisor === 'fake' && isCell(asked) ? forSmallGuest(asked) : asked;
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

async function runTrial(stage: Stage, trial: Trial): Promise<Ended> {
  const before = stage.due;
  if (before !== null && !isToMove(trial)) {
    const problems = await moveOn(stage);
    if (problems.length > 0) return { outcome: null, problems: problems.map((problem) => `of the cell before, ${before}: ${problem}`), resumedAfterMs: null };
  }
  const { problems, ...ended } = trial.kind === 'button' ? { ...(await runButton(stage, trial)), resumedAfterMs: null } : await runFault(stage, trial);
  if (problems.length > 0) return { ...ended, problems: stage.due === null ? problems : [...problems, `or the cell before left something: ${stage.due}`] };
  stage.due = trial.name;
  return { ...ended, problems };
}

async function runFault(stage: Stage, trial: Cell | Death): Promise<Ended> {
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
  return { ...ended, problems };
}

/** Whether it can take the place of a move without a fault. */
export function isToMove(trial: Trial): boolean {
  return isCell(trial) && isDeepStrictEqual(trial.outcomes, ['moved']);
}

function isCell(trial: Trial): trial is Cell {
  return trial.kind !== 'orchestrator' && trial.kind !== 'button';
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
