/** One row of STEPS and one thing that goes wrong there: what must then be so of the move. */
import { expect } from 'vitest';
import { failure } from '../../domain/failures.js';
import { STEPS, type StepName } from '../../domain/steps.js';
import { type Fault, Hold, type Planned } from './faults.js';
import { named } from './history.js';
import { type Ended, type Move, problemsOf, startMove } from './moves.js';
import type { Stage } from './stage.js';
import { BASES, BREAKS_IN, type Base, type Ending, type Row, doneUntil } from './step-rows.js';

export const refusal = failure('FOLDER_NOT_PRIVATE', { folder: 'a folder', host: 'a host', problem: 'it is made up' });
/** The table of failures says that it may be tried again. */
export const trouble = failure('HOST_COMMAND_FAILED', { command: 'a command', host: 'a host', problem: 'it is made up' });

export interface Case {
  readonly row: Row;
  readonly fault: Fault;
  /** What the test does once the move is under way. */
  readonly drive: (move: Move) => Promise<void>;
  readonly expected: Ending;
  /** Whether the workflow schedules the activity of the row once more. */
  readonly isAskedAgain?: true;
}

/** Tried until they succeed: undos but the closing of sessions, the end of the source, and evidence. */
const ENSURED: readonly string[] = ['settleSource', 'settleDestination', 'resolveSource', 'fenceDestination', 'recordEvidence'];
/** A host that does not do these is not waited for. */
const DISPENSABLE: readonly string[] = ['closeSession', 'giveReceipt'];
const COPIES: readonly string[] = ['copyMemory', 'stopAndCopy', 'verifyImage'];

const isEnsured = ({ activity }: Row) => ENSURED.includes(activity);
/** What is a step on the way, and no more than that. */
const breaksMove = (row: Row) => !isEnsured(row) && !DISPENSABLE.includes(row.activity);
const baseOf = ({ base }: Row): Base => BASES[base];

const nothing = async () => undefined;

export function refuses(row: Row): Case {
  const fault: Fault = { kind: 'fails', failure: refusal };
  if (breaksMove(row)) return { row, fault, drive: nothing, expected: { ...BREAKS_IN[row.step], codes: [refusal.code] } };
  if (!isEnsured(row)) return { row, fault, drive: nothing, expected: baseOf(row) };
  // Nobody knows what is so on a host that refuses to say: people are told why it does, and it is asked again.
  const drive = async (move: Move) => {
    await move.untilStatus(`people to be told of the refusal of the ${row.on}`, ({ nextAction }) => nextAction?.includes(refusal.message) ?? false);
  };
  return { row, fault, drive, expected: baseOf(row), isAskedAgain: true };
}

export function failsThrice(row: Row): Case {
  const expected = breaksMove(row) ? { ...BREAKS_IN[row.step], codes: [trouble.code] } : baseOf(row);
  return { row, fault: { kind: 'fails', failure: trouble, times: 3 }, drive: nothing, expected };
}

export function isSilent(row: Row): Case {
  if (breaksMove(row)) return { row, fault: { kind: 'is-silent' }, drive: nothing, expected: { ...BREAKS_IN[row.step], codes: ['HOST_UNREACHABLE'] } };
  if (!isEnsured(row)) return { row, fault: { kind: 'is-silent' }, drive: nothing, expected: baseOf(row) };
  if (row.on === 'control') return { row, fault: { kind: 'is-silent', times: 1 }, drive: nothing, expected: baseOf(row) };
  // Its second try waits until people were told what to do.
  const then = new Hold();
  const drive = async (move: Move) => {
    await then.reached(`the second try of ${row.name}`, move.lastSeen);
    await move.untilStatus(`people to be told of the silence of the ${row.on}`, ({ nextAction }) => nextAction?.startsWith(`Bring the worker of ${move.order[row.on as 'source' | 'destination']} back`) ?? false);
    then.release();
  };
  return { row, fault: { kind: 'is-silent', times: 1, then }, drive, expected: baseOf(row) };
}

