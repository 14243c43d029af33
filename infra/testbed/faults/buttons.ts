/**
 * The fault matrix, continued: what people may do to the workflow of a move past Kororā, with the buttons of Temporal's web UI
 * and with an order that they have. Pure. Hosts cannot tell a reset from a terminate that is followed by a run with the same order,
 * so each moment is tried with one of the two: a reset before the effect, which then comes beside the new run; an order
 * that is used again after it. Of messages there are no cells: a button does nothing to a network, and every moment between two messages
 * is one between two writes or steps.
 */
import { STEPS, type Step } from '../../../domain/steps.js';
import { type Cause, type Cell, type OutcomeKind, type Side, allCells } from './cells.js';

export const PRESSES = {
  'terminated-before': 'its workflow is terminated before its effect',
  'terminated-after': 'its workflow is terminated after its effect',
  'reset-before': 'its workflow is reset before its effect',
  'again-after': 'its workflow is terminated after its effect, and its order used again',
} as const;

const LATE_PRESSES = {
  terminated: 'its workflow is terminated',
  reset: 'its workflow is reset',
  again: 'its order is used again',
} as const;

/** What people must do, beside nothing, before one host runs the VM and the other has nothing of it: docs/runbook.md has it. */
export type WayOut = 'reconcile' | 'restart of the source' | 'restart of the destination' | 'fence';
/** How the last run ended, where the VM is then, and what had to be done for it. */
export type ButtonEnd = `${'terminated' | OutcomeKind}, at the ${'source' | 'destination'}${'' | ` by ${WayOut}`}`;

/** Places where the VM may be given away, or taken back after that, and after a move; what is before them leaves the source alone. */
export const HANDOVER: readonly string[] = ['copyMemory', 'stopAndCopy', 'verifyImage', 'settleSource', 'settleDestination', 'resolveSource', 'fenceDestination', 'relinquish', 'learn-accepted', 'learn-rejected', 'fence', 'expect', 'accept', 'reject', 'end', 'doubt'];

export interface Button {
  /** Stable; what `--only` matches. */
  readonly name: string;
  readonly kind: 'button';
  readonly on: Side;
  /** Activity or WriteName; of the late ones `end` or `doubt`. */
  readonly place: string;
  readonly moment: { readonly kind: 'activity' | 'write'; readonly at: 'before' | 'after' } | 'ended' | 'in-doubt';
  readonly press: 'terminate' | 'reset' | 'again';
  readonly cause: Cause | 'destination-off';
  /** More than one only where two hosts race. */
  readonly ends: readonly ButtonEnd[];
  readonly notApplicable: string | null;
}

/** What a button leaves, at any moment of one place. */
interface Left {
  readonly at: 'source' | 'destination';
  readonly by: WayOut | null;
  /** Of the run that comes after, where there is one. */
  readonly then: OutcomeKind;
  /** Where that run settles what the first one left, so that people need not. */
  readonly isSettledByIt?: boolean;
}

/** The order is good once, and hosts have taken the move back by themselves, or go on to do so. */
const STAYED: Left = { at: 'source', by: null, then: 'refused' };
/** Hosts hold nothing of it yet: the other run is the move. */
const NOT_BEGUN: Left = { ...STAYED, then: 'moved' };
const EXPECTED: Left = { at: 'source', by: 'restart of the destination', then: 'refused', isSettledByIt: true };
const GIVEN_BACK: Left = { ...STAYED, by: 'reconcile' };
const MOVED: Left = { ...STAYED, at: 'destination' };
/** The destination owns it, and the source knows it, but keeps what it has of it until somebody has it look. */
const KEPT: Left = { ...MOVED, by: 'restart of the source' };
/** The destination owns it, and the source has not heard of it. */
const UNHEARD: Left = { ...MOVED, by: 'reconcile' };

