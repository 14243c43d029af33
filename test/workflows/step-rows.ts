/**
 * Every activity of STEPS, in the place where a move comes to it, and how a move ends that breaks there. A step or an undo that is
 * added to STEPS without a row here is a type error for the step, and a failing test for the activity.
 */
import { signEnvelope } from '../../domain/envelope.js';
import { failure } from '../../domain/failures.js';
import { STEPS, type Step, type StepName } from '../../domain/steps.js';
import { fenceUpdate } from '../../workflows/messages.js';
import { ADA, fenceOf } from '../support/documents.js';
import { Hold, type Planned } from './faults.js';
import { named } from './history.js';
import type { Move } from './moves.js';
import type { ActivityName, Place } from './stage.js';

export interface Ending {
  readonly outcome: 'moved' | 'source-resumed' | 'refused';
  readonly codes: readonly string[];
  /** In their order; of those that go on at once, the source's first. */
  readonly undos: readonly string[];
}

/** How a move comes to an undo. */
export interface Base extends Ending {
  readonly plan: () => readonly Planned[];
  /** What the test does meanwhile. */
  readonly drive?: (move: Move) => Promise<void>;
  /** Activities whose end the workflow asks for, on purpose, while it takes back. */
  readonly cancels?: readonly string[];
}

const SESSIONS = ['source: closeSession', 'destination: closeSession'];
const PREPARED = ['destination: settleDestination', ...SESSIONS];
const MOVING = ['source: settleSource', ...PREPARED];

type Undos = Pick<Ending, 'outcome' | 'undos'>;
const refused: Undos = { outcome: 'refused', undos: SESSIONS };

/** A move that breaks in this step. Nothing takes back a move behind the point of no return. */
export const BREAKS_IN: { readonly [S in StepName]: Undos } = {
  preflight: refused,
  openSessions: refused,
  quote: refused,
  appraise: refused,
  wrap: refused,
  unwrap: refused,
  prepare: { outcome: 'source-resumed', undos: PREPARED },
  move: { outcome: 'source-resumed', undos: MOVING },
  retire: { outcome: 'moved', undos: [] },
  record: { outcome: 'moved', undos: [] },
};

/** Why a move is taken back, where a row is about its undo. */
const first = failure('SESSION_LOST', { host: 'a host' });
const breaks = (on: Place, activity: ActivityName, point: Planned['point'] = 'start'): Planned => ({ on, activity, point, fault: { kind: 'fails', failure: first } });

export const BASES = {
  good: { plan: () => [], outcome: 'moved', codes: [], undos: [] },
  'wrapping broke': { plan: () => [breaks('source', 'wrapSecrets')], ...refused, codes: [first.code] },
  'the copy broke': { plan: () => [breaks('source', 'copyMemory')], ...BREAKS_IN.move, codes: [first.code] },
  'no verdict came': {
    plan: () => [breaks('destination', 'verifyImage', 'relinquished')],
    outcome: 'source-resumed',
    codes: [first.code],
    undos: ['source: settleSource', 'destination: settleDestination', 'source: resolveSource', ...PREPARED],
  },
  'the destination was fenced': {
    plan: () => [breaks('destination', 'verifyImage', 'relinquished'), { on: 'destination', activity: 'settleDestination', fault: { kind: 'is-held', hold: new Hold('ends') } }],
    drive: fenceDestination,
    outcome: 'source-resumed',
    codes: [first.code, 'VM_REBOOTED', 'HOST_FENCED'],
    undos: ['source: settleSource', 'destination: settleDestination', 'source: admitFence', 'source: fenceDestination', 'source: closeSession'],
    cancels: ['destination: settleDestination'],
  },
} as const satisfies Record<string, Base>;
type BaseName = keyof typeof BASES;

/** Which move comes to the undo of a step, for each activity of it. */
const UNDONE_IN: { readonly [S in StepName]: Readonly<Record<string, BaseName>> } = {
  preflight: {},
  openSessions: { 'source: closeSession': 'wrapping broke', 'destination: closeSession': 'wrapping broke' },
  quote: {},
  appraise: {},
  wrap: {},
  unwrap: {},
  prepare: { 'destination: settleDestination': 'the copy broke' },
  move: {
    'source: settleSource': 'the copy broke',
    'destination: settleDestination': 'no verdict came',
    'source: resolveSource': 'no verdict came',
    'source: fenceDestination': 'the destination was fenced',
  },
  retire: {},
  record: {},
};

export interface Row {
  readonly name: string;
  readonly step: StepName;
  readonly isUndo: boolean;
  readonly on: Place;
  readonly activity: ActivityName;
  readonly base: BaseName;
}

const steps = Object.entries(STEPS) as [StepName, Step][];

export const ROWS: readonly Row[] = steps.flatMap(([step, { does, undo }]) => [
  ...does.map((one): Row => ({ name: `${step}, ${named(one)}`, step, isUndo: false, on: one.on, activity: one.activity as ActivityName, base: 'good' })),
  ...undo.flatMap((one): Row[] => {
    const base = UNDONE_IN[step][named(one)];
    return base ? [{ name: `undo of ${step}, ${named(one)}`, step, isUndo: true, on: one.on, activity: one.activity as ActivityName, base }] : [];
  }),
]);

/** For `it.each`: vitest shortens what it is told to take from an object. */
export const byName = (rows: readonly Row[]): readonly (readonly [string, Row])[] => rows.map((row) => [row.name, row]);

/** Undos of STEPS that no row is about, and rows of undos that STEPS does not have. */
export const MISSING_ROWS: readonly string[] = steps.flatMap(([step, { undo }]) => {
  const [listed, known] = [undo.map(named), Object.keys(UNDONE_IN[step])];
  return [...listed.filter((one) => !known.includes(one)), ...known.filter((one) => !listed.includes(one))].map((one) => `${step}: ${one}`);
});

/** What a move does that gets as far as this step, each activity once. */
export const doneUntil = (last: StepName): readonly string[] => steps.slice(0, steps.findIndex(([step]) => step === last) + 1).flatMap(([, { does }]) => does.map(named));

async function fenceDestination(move: Move): Promise<void> {
  await move.untilStatus('people to be told that the destination is silent', ({ nextAction }) => nextAction !== null);
  const { migrationId, vmId, destination: host } = move.order;
  await move.handle.executeUpdate(fenceUpdate, { args: [await signEnvelope(fenceOf({ migrationId, vmId, host }), ADA)] });
}
