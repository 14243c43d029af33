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
export type Press = keyof typeof PRESSES;

const LATE_PRESSES = {
  terminated: 'its workflow is terminated',
  reset: 'its workflow is reset',
  again: 'its order is used again',
} as const;

/** What people must do, beside nothing, before one host runs the VM and the other has nothing of it: docs/runbook.md has it. */
export type WayOut = 'reconcile' | 'restart of the source' | 'restart of the destination' | 'fence';
/** How the last run ended, where the VM is then, and what had to be done for it. */
export type ButtonEnd = `${'terminated' | OutcomeKind}, at the ${'source' | 'destination'}${'' | ` by ${WayOut}`}`;

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
  /** More than one only where two hosts, or two runs, race. */
  readonly ends: readonly ButtonEnd[];
  readonly notApplicable: string | null;
}

export function allButtons(steps: Readonly<Record<string, Step>> = STEPS): readonly Button[] {
  const places = allCells(steps).filter(({ kind, fault }) => kind !== 'message' && fault === 'killed-after');
  return [...places.flatMap(pressedAt), ...lateButtons()];
}

function pressedAt({ kind, step, on, place, isUndo, cause, notApplicable }: Cell): readonly Button[] {
  const key = kind === 'write' ? `write ${place} (${on})` : `${step}: ${on} ${place}${isUndo ? ' (undo)' : ''}`;
  const isReading = kind === 'activity' && notApplicable !== null;
  return (Object.keys(PRESSES) as Press[]).map((press) => ({
    name: `${key} · ${PRESSES[press]}`,
    kind: 'button',
    on,
    place,
    moment: { kind: kind === 'write' ? 'write' : 'activity', at: press.endsWith('-before') ? 'before' : 'after' },
    press: press === 'reset-before' ? 'reset' : press === 'again-after' ? 'again' : 'terminate',
    cause,
    ends: [],
    notApplicable: kind === 'write' ? notApplicable : isReading ? (ALIKE[press] ?? null) : null,
  }));
}

const ALIKE: { readonly [P in Press]?: string } = {
  'terminated-after': `it changes nothing, so this is: ${PRESSES['terminated-before']}`,
  'again-after': `it changes nothing, so this is: ${PRESSES['reset-before']}`,
};

function lateButtons(): readonly Button[] {
  const late = (moment: 'ended' | 'in-doubt', what: string, cause: Button['cause'], press: keyof typeof LATE_PRESSES, ends: readonly ButtonEnd[]): Button => ({
    name: `${what} · ${LATE_PRESSES[press]}`,
    kind: 'button',
    on: 'control',
    place: moment === 'ended' ? 'end' : 'doubt',
    moment,
    press: press === 'terminated' ? 'terminate' : press,
    cause,
    ends,
    notApplicable: null,
  });
  return [
    ...(['reset', 'again'] as const).flatMap((press) => [
      late('ended', 'a move that ended moved', null, press, []),
      late('ended', 'a move that ended refused', 'wrapping-fails', press, []),
      late('ended', 'a move that ended source-resumed', 'stop-copy-fails', press, []),
    ]),
    ...(['terminated', 'reset', 'again'] as const).map((press) => late('in-doubt', 'a move that waits for a destination without power', 'destination-off', press, [])),
  ];
}
