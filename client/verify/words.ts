/** What operators said of a move, the order first: by a key of the bundle, within that operator's scope. */
import { type OpenedDocument, authorize, openSigned } from '../../domain/authority.js';
import { digestOf } from '../../domain/canonical.js';
import type { Evidence, SaidRecord } from '../../domain/evidence.js';
import { assertNever } from '../../domain/ids.js';
import type { Order } from '../../domain/order.js';
import type { HostEntry, InstalledBundle } from '../../domain/trust-bundle.js';
import { type Case, nameOf } from './case.js';
import type { ReportBuilder } from './report.js';

type WordKind = 'korora/approval' | 'korora/limits' | 'korora/fence';

interface Word {
  readonly kind: WordKind;
  readonly field: string;
  readonly said: SaidRecord;
}

export function wordsOf({ fences, limitsChanges, approval }: Evidence): readonly Word[] {
  return [
    ...fences.map((said, i): Word => ({ kind: 'korora/fence', field: `fences.${i}`, said })),
    ...limitsChanges.map((said, i): Word => ({ kind: 'korora/limits', field: `limitsChanges.${i}`, said })),
    ...(approval ? [{ kind: 'korora/approval', field: 'approval', said: approval } as const] : []),
  ];
}

export function checkWord({ order, installed, report }: Case, { kind, field, said: { envelope, atMs } }: Word): void {
  report.tells(`${field}.atMs`, `it was heard at ${atMs}`);
  const opened = openSigned(kind, envelope);
  const { document } = opened;
  const isOfTheMove = report.agrees(field, document, { migrationId: order.migrationId, vmId: order.vmId, ...(document.kind === 'korora/approval' ? { orderDigest: digestOf(order) } : {}) });
  const isSaid = isSaidBy(report, field, opened, order, installed);
  const doubt = doubtOf(document, order, installed);
  if (doubt) report.fails(field, doubt);
  if (isSaid && isOfTheMove && !doubt) report.proves(field, whatIsSaid(document), nameOf(installed, document.by));
}

function doubtOf(document: OpenedDocument<WordKind>['document'], order: Order, { bundle }: InstalledBundle): string | null {
  if (document.kind === 'korora/approval' && bundle.parameters.approverMustDiffer && document.by === order.by) return `${document.by} ordered the move`;
  if (document.kind === 'korora/fence' && document.host !== order.source && document.host !== order.destination) return `${document.host} is no host of this move`;
  return null;
}

/** `order`: null where the document is itself the order. */
export function isSaidBy(report: ReportBuilder, field: string, opened: Parameters<typeof authorize>[0], order: Order | null, { bundle }: InstalledBundle): boolean {
  const authority = authorize(opened, order, bundle, 'this verifier' as HostEntry['hostId']);
  if (!authority.ok) report.fails(field, `${authority.failure.code}: ${authority.failure.message}`);
  return authority.ok;
}

function whatIsSaid(document: OpenedDocument<WordKind>['document']): string {
  switch (document.kind) {
    case 'korora/approval':
      return 'the move may stop the source';
    case 'korora/limits':
      return `other limits: ${JSON.stringify(document.limits)}`;
    case 'korora/fence':
      return `${document.host} is powered off: ${document.reason}`;
    default:
      return assertNever(document);
  }
}
