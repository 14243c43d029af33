/** domain/authority.ts: what a bundle lets its operators do by each kind of document, and in which words it is refused. */
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { type Authority, type OperatorKind, authorize, openAuthorized, openSigned } from '../../domain/authority.js';
import { type Envelope, signEnvelope } from '../../domain/envelope.js';
import { KororaError } from '../../domain/failures.js';
import type { Scope } from '../../domain/operators.js';
import type { Order } from '../../domain/order.js';
import type { TrustBundle } from '../../domain/trust-bundle.js';
import { ADA, GRACE, SOURCE, approvalOf, fenceOf, limitsChangeOf, orderOf, reinstatementOf, samples, startOrderOf, trustBundleOf } from '../support/documents.js';
import { testSigner } from '../support/signers.js';

const STRANGER = testSigner(9);
const RESOURCES = { disks: ['*'], bootFiles: ['*'], bridges: ['*'] };

/** In which ada has this scope alone, if any. */
function letting(scope: Partial<z.input<typeof Scope>> | null, wordsOfTwo: readonly string[] = []): TrustBundle {
  const scopes = scope ? [{ ...RESOURCES, vms: ['*'], sources: ['*'], destinations: ['*'], ...scope }] : [];
  return trustBundleOf({
    operators: [{ name: 'ada', publicKey: ADA.publicKey, status: 'active', scopes }, { name: 'grace', publicKey: GRACE.publicKey, status: 'active', scopes: [] }],
    parameters: { ...samples.trustBundle.parameters, wordsOfTwo },
  });
}

const answerTo = (authority: Authority<OperatorKind>) => (authority.ok ? authority.signed.document.kind : `${authority.failure.code}: ${authority.failure.message}`);

function said(kind: OperatorKind, envelope: Envelope, bundle: TrustBundle, order: Order | null = null): string {
  try {
    return answerTo(openAuthorized(kind, envelope, order, bundle, SOURCE));
  } catch (error) {
    return error instanceof KororaError ? `thrown: ${error.message}` : String(error);
  }
}

const DOCUMENTS = {
  'korora/order': await signEnvelope(orderOf(), ADA),
  'korora/start': await signEnvelope(startOrderOf(), ADA),
  'korora/approval': await signEnvelope(approvalOf({ by: 'ada' }), ADA),
  'korora/limits': await signEnvelope(limitsChangeOf(), ADA),
  'korora/fence': await signEnvelope(fenceOf(), ADA),
  'korora/reinstatement': await signEnvelope(reinstatementOf(), ADA),
} satisfies Record<OperatorKind, Envelope>;

describe('a document', () => {
  it.each<[OperatorKind, Partial<z.input<typeof Scope>>, string]>([
    ['korora/order', { actions: ['migrate'], vms: ['web-1'], sources: ['host-a'], destinations: ['host-b'] }, 'migrate VM web-1 (from host-a to host-b)'],
    ['korora/start', { actions: ['start'], vms: ['web-1'], destinations: ['host-a'] }, 'start VM web-1 (host-a)'],
    ['korora/approval', { actions: ['approve'], vms: ['web-1'], sources: ['host-a'], destinations: ['host-b'] }, 'approve VM web-1 (from host-a to host-b)'],
    ['korora/limits', { actions: ['migrate'], vms: ['web-1'], sources: ['host-a'], destinations: ['host-b'] }, 'migrate VM web-1 (from host-a to host-b)'],
    ['korora/fence', { actions: ['fence'], vms: ['web-1'], destinations: ['host-b'] }, 'fence VM web-1 (host-b)'],
    ['korora/reinstatement', { actions: ['reinstate'], destinations: ['host-a'] }, 'reinstate VM any (host-a)'],
  ])('of kind %s needs one action, for its VM and its hosts, and no other', (kind, scope, wish) => {
    const others = (['start', 'migrate', 'approve', 'fence', 'reinstate'] as const).filter((action) => !scope.actions?.includes(action));
    const order = kind === 'korora/approval' || kind === 'korora/limits' ? orderOf() : null;
    expect(said(kind, DOCUMENTS[kind], letting(scope), order)).toBe(kind);
    expect(said(kind, DOCUMENTS[kind], letting({ actions: others }), order)).toBe(`OPERATOR_NOT_ALLOWED: the trust bundle of host-a does not let ada ${wish}`);
  });

  it.each<OperatorKind>(['korora/approval', 'korora/limits'])('of kind %s says nothing without the order of its move', (kind) => {
    expect(() => authorize(openSigned(kind, DOCUMENTS[kind]), null, letting(null), SOURCE)).toThrow(new TypeError(`${kind} without its order`));
  });

  it('of another kind is refused as such, by whomever it is signed', async () => {
    const problem = 'thrown: ORDER_INVALID: the order is not valid: payloadType: application/vnd.korora.fence+json instead of application/vnd.korora.start+json';
    const all = letting({ actions: ['start', 'fence'] });
    expect(said('korora/start', DOCUMENTS['korora/fence'], all)).toBe(problem);
    expect(said('korora/start', await signEnvelope(fenceOf(), STRANGER), all)).toBe(problem);
  });
});

describe('a signature', () => {
  it('by nobody in the bundle is told, and what it is under is not read', async () => {
    const told = 'ORDER_NOT_SIGNED: by the trust bundle of host-a, operator nobody in it did not sign this (korora/start): no signature in it is by an operator of the bundle';
    expect(said('korora/start', await signEnvelope(startOrderOf(), STRANGER), letting({ actions: ['start'] }))).toBe(told);
    expect(said('korora/start', await signEnvelope({ kind: 'korora/start' }, STRANGER), letting({ actions: ['start'] }))).toBe(told);
  });

  it('by another operator than it names is told', async () => {
    expect(said('korora/start', await signEnvelope(startOrderOf(), GRACE), letting({ actions: ['start'] }))).toBe(
      'ORDER_NOT_SIGNED: by the trust bundle of host-a, operator ada did not sign this (korora/start): no signature in it is by the operator’s key',
    );
  });

  it('in the name of nobody in the bundle is told', async () => {
    expect(said('korora/start', await signEnvelope(startOrderOf({ by: 'eve' }), ADA), letting({ actions: ['start'] }))).toBe(
      'ORDER_NOT_SIGNED: by the trust bundle of host-a, operator eve did not sign this (korora/start): the bundle has no such operator',
    );
  });

  it('that is missing beside the first is told, with what to do', () => {
    const authority = openAuthorized('korora/fence', DOCUMENTS['korora/fence'], null, letting({ actions: ['fence'] }, ['fence']), SOURCE);
    expect(authority).toEqual({
      ok: false,
      failure: {
        code: 'SECOND_SIGNATURE_MISSING',
        message: 'the trust bundle of host-a wants two operators to sign this (korora/fence): no other operator who may fence signed it beside ada',
        remedy: 'Give the command `--draft FILE`, have another operator who may fence add a signature (`korora countersign FILE`), then `korora submit FILE`.',
      },
    });
  });
});