/**
 * A step that is under way when the move is cancelled ends well, and what takes the next one back stands already; but a copy ends at once.
 */
function cancelledIn({ step, activity }: Row): Omit<Ending, 'codes'> {
  const steps = Object.keys(STEPS) as StepName[];
  const next = steps[steps.indexOf(step) + 1];
  return COPIES.includes(activity) || !next ? BREAKS_IN[step] : BREAKS_IN[next];
}

export function isCancelled(row: Row): Case {
  const isCopy = COPIES.includes(row.activity);
  const hold = new Hold(isCopy ? 'goes-on' : 'stays');
  const drive = async (move: Move) => {
    await hold.reached(`the ${row.on} to come to ${row.activity}`, move.lastSeen);
    await move.handle.cancel();
    if (isCopy) return;
    // An answer comes after all that the workflow was told before.
    await move.status();
    hold.release();
  };
  const expected = breaksMove(row) ? { ...cancelledIn(row), codes: ['ABORTED'] } : baseOf(row);
  return { row, fault: { kind: 'is-held', hold }, drive, expected };
}

export async function play(stage: Stage, { row, fault, drive, expected, isAskedAgain }: Case): Promise<void> {
  const base = baseOf(row);
  const planned: Planned = { on: row.on, activity: row.activity, fault };
  const move = await startMove(stage, [planned, ...base.plan()]);
  try {
    await Promise.all([base.drive?.(move), drive(move)]);
    const ended = await move.end();
    expectEnding(move, ended, row, { ...expected, cancels: base.cancels ?? [], again: isAskedAgain ? [named(row)] : [] });
    if (expected.outcome === 'moved') expectReceipts(move, row, fault);
  } finally {
    move.hosts.close();
  }
}

interface Expected extends Ending {
  readonly cancels: readonly string[];
  readonly again: readonly string[];
}

function expectEnding(move: Move, { result, codes, scheduled, ...ended }: Ended, row: Row, expected: Expected): void {
  const { outcome } = result;
  const isMoved = expected.outcome === 'moved';
  // Of a source that did not say in its preflight what it has, nobody knows whether the VM is there; one that is cancelled in it says it.
  const isUnheard = !isMoved && row.step === 'preflight' && row.on === 'source' && !expected.codes.includes('ABORTED');
  expect({ codes, kind: outcome.kind, runsOn: outcome.runsOn }).toEqual({ codes: expected.codes, kind: expected.outcome, runsOn: isMoved ? move.order.destination : isUnheard ? null : move.order.source });
  if (isMoved) expect(scheduled.map(named).sort()).toEqual([...doneUntil('record'), ...expected.again].sort());
  else {
    const [forward, back] = [scheduled.filter(({ isAfter }) => !isAfter), scheduled.filter(({ isAfter }) => isAfter)];
    expect(back.map(named)).toEqual([...withAgain(expected), 'control: recordEvidence']);
    if (!row.isUndo) expect(forward.map(named)).toEqual(doneUntil(row.step));
  }
  expect(scheduled.filter(({ isAfter, isCancelled }) => isCancelled && (isMoved || isAfter)).map(named)).toEqual(expected.cancels);
  expect(problemsOf(move, { result, codes, scheduled, ...ended })).toEqual([]);
}

/** Right after it was asked first. */
function withAgain({ undos, again }: Expected): readonly string[] {
  const first = undos.findIndex((undo) => again.includes(undo)) + 1;
  return [...undos.slice(0, first), ...again, ...undos.slice(first)];
}

/** A host that does not give one is not waited for, and the evidence says so. */
function expectReceipts({ hosts }: Move, { on, activity }: Row, fault: Fault): void {
  const isMissing = (role: 'source' | 'destination') => activity === 'giveReceipt' && on === role && fault.kind !== 'is-held';
  const given = hosts.recorded.map(({ receipts }) => [receipts.source?.receipt.role ?? null, receipts.destination?.receipt.role ?? null]);
  expect(given).toEqual([[isMissing('source') ? null : 'source', isMissing('destination') ? null : 'destination']]);
}