/** By what a name begins with, or that and the moment; STAYED elsewhere. More than one where two hosts race: whether a copy ends that nobody waits for, whether a verdict still comes over the channel. */
const LEFT: Readonly<Record<string, readonly [Left, ...Left[]]>> = {
  'preflight: source inspectSource': [NOT_BEGUN],
  'preflight: destination inspectDestination': [NOT_BEGUN],
  'openSessions: source openSession': [NOT_BEGUN],
  'openSessions: destination openSession': [NOT_BEGUN],
  'quote: source quoteHost': [NOT_BEGUN],
  'quote: destination quoteHost': [NOT_BEGUN],
  'prepare: destination prepareDestination': [EXPECTED],
  'move: source copyMemory, after': [KEPT, UNHEARD, STAYED],
  'move: source stopAndCopy, after': [KEPT],
  'move: destination verifyImage, after': [KEPT],
  'move: destination settleDestination (undo)': [GIVEN_BACK],
  'retire: source resolveSource': [MOVED],
  'record: source giveReceipt': [MOVED],
  'record: destination giveReceipt': [MOVED],
  'record: control recordEvidence': [MOVED],
  'record: source closeSession': [MOVED],
  'record: destination closeSession': [MOVED],
  'write relinquish (source)': [GIVEN_BACK],
  'write learn-accepted (source)': [KEPT],
  'write expect (destination)': [EXPECTED],
  'write accept (destination)': [KEPT, UNHEARD],
};

function endsOf(key: string, at: 'before' | 'after', press: Button['press']): readonly ButtonEnd[] {
  return (LEFT[`${key}, ${at}`] ?? LEFT[key] ?? [STAYED]).map((left) => endOf(left, press));
}

function endOf({ at, by, then, isSettledByIt = false }: Left, press: Button['press']): ButtonEnd {
  const isAgain = press !== 'terminate';
  return `${isAgain ? then : 'terminated'}, at the ${isAgain && then === 'moved' ? 'destination' : at}${by && !(isAgain && isSettledByIt) ? (` by ${by}` as const) : ''}`;
}

export function allButtons(steps: Readonly<Record<string, Step>> = STEPS): readonly Button[] {
  const places = allCells(steps).filter(({ kind, fault }) => kind !== 'message' && fault === 'killed-after');
  return [...places.flatMap(pressedAt), ...lateButtons()];
}

function pressedAt({ kind, step, on, place, isUndo, cause, notApplicable }: Cell): readonly Button[] {
  const key = kind === 'write' ? `write ${place} (${on})` : `${step}: ${on} ${place}${isUndo ? ' (undo)' : ''}`;
  const isReading = kind === 'activity' && notApplicable !== null;
  return (Object.keys(PRESSES) as (keyof typeof PRESSES)[]).map((named) => {
    const at = named.endsWith('-before') ? 'before' : 'after';
    const press = named === 'reset-before' ? 'reset' : named === 'again-after' ? 'again' : 'terminate';
    return {
      name: `${key} · ${PRESSES[named]}`,
      kind: 'button',
      on,
      place,
      moment: { kind: kind === 'write' ? 'write' : 'activity', at },
      press,
      cause,
      ends: endsOf(key, at, press),
      notApplicable: kind === 'write' ? notApplicable : isReading ? (ALIKE[named] ?? null) : null,
    };
  });
}

const ALIKE: { readonly [P in keyof typeof PRESSES]?: string } = {
  'terminated-after': `it changes nothing, so this is: ${PRESSES['terminated-before']}`,
  'again-after': `it changes nothing, so this is: ${PRESSES['reset-before']}`,
};

function lateButtons(): readonly Button[] {
  const late = (moment: 'ended' | 'in-doubt', what: string, cause: Button['cause'], press: keyof typeof LATE_PRESSES, left: Left): Button => ({
    name: `${what} · ${LATE_PRESSES[press]}`,
    kind: 'button',
    on: 'control',
    place: moment === 'ended' ? 'end' : 'doubt',
    moment,
    press: press === 'terminated' ? 'terminate' : press,
    cause,
    ends: [endOf(left, press === 'terminated' ? 'terminate' : press)],
    notApplicable: null,
  });
  return [
    ...(['reset', 'again'] as const).flatMap((press) => [
      late('ended', 'a move that ended moved', null, press, MOVED),
      late('ended', 'a move that ended refused', 'wrapping-fails', press, STAYED),
      late('ended', 'a move that ended source-resumed', 'stop-copy-fails', press, STAYED),
    ]),
    ...(['terminated', 'reset', 'again'] as const).map((press) => late('in-doubt', 'a move that waits for a destination without power', 'destination-off', press, { ...STAYED, by: 'fence' })),
  ];
}
