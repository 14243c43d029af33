/**
 * The fault matrix, enumerated: every activity of domain/steps.ts, do and undo, with every fault; every write of the
 * ownership record and every message of the channel with the faults of theirs. Pure. What cannot be says why; what the
 * tables below do not know throws, so that a step, an event or an undo without cells is noticed.
 */
import { STEPS, type Step, type StepName } from '../../../domain/steps.js';
import type { MessageName, WriteName } from './points.js';

export const STEP_FAULTS = {
  'fails-before': 'fails before its effect',
  'reply-lost': 'fails after its effect, the reply is lost',
  'runs-twice': 'runs twice',
  'undo-runs-twice': 'undo runs twice',
  'undo-fails-once': 'undo fails once',
  'heartbeat-lost': 'its heartbeats are lost',
  'killed-before': 'SIGKILL of its worker before its effect',
  'killed-after': 'SIGKILL of its worker after its effect',
  'control-killed': 'SIGKILL of the control worker during it',
  aborted: 'abort during it',
} as const;
export type StepFault = keyof typeof STEP_FAULTS;

export const PLACE_FAULTS = {
  lost: 'is lost',
  'killed-before': 'SIGKILL of its worker before it',
  'killed-after': 'SIGKILL of its worker after it',
  'cut-before': 'the network is cut before it',
  'cut-after': 'the network is cut after it',
  'half-open-before': 'the network swallows everything from before it',
  'half-open-after': 'the network swallows everything from after it',
  delayed: 'the network holds it back for a while',
} as const;
export type PlaceFault = keyof typeof PLACE_FAULTS;

export type Side = 'source' | 'destination' | 'control';
export type OutcomeKind = 'moved' | 'source-resumed' | 'refused';

/** What must break first so that a place is reached; null where a clean move reaches it. */
export type Cause = 'wrapping-fails' | 'prepared-in-vain' | 'stop-copy-fails' | 'destination-dies-undecided' | 'destination-fenced' | null;

export interface Cell {
  /** Stable; what `--only` matches. */
  readonly name: string;
  readonly kind: 'activity' | 'write' | 'message';
  readonly on: Side;
  /** Activity, WriteName or MessageName. */
  readonly place: string;
  readonly fault: StepFault | PlaceFault;
  readonly step: StepName | null;
  readonly isUndo: boolean;
  readonly cause: Cause;
  /** How the move may end. More than one only where two hosts race. */
  readonly outcomes: readonly OutcomeKind[];
  /** Why there is no such case; null where there is. */
  readonly notApplicable: string | null;
}

export function allCells(steps: Readonly<Record<string, Step>> = STEPS): readonly Cell[] {
  return [
    ...Object.entries(steps).flatMap(([step, { does, undo }]) => [
      ...does.flatMap(({ on, activity, changesNothing = false }) => stepCells(step as StepName, on, activity, { isUndo: false, changesNothing })),
      ...undo.flatMap(({ on, activity }) => stepCells(step as StepName, on, activity, { isUndo: true, changesNothing: false })),
    ]),
    ...Object.keys(WRITES).flatMap((write) => placeCells('write', write, WRITES[write as WriteName])),
    ...Object.keys(MESSAGES).flatMap((message) => placeCells('message', message, MESSAGES[message as MessageName])),
  ];
}

/** The same for a guest of a few MiB, as a fake one: it may have moved before its source hears of an abort. */
export function forSmallGuest(cell: Cell): Cell {
  return cell.fault === 'aborted' && cell.step === 'move' && !cell.isUndo ? { ...cell, outcomes: EITHER } : cell;
}

interface ActivityKind {
  readonly isUndo: boolean;
  readonly changesNothing: boolean;
}

function stepCells(step: StepName, on: Side, activity: string, kind: ActivityKind): Cell[] {
  const { isUndo } = kind;
  const key = `${step}: ${on} ${activity}${isUndo ? ' (undo)' : ''}`;
  const cause = isUndo ? known(UNDO_CAUSES, key) : null;
  return (Object.keys(STEP_FAULTS) as StepFault[]).map((fault) => ({
    name: `${key} · ${STEP_FAULTS[fault]}`,
    kind: 'activity',
    on,
    place: activity,
    fault,
    step,
    isUndo,
    cause,
    outcomes: isUndo ? [UNWOUND[cause ?? 'stop-copy-fails']] : outcomesOf(key, fault),
    notApplicable: whyNot(fault, on, kind),
  }));
}

