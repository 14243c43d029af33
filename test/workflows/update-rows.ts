/**
 * What a move makes of each thing that people may tell it, in each phase in which it can be told. An update or a phase that is added
 * without its row is a type error.
 */
import { openSigned } from '../../domain/authority.js';
import { digestOf } from '../../domain/canonical.js';
import { type Envelope, signEnvelope } from '../../domain/envelope.js';
import type { FailureCode } from '../../domain/failures.js';
import type { Phase } from '../../domain/steps.js';
import type * as messages from '../../workflows/messages.js';
import { ADA, GRACE, approvalOf, fenceOf, limitsChangeOf } from '../support/documents.js';
import { Hold, type Planned } from './faults.js';
import type { Move } from './moves.js';
import { BASES } from './step-rows.js';
import type { ActivityName, Place } from './stage.js';

/** Named as workflows/messages.ts does. */
export type UpdateName = { [M in keyof typeof messages]: M extends `${infer U}Update` ? U : never }[keyof typeof messages];

interface HeldPhase {
  /** Where it is held, and why it comes there. */
  readonly on: Place;
  readonly activity: ActivityName;
  readonly base: keyof typeof BASES;
  readonly point?: Planned['point'];
}

export const HELD_IN: { readonly [P in Phase]: HeldPhase } = {
  requested: { on: 'source', activity: 'inspectSource', base: 'good' },
  admitted: { on: 'source', activity: 'openSession', base: 'good' },
  attested: { on: 'source', activity: 'wrapSecrets', base: 'good' },
  sealed: { on: 'destination', activity: 'prepareDestination', base: 'good' },
  copying: { on: 'source', activity: 'copyMemory', base: 'good' },
  stopped: { on: 'destination', activity: 'verifyImage', base: 'good', point: 'relinquished' },
  activated: { on: 'source', activity: 'resolveSource', base: 'good' },
  retired: { on: 'source', activity: 'giveReceipt', base: 'good' },
  compensating: { on: 'source', activity: 'settleSource', base: 'the copy broke' },
  'in-doubt': { on: 'destination', activity: 'settleDestination', base: 'no verdict came' },
  'source-resumed': { on: 'control', activity: 'recordEvidence', base: 'the copy broke' },
  refused: { on: 'control', activity: 'recordEvidence', base: 'wrapping broke' },
};

type Answer = 'taken' | FailureCode;

/** Of a move that was ordered without an approval, which is held nowhere else; `fence` names the host that is waited for. */
export const ANSWERS: { readonly [U in UpdateName]: { readonly [P in Phase]: Answer } } = {
  abort: {
    ...{ requested: 'taken', admitted: 'taken', attested: 'taken', sealed: 'taken', copying: 'taken' },
    ...everywhere('PAST_POINT_OF_NO_RETURN', ['stopped', 'activated', 'retired', 'compensating', 'in-doubt', 'source-resumed', 'refused']),
  },
  setLimits: { ...outsideOfCopying('NOT_COPYING'), copying: 'taken' },
  setHeld: { ...outsideOfCopying('NOT_COPYING'), copying: 'taken' },
  approve: { ...outsideOfCopying('NOTHING_TO_APPROVE'), copying: 'NOTHING_TO_APPROVE' },
  fence: {
    ...everywhere('NOTHING_TO_FENCE', ['requested', 'admitted', 'attested', 'sealed', 'copying', 'stopped', 'retired', 'source-resumed', 'refused']),
    ...{ activated: 'taken', compensating: 'taken', 'in-doubt': 'taken' },
  },
};

function everywhere<const P extends Phase>(code: FailureCode, phases: readonly P[]): { readonly [Q in P]: FailureCode } {
  return Object.fromEntries(phases.map((phase) => [phase, code])) as { readonly [Q in P]: FailureCode };
}

function outsideOfCopying(code: FailureCode): { readonly [P in Exclude<Phase, 'copying'>]: FailureCode } {
  return everywhere(code, ['requested', 'admitted', 'attested', 'sealed', 'stopped', 'activated', 'retired', 'compensating', 'in-doubt', 'source-resumed', 'refused']);
}

/** What is said, valid in itself. */
export const SAID: { readonly [U in UpdateName]: (move: Move, host: string) => Promise<unknown> | unknown } = {
  abort: () => ({ reason: 'the window closes' }),
  setLimits: (move) => limitsChangeFor(move),
  setHeld: () => ({ isHeld: true }),
  approve: (move) => approvalFor(move),
  fence: ({ order: { migrationId, vmId } }, host) => signEnvelope(fenceOf({ migrationId, vmId, host }), ADA),
};

export const OTHER_LIMITS = { downtimeLimitMs: 500, bandwidthBytesPerSecond: null, maxRounds: 9, stallRounds: 3, autoConverge: null };

export function limitsChangeFor({ order: { migrationId, vmId } }: Move, changes: Parameters<typeof limitsChangeOf>[0] = {}): Promise<Envelope> {
  return signEnvelope(limitsChangeOf({ migrationId, vmId, limits: OTHER_LIMITS, ...changes }), ADA);
}

export async function approvalFor({ order: { migrationId, vmId }, status }: Move, changes: Parameters<typeof approvalOf>[0] = {}): Promise<Envelope> {
  const orderDigest = digestOf(openSigned('korora/order', (await status()).order).document);
  return signEnvelope(approvalOf({ migrationId, vmId, orderDigest, ...changes }), GRACE);
}

/** A plan that holds the move in this phase, and its hold. What a host does that is fenced, or whose copy is aborted, ends then. */
export function holdIn(phase: Phase): { readonly plan: readonly Planned[]; readonly hold: Hold } {
  const { on, activity, base, point } = HELD_IN[phase];
  const hold = new Hold(ANSWERS.fence[phase] === 'taken' ? 'ends' : phase === 'copying' ? 'goes-on' : 'stays');
  const held: Planned = { on, activity, fault: { kind: 'is-held', hold }, ...(point && { point }) };
  return { plan: [held, ...BASES[base].plan()], hold };
}
