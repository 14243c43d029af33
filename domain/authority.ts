/**
 * Whether an operator may have done what a signed document says, by one trust bundle. Hosts ask this before anything that
 * brings a VM to a host, or lets one run; nobody else's word counts (promise P7).
 */
import type { z } from 'zod';
import { describeIssues } from './documents.js';
import { type Envelope, OperatorEnvelope, PAYLOAD_TYPES, readEnvelope, signersOf } from './envelope.js';
import { type Failure, failure, refuse } from './failures.js';
import { type HostId, assertNever } from './ids.js';
import { type Operator, type Wish, isAllowed, isWordOfTwo } from './operators.js';
import { type Order, SIGNED_BY_OPERATORS } from './order.js';
import type { TrustBundle } from './trust-bundle.js';

export type OperatorKind = keyof typeof SIGNED_BY_OPERATORS;
type DocumentOf<K extends OperatorKind> = z.output<(typeof SIGNED_BY_OPERATORS)[K]>;

/** Parsed, not believed. */
export interface OpenedDocument<K extends OperatorKind> {
  readonly document: DocumentOf<K>;
  readonly envelope: Envelope;
}

declare const authorized: unique symbol;

/**
 * What an operator of this bundle had said and might say. Checked: form, payload type, that the operator it names is in the bundle, active,
 * has a scope for it, and signed it; and a second such operator, where the bundle wants two. Only `authorize` makes one. Not checked: its time, its epoch.
 */
export interface Authorized<K extends OperatorKind> extends OpenedDocument<K> {
  readonly [authorized]: true;
}

/** ORDER_INVALID. For whoever only reads: what acts on a document opens it by `openAuthorized`. */
export function openSigned<K extends OperatorKind>(kind: K, value: unknown): OpenedDocument<K> {
  const envelope = envelopeIn(value);
  const opened = readEnvelope(SIGNED_BY_OPERATORS[kind], kind, envelope);
  if ('problem' in opened) throw refuse('ORDER_INVALID', { problem: opened.problem });
  return { document: opened.document as DocumentOf<K>, envelope };
}

export type Authority<K extends OperatorKind> = { readonly ok: true; readonly signed: Authorized<K> } | { readonly ok: false; readonly failure: Failure };

/**
 * As openSigned, but the signature comes first: what no operator of the bundle signed is not read. ORDER_INVALID is thrown, all else is in
 * the answer. `order`: of the move that a document is about, which says where from and where to. `host`: whose bundle this is.
 */
export function openAuthorized<K extends OperatorKind>(kind: K, value: unknown, order: Order | null, bundle: TrustBundle, host: HostId): Authority<K> {
  const envelope = envelopeIn(value);
  const { payloadType } = envelope;
  if (payloadType !== PAYLOAD_TYPES[kind]) throw refuse('ORDER_INVALID', { problem: `payloadType: ${payloadType} instead of ${PAYLOAD_TYPES[kind]}` });
  const signers = signersOf(envelope, bundle.operators.map(({ publicKey }) => publicKey));
  if (signers.length === 0) return { ok: false, failure: failure('ORDER_NOT_SIGNED', { host, operator: 'nobody in it', kind, problem: 'no signature in it is by an operator of the bundle' }) };
  return authorize(openSigned(kind, envelope), order, bundle, host);
}

/** Of a document that was read already; else openAuthorized. */
export function authorize<K extends OperatorKind>(opened: OpenedDocument<K>, order: Order | null, { operators, parameters }: TrustBundle, host: HostId): Authority<K> {
  const { document, envelope } = opened;
  const { kind, by } = document;
  const operator = operators.find(({ name }) => name === by);
  const problem = unsigned(operator, envelope);
  if (!operator || problem) return { ok: false, failure: failure('ORDER_NOT_SIGNED', { host, operator: by, kind, problem: problem ?? '' }) };
  const wish = wishIn(document, order);
  if (!isAllowed(operator, wish)) return { ok: false, failure: notAllowed(by, wish, host) };
  const isSecond = (other: Operator) => other.name !== by && unsigned(other, envelope) === null && isAllowed(other, wish);
  if (isWordOfTwo(wish.action, parameters) && !operators.some(isSecond)) return { ok: false, failure: failure('SECOND_SIGNATURE_MISSING', { host, kind, operator: by, action: wish.action }) };
  return { ok: true, signed: opened as Authorized<K> };
}

function envelopeIn(value: unknown): Envelope {
  const parsed = OperatorEnvelope.safeParse(value);
  if (!parsed.success) throw refuse('ORDER_INVALID', { problem: `envelope: ${describeIssues(parsed.error)}` });
  return parsed.data;
}

function unsigned(operator: Operator | undefined, envelope: Envelope): string | null {
  if (!operator) return 'the bundle has no such operator';
  if (operator.status !== 'active') return `the operator is ${operator.status}`;
  return signersOf(envelope, [operator.publicKey]).length > 0 ? null : 'no signature in it is by the operator’s key';
}

function wishIn(document: DocumentOf<OperatorKind>, order: Order | null): Wish {
  const { kind } = document;
  switch (kind) {
    case 'korora/reinstatement':
      return { action: 'reinstate', vmId: null, source: null, destination: document.host };
    case 'korora/order':
      return { action: 'migrate', vmId: document.vmId, source: document.source, destination: document.destination };
    case 'korora/start':
      return { action: 'start', vmId: document.vmId, source: null, destination: document.host };
    case 'korora/fence':
      return { action: 'fence', vmId: document.vmId, source: null, destination: document.host };
    case 'korora/approval':
    case 'korora/limits':
      if (!order) throw new TypeError(`${kind} without its order`);
      return { action: kind === 'korora/approval' ? 'approve' : 'migrate', vmId: document.vmId, source: order.source, destination: order.destination };
    default:
      return assertNever(kind);
  }
}

function notAllowed(operator: string, { action, vmId, source, destination }: Wish, host: HostId): Failure {
  return failure('OPERATOR_NOT_ALLOWED', { host, operator, action, vm: vmId ?? 'any', hosts: source ? `from ${source} to ${destination}` : destination });
}