/** Of an activity that changes nothing: before and after its effect are one state, so that these faults are each another one of the table. */
const ALIKE: { readonly [F in StepFault]?: string } = {
  'killed-after': 'it changes nothing, so this is: SIGKILL of its worker before its effect',
  'runs-twice': 'it changes nothing, so a second run finds what the first one found; two at once are: its heartbeats are lost',
  'reply-lost': 'it changes nothing, so its second try begins where the first one did, as in: its heartbeats are lost',
};

function whyNot(fault: StepFault, on: Side, { isUndo, changesNothing }: ActivityKind): string | null {
  if (isUndo && fault === 'fails-before') return 'of an undo this is: undo fails once';
  if (isUndo && fault === 'runs-twice') return 'of an undo this is: undo runs twice';
  if (!isUndo && (fault === 'undo-runs-twice' || fault === 'undo-fails-once')) return 'it is no undo';
  if (on === 'control' && fault === 'control-killed') return 'its worker is the control worker: SIGKILL of its worker';
  return (changesNothing && ALIKE[fault]) || null;
}

/** Where each undo is reached. */
const UNDO_CAUSES: Readonly<Record<string, Cause>> = {
  'openSessions: source closeSession (undo)': 'wrapping-fails',
  'openSessions: destination closeSession (undo)': 'wrapping-fails',
  'prepare: destination settleDestination (undo)': 'prepared-in-vain',
  'move: source settleSource (undo)': 'stop-copy-fails',
  // Only a source that relinquished asks the destination within this undo, and only an undecided one rejects.
  'move: destination settleDestination (undo)': 'destination-dies-undecided',
  'move: source resolveSource (undo)': 'destination-dies-undecided',
  'move: source fenceDestination (undo)': 'destination-fenced',
};
const UNWOUND = {
  'wrapping-fails': 'refused',
  'prepared-in-vain': 'source-resumed',
  'stop-copy-fails': 'source-resumed',
  'destination-dies-undecided': 'source-resumed',
  'destination-fenced': 'source-resumed',
} as const satisfies Record<NonNullable<Cause>, OutcomeKind>;

/** How a move ends whose step fails for good, or loses its worker's memory before or after its effect, or is aborted in it. */
interface Ends {
  readonly fails: readonly OutcomeKind[];
  readonly killedBefore: readonly OutcomeKind[];
  readonly killedAfter: readonly OutcomeKind[];
  readonly aborted: readonly OutcomeKind[];
}
const MOVED = ['moved'] as const;
const REFUSED = ['refused'] as const;
const RESUMED = ['source-resumed'] as const;
const EITHER = ['moved', 'source-resumed'] as const;
const beforePrepare = { fails: REFUSED, killedBefore: REFUSED, killedAfter: REFUSED, aborted: REFUSED };
const whatever = { fails: MOVED, killedBefore: MOVED, killedAfter: MOVED, aborted: MOVED };
/** A worker that is new knows nothing of the move, and need not: the step is done again. */
const again = { fails: REFUSED, killedBefore: MOVED, killedAfter: MOVED, aborted: REFUSED };

