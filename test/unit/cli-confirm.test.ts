/** cli/shown.ts and cli/confirm.ts: the whole document stands before whoever signs it, in text that cannot turn on the terminal; and who is asked. */
import { describe, expect, it } from 'vitest';
import { confirmBy } from '../../cli/confirm.js';
import { renderShown } from '../../cli/shown.js';
import type { Shown } from '../../client/index.js';
import { digestOf } from '../../domain/canonical.js';
import { ledgerDigestOf } from '../../domain/survey.js';
import { SOURCE, approvalOf, fenceOf, limitsChangeOf, orderOf, reinstatementOf, startOrderOf, vmDocument } from '../support/documents.js';
import { ledgerOn, recordOn } from '../support/hostile-temporal.js';
import { refusalOf } from '../support/refusal.js';

const [order, vm, ledger] = [orderOf(), vmDocument(), ledgerOn(SOURCE)];
const limits = { ...order.limits, downtimeLimitMs: 450 };
const SHOWN: { readonly [K in Shown['kind']]: Extract<Shown, { kind: K }> } = {
  'korora/order': { kind: 'korora/order', document: order, vm, signedBy: [] },
  'korora/start': { kind: 'korora/start', document: startOrderOf({ epoch: 3 }), vm, signedBy: [] },
  'korora/approval': { kind: 'korora/approval', document: approvalOf(), order, vm, signedBy: [] },
  'korora/limits': { kind: 'korora/limits', document: limitsChangeOf({ limits }), order, before: order.limits, signedBy: [] },
  'korora/fence': { kind: 'korora/fence', document: fenceOf(), order, record: null, signedBy: ['ada'] },
  'korora/reinstatement': { kind: 'korora/reinstatement', document: reinstatementOf({ ledgerDigest: ledgerDigestOf(SOURCE, ledger) }), ledger, signedBy: [] },
};
const EACH = Object.values(SHOWN);
const leaves = (value: unknown): readonly unknown[] => (typeof value === 'object' && value !== null ? Object.values(value).flatMap(leaves) : [value]);

describe('what is to be signed', () => {
  it.each(EACH.map((shown) => [shown.kind, shown] as const))('is printed with every value of it, and its digest: %s', (_, shown) => {
    const text = renderShown(shown);
    // These three are said in words.
    const values = Object.entries(shown.document).filter(([name]) => !['kind', 'version', 'requiresApproval'].includes(name));
    for (const value of leaves(Object.fromEntries(values))) expect(text).toContain(typeof value === 'number' || value === null ? String(value) : value);
    expect(text).toContain(digestOf(shown.document));
  });

  it('comes with the VM that the order names', () => {
    for (const kind of ['korora/order', 'korora/start', 'korora/approval'] as const) for (const value of leaves(vm)) expect(renderShown(SHOWN[kind])).toContain(String(value));
  });

  it('comes with every value of the signed order that it is about', () => {
    for (const kind of ['korora/approval', 'korora/limits', 'korora/fence'] as const) for (const value of [order.by, order.source, order.destination, order.notAfter, order.migrationId, digestOf(order)]) expect(renderShown(SHOWN[kind])).toContain(value);
  });

  it('has limits with their old value and their new one', () => {
    const text = renderShown(SHOWN['korora/limits']);
    expect(text).toContain('300 → 450');
    expect(text).toMatch(/maxRounds +200 \(as it is\)/);
  });

  it('has the ledger and every record of a host that is to be reinstated', () => {
    const text = renderShown(SHOWN['korora/reinstatement']);
    for (const value of leaves(ledger)) expect(text).toContain(String(value));
    expect(text).toMatch(/VM web-1 +owner, epoch 1/);
  });

  it('has who signed it before, and of a fence without a workflow who waits', () => {
    expect(renderShown(SHOWN['korora/fence'])).toMatch(/signed by +ada/);
    expect(renderShown({ ...SHOWN['korora/fence'], order: null, record: recordOn(SOURCE, {}) })).toContain('host-a shows that it gave the VM away in epoch 1');
  });

  it('writes no control character but ends of lines', () => {
    const told = '\u001b[2J\u009b2J\u202Eevil\u2028\nDigest: fine';
    for (const text of [
      renderShown({ ...SHOWN['korora/fence'], document: fenceOf({ reason: told }) }),
      renderShown({ ...SHOWN['korora/reinstatement'], ledger: { ...ledger, doubt: told } }),
      renderShown({ ...SHOWN['korora/order'], vm: vmDocument({ boot: { ...vm.boot, commandLine: `console=${'\u202E'}` } }) }),
    ]) {
      expect(text).not.toMatch(/[^\P{Cc}\n]|\p{Cf}|\p{Zl}/u);
      expect(text).not.toMatch(/^Digest: fine/m);
    }
  });
});

describe('who signs', () => {
  const asking = (answer: string | null, isYes = false) => {
    const said: string[] = [];
    const ask = (question: string) => {
      said.push(question);
      return Promise.resolve(answer ?? '');
    };
    return { said, confirm: confirmBy({ write: (text) => void said.push(text), ask: answer === null ? null : ask }, isYes) };
  };
  const asks = EACH.filter(({ kind }) => !['korora/order', 'korora/start'].includes(kind));

  it.each(asks.map((shown) => [shown.kind, shown] as const))('is shown it, then asked: %s', async (_, shown) => {
    for (const [answer, isSigned] of [['y', true], [' YES\n', true], ['', false], ['n', false], ['yes, but', false]] as const) {
      const { said, confirm } = asking(answer);
      expect(await confirm(shown)).toBe(isSigned);
      expect(said).toEqual([`${renderShown(shown)}\n`, 'Sign it? [y/N] ']);
    }
  });

  it.each(asks.map((shown) => [shown.kind, shown] as const))('signs nothing where nobody can be asked, but by --yes: %s', async (_, shown) => {
    expect(await refusalOf(asking(null).confirm(shown))).toContain('CONFIRMATION_MISSING');
    const { said, confirm } = asking(null, true);
    expect([await confirm(shown), said]).toEqual([true, [`${renderShown(shown)}\n`]]);
  });

  it('is not asked for what he wrote himself, and sees it', async () => {
    for (const kind of ['korora/order', 'korora/start'] as const) {
      const { said, confirm } = asking(null);
      expect([await confirm(SHOWN[kind]), said]).toEqual([true, [`${renderShown(SHOWN[kind])}\n`]]);
    }
  });
});
