/** What is to be signed, as text for people: the document, whole, and what it rests on. Pure. */
import type { Shown } from '../client/index.js';
import { digestOf } from '../domain/canonical.js';
import type { Order } from '../domain/order.js';
import type { CopyLimits } from '../domain/progress.js';
import { visibleJson } from '../domain/visible.js';
import type { VmDocument } from '../domain/vm.js';

type Rows = readonly (readonly [name: string, value: string])[];

const WORDS: { readonly [K in Shown['kind']]: string } = {
  'korora/order': 'the order of a move',
  'korora/start': 'the start of a VM',
  'korora/approval': 'the approval of a move',
  'korora/limits': 'other limits for a move',
  'korora/fence': 'that a host is powered off, and stays off',
  'korora/reinstatement': 'that the records of a host are its last ones, and that no other host runs these VMs',
};

export function renderShown(shown: Shown): string {
  const { kind, document, signedBy } = shown;
  const rows: Rows = [
    ...subjectOf(shown),
    ['by', document.by],
    ['good until', document.notAfter],
    ...(signedBy.length > 0 ? [['signed by', signedBy.join(', ')] as const] : []),
    ['digest', digestOf(document)],
  ];
  return [`To be signed: ${WORDS[kind]}`, ...lines(rows)].join('\n');
}

function subjectOf(shown: Shown): Rows {
  switch (shown.kind) {
    case 'korora/order':
      return [...orderRows(shown.document), ['', ''], ...vmRows(shown.vm), ['', '']];
    case 'korora/start':
      return [['on', shown.document.host], ['epoch', shown.document.epoch === null ? 'none: it is created there' : String(shown.document.epoch)], ...vmRows(shown.vm)];
    case 'korora/approval':
      return [['reason', text(shown.document.reason)], ['', ''], ...signedOrder(shown.order), ...vmRows(shown.vm), ['', '']];
    case 'korora/limits':
      return [...changed(shown.before, shown.document.limits), ['', ''], ...signedOrder(shown.order)];
    case 'korora/fence': {
      const { document, order, record } = shown;
      const basis: Rows = order ? signedOrder(order) : [['its source', `${record?.hostId ?? ''} shows that it gave the VM away in epoch ${record?.epoch ?? ''} and waits`]];
      return [['powered off', document.host], ['VM', document.vmId], ['move', document.migrationId], ['reason', text(document.reason)], ['', ''], ...basis];
    }
    case 'korora/reinstatement': {
      const { document, ledger } = shown;
      return [
        ['host', document.host],
        ['reason', text(document.reason)],
        ['in doubt', text(ledger.doubt)],
        ['counter', String(ledger.counter)],
        ['known last', text(ledger.generations)],
        ...ledger.unreadable.map((vmId) => [`VM ${vmId}`, 'its record cannot be read, and stays in doubt'] as const),
        ...(ledger.records.length === 0 ? [['records', 'none'] as const] : ledger.records.map((record) => [`VM ${record.vmId}`, `${record.state}, epoch ${record.epoch}: ${text(record)}`] as const)),
        ['ledger', document.ledgerDigest],
      ];
    }
  }
}

function orderRows({ vmId, source, destination, migrationId, epoch, limits, requiresApproval, bundleDigest }: Order): Rows {
  return [
    ['VM', vmId], ['from', source], ['to', destination], ['move', migrationId], ['epoch', String(epoch)],
    ...Object.entries(limits).map(([name, value]) => [name, text(value)] as const),
    ['approval', requiresApproval ? 'asked for before the source stops' : 'not asked for'],
    ['trust bundle', bundleDigest],
  ];
}

/** Signed before, by whom it names. */
function signedOrder(order: Order): Rows {
  return [...orderRows(order), ['ordered by', order.by], ['good until', order.notAfter], ['its digest', digestOf(order)], ['', '']];
}

function vmRows(vm: VmDocument): Rows {
  return [...Object.entries(vm).map(([name, value]) => [name, text(value)] as const), ['VM digest', digestOf(vm)]];
}

/** Every field, the changed ones with both values. */
function changed(before: CopyLimits, after: CopyLimits): Rows {
  return (Object.keys(after) as (keyof CopyLimits)[]).map((name) => {
    const [old, now] = [text(before[name]), text(after[name])];
    return [name, old === now ? `${now} (as it is)` : `${old} → ${now}`];
  });
}

function text(value: unknown): string {
  return visibleJson(value);
}

function lines(rows: Rows): string[] {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => (name === '' ? '' : `  ${name.padEnd(width)}  ${value}`));
}
