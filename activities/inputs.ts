/**
 * What each activity takes. Whoever owns Temporal calls any of them with anything: the edge (edge.ts) parses every argument by this table
 * before an activity sees it, and a set that has an activity more or less than the table cannot be made.
 */
import { z } from 'zod';
import { HostEvidence, SessionOffer, StateQuestion, WrappedSecrets } from '../domain/attestation.js';
import { OperatorEnvelope } from '../domain/envelope.js';
import { Evidence } from '../domain/evidence.js';
import { HostId, Role, VmId } from '../domain/ids.js';
import { ClaimStatement, SuccessionStatement, VerdictStatement } from '../domain/manifest.js';
import { Order } from '../domain/order.js';
import { SurveyQuestion } from '../domain/survey.js';
import { VmDocument } from '../domain/vm.js';

/** Which move of which VM. */
export const MoveKey = z.strictObject(Order.pick({ vmId: true, migrationId: true }).shape);
export type MoveKey = Readonly<z.infer<typeof MoveKey>>;

const order = OperatorEnvelope;
const port = z.int().min(0).max(65535);
const reason = z.string().max(100_000).transform((text) => text.slice(0, 1000) || 'no reason given');

const move = z.strictObject({ order });
const moveOfVm = z.strictObject({ order, vm: VmDocument });
const copy = z.strictObject({ order, port });
const settling = z.strictObject({ order, reason });
const nothing = z.undefined();

export const HOST_INPUTS = {
  inspectSource: moveOfVm,
  inspectDestination: moveOfVm,
  openSession: z.strictObject({ order, role: Role }),
  quoteHost: z.strictObject({ order, role: Role, peer: SessionOffer }),
  appraisePeer: z.strictObject({ order, role: Role, evidence: HostEvidence }),
  closeSession: settling,
  wrapSecrets: move,
  unwrapSecrets: z.strictObject({ order, wrapped: WrappedSecrets }),
  prepareDestination: moveOfVm,
  copyMemory: copy,
  stopAndCopy: copy,
  tuneCopy: z.strictObject({ move: MoveKey, change: OperatorEnvelope }),
  holdCopy: z.strictObject({ move: MoveKey, isHeld: z.boolean(), approval: OperatorEnvelope.nullable() }),
  verifyImage: move,
  startVm: z.strictObject({ start: OperatorEnvelope, vm: VmDocument }),
  surveyHost: nothing,
  admitFence: z.strictObject({ fence: OperatorEnvelope }),
  fenceDestination: z.strictObject({ fence: OperatorEnvelope }),
  stateClaim: z.strictObject({ vmId: VmId, against: HostId }),
  yieldToClaim: z.strictObject({ statement: ClaimStatement }),
  reinstateRecords: z.strictObject({ reinstatement: OperatorEnvelope }),
  giveReceipt: z.strictObject({ move: MoveKey, statement: VerdictStatement }),
  showState: StateQuestion,
  showSurvey: SurveyQuestion,
  settleDestination: settling,
  settleSource: settling,
  resolveSource: z.strictObject({ statement: z.union([VerdictStatement, SuccessionStatement]) }),
} as const;

export const CONTROL_INPUTS = { recordEvidence: z.strictObject({ evidence: Evidence }) } as const;

export type HostInput<A extends keyof typeof HOST_INPUTS> = Readonly<z.output<(typeof HOST_INPUTS)[A]>>;