const ENDS: Readonly<Record<string, Ends>> = {
  'preflight: source inspectSource': again,
  'preflight: destination inspectDestination': again,
  'openSessions: source openSession': again,
  'openSessions: destination openSession': again,
  'quote: source quoteHost': beforePrepare,
  'quote: destination quoteHost': beforePrepare,
  'appraise: source appraisePeer': beforePrepare,
  'appraise: destination appraisePeer': beforePrepare,
  'wrap: source wrapSecrets': beforePrepare,
  // It ends in its own time, and the workflow is in prepare then, though it schedules nothing any more.
  'unwrap: destination unwrapSecrets': { ...beforePrepare, aborted: RESUMED },
  'prepare: destination prepareDestination': { fails: RESUMED, killedBefore: RESUMED, killedAfter: RESUMED, aborted: RESUMED },
  // stopAndCopy runs beside it and hears of its end a heartbeat later: a small guest may have moved by then.
  'move: source copyMemory': { fails: EITHER, killedBefore: EITHER, killedAfter: EITHER, aborted: EITHER },
  'move: source stopAndCopy': { fails: RESUMED, killedBefore: RESUMED, killedAfter: MOVED, aborted: RESUMED },
  'move: destination verifyImage': { fails: RESUMED, killedBefore: RESUMED, killedAfter: MOVED, aborted: RESUMED },
  'retire: source resolveSource': whatever,
  'record: source giveReceipt': whatever,
  'record: destination giveReceipt': whatever,
  'record: control recordEvidence': whatever,
  'record: source closeSession': whatever,
  'record: destination closeSession': whatever,
};

function outcomesOf(key: string, fault: StepFault): readonly OutcomeKind[] {
  const ends = known(ENDS, key);
  if (fault === 'fails-before') return ends.fails;
  if (fault === 'killed-before') return ends.killedBefore;
  if (fault === 'killed-after') return ends.killedAfter;
  if (fault === 'aborted') return ends.aborted;
  return MOVED;
}

interface PlaceRow {
  readonly on: Side;
  readonly cause: Cause;
  readonly before: readonly OutcomeKind[];
  readonly after: readonly OutcomeKind[];
  readonly notApplicable?: string;
}
const row = (on: Side, cause: Cause, before: readonly OutcomeKind[], after: readonly OutcomeKind[]): PlaceRow => ({ on, cause, before, after });
const never = (on: Side, notApplicable: string): PlaceRow => ({ on, cause: null, before: [], after: [], notApplicable });

const WRITES = {
  create: never('source', 'a VM is created by `vm start`, not by a move'),
  offer: row('source', null, RESUMED, RESUMED),
  withdraw: row('source', 'stop-copy-fails', RESUMED, RESUMED),
  relinquish: row('source', null, RESUMED, RESUMED),
  'learn-accepted': row('source', null, MOVED, MOVED),
  'learn-rejected': row('source', 'destination-dies-undecided', RESUMED, RESUMED),
  fence: row('source', 'destination-fenced', RESUMED, RESUMED),
  'learn-succession': never('source', 'a source learns it where its workflow was gone for so long that the VM has moved on'),
  'learn-claim': never('destination', 'a host that was fenced learns it after the move, from `vm reconcile` or `vm start`'),
  expect: row('destination', null, RESUMED, RESUMED),
  accept: row('destination', null, RESUMED, MOVED),
  reject: row('destination', 'prepared-in-vain', RESUMED, RESUMED),
} as const satisfies Record<WriteName, PlaceRow>;

const MESSAGES = {
  connect: row('source', null, RESUMED, RESUMED),
  accept: row('destination', null, RESUMED, RESUMED),
  'first-data': row('source', null, RESUMED, RESUMED),
  // Whether it arrived is a race, and with it whether the destination decides.
  manifest: row('source', null, RESUMED, EITHER),
  verdict: row('destination', null, MOVED, MOVED),
} as const satisfies Record<MessageName, PlaceRow>;

function placeCells(kind: 'write' | 'message', place: string, { on, cause, before, after, notApplicable }: PlaceRow): Cell[] {
  // A write is on disk or it is not; no network loses it.
  const faults = (Object.keys(PLACE_FAULTS) as PlaceFault[]).filter((fault) => kind === 'message' || fault.startsWith('killed'));
  return faults.map((fault) => ({
    name: `${kind} ${place} (${on}) · ${PLACE_FAULTS[fault]}`,
    kind,
    on,
    place,
    fault,
    step: null,
    isUndo: false,
    cause,
    outcomes: fault === 'delayed' ? MOVED : fault.endsWith('-after') ? after : before,
    notApplicable: notApplicable ?? null,
  }));
}

function known<T>(table: Readonly<Record<string, T>>, key: string): T {
  const row = table[key];
  if (row === undefined) throw new Error(`the fault matrix does not know ${key}: say in cells.ts how a move ends that breaks there`);
  return row;
}
