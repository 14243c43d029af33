/**
 * The saga as one table: what a move does, where, and what takes it back. The workflow reads like
 * this table; the tests and the documents enumerate it.
 *
 * An undo means "ensure absent": it is registered before its step is scheduled, does nothing where
 * nothing happened, and is retried until it succeeds.
 */
/** Where a move stands. The first eight are how a move goes well; the rest, the ways it ends. */
export const PHASES = [
  'requested',
  'admitted',
  'attested',
  'sealed',
  'copying',
  'stopped',
  'activated',
  'retired',
  'compensating',
  'in-doubt',
  'source-resumed',
  'refused',
] as const;
export type Phase = (typeof PHASES)[number];

/** Which phases may come right after which. Nothing enforces it; the fault matrix holds every move against it. */
export const FOLLOWS: { readonly [P in Phase]: readonly Phase[] } = {
  requested: ['admitted', 'compensating'],
  admitted: ['attested', 'compensating'],
  attested: ['sealed', 'compensating'],
  sealed: ['copying', 'compensating'],
  copying: ['stopped', 'activated', 'compensating'],
  stopped: ['activated', 'compensating'],
  activated: ['retired'],
  retired: [],
  compensating: ['in-doubt', 'retired', 'source-resumed', 'refused'],
  'in-doubt': ['compensating'],
  'source-resumed': [],
  refused: [],
};

export interface Step {
  readonly phase: Phase;
  /**
   * Activities that run in parallel. `control` has no host. `changesNothing`: what a host keeps of the VM and of the move is
   * the same before and after it, in memory and on disk.
   */
  readonly does: readonly { readonly on: 'source' | 'destination' | 'control'; readonly activity: string; readonly changesNothing?: true }[];
  readonly undo: readonly { readonly on: 'source' | 'destination'; readonly activity: string }[];
  /** Why there is no undo, or what the undo rests on. */
  readonly because: string;
}

const both = <const A extends string>(activity: A) => [
  { on: 'source', activity },
  { on: 'destination', activity },
] as const;
const bothReading = <const A extends string>(activity: A) => [
  { on: 'source', activity, changesNothing: true },
  { on: 'destination', activity, changesNothing: true },
] as const;

export const STEPS = {
  preflight: {
    phase: 'admitted',
    does: [{ on: 'source', activity: 'inspectSource', changesNothing: true }, { on: 'destination', activity: 'inspectDestination', changesNothing: true }],
    undo: [],
    because: 'It only reads.',
  },
  openSessions: { phase: 'attested', does: both('openSession'), undo: both('closeSession'), because: 'A session is keys in memory. It is registered before the first question, since closing also settles that the order was used.' },
  quote: { phase: 'attested', does: bothReading('quoteHost'), undo: [], because: 'A quote changes nothing.' },
  appraise: { phase: 'attested', does: both('appraisePeer'), undo: [], because: 'The result lives in the session.' },
  wrap: { phase: 'sealed', does: [{ on: 'source', activity: 'wrapSecrets' }], undo: [], because: 'Only the attested TPM opens what was wrapped.' },
  unwrap: { phase: 'sealed', does: [{ on: 'destination', activity: 'unwrapSecrets' }], undo: [], because: 'The secrets live in the session.' },
  prepare: {
    phase: 'copying',
    does: [{ on: 'destination', activity: 'prepareDestination' }],
    undo: [{ on: 'destination', activity: 'settleDestination' }],
    because: 'Settling rejects the migration durably and destroys the waiting copy, unless it was accepted.',
  },
  move: {
    phase: 'copying',
    does: [
      { on: 'source', activity: 'copyMemory' },
      { on: 'source', activity: 'stopAndCopy' },
      { on: 'destination', activity: 'verifyImage' },
    ],
    undo: [
      { on: 'source', activity: 'settleSource' },
      { on: 'destination', activity: 'settleDestination' },
      { on: 'source', activity: 'resolveSource' },
      { on: 'source', activity: 'fenceDestination' },
    ],
    because: 'A source that has not relinquished resumes by itself; one that has needs the proven rejection of the destination, or an operator who fences it.',
  },
  retire: {
    phase: 'retired',
    does: [{ on: 'source', activity: 'resolveSource' }],
    undo: [],
    because: 'Behind the point of no return: forward only.',
  },
  record: {
    phase: 'retired',
    does: [...bothReading('giveReceipt'), { on: 'control', activity: 'recordEvidence' }, { on: 'source', activity: 'closeSession' }, { on: 'destination', activity: 'closeSession' }],
    undo: [],
    because: 'Evidence of what happened is never taken back.',
  },
} as const satisfies Record<string, Step>;
export type StepName = keyof typeof STEPS;

/** Task queue of a host's worker. */
export const hostQueue = (hostId: string): string => `host-${hostId}`;
/** Task queue of the control workers, unless configured otherwise. */
export const CONTROL_QUEUE = 'korora-control';
