/** The tables that compare Kororā with QEMU alone, and the targets they are held against. */
import { temporalMsOf } from './history.js';
import { type CellResult, type KororaMove, nameOf } from './moves.js';
import { fixed, median, signed, spread, table } from './table.js';

/** Kororā's own targets. Temporal's share is part of what is added. */
const TARGETS = { downtimeMs: 10, addedMs: 1_500, temporalMs: 500, addedFor: 256 } as const;

export function downtimeTable(cells: readonly CellResult[]): string {
  return table(
    ['downtime, ms', 'n', '(a) QEMU alone', '(b) Kororā', '(b) − (a)', `target ≤ +${TARGETS.downtimeMs}`],
    cells.map(({ cell, plain, korora }) => {
      const [a, b] = [plain.map((m) => m.downtimeMs), korora.map((m) => m.downtimeMs)];
      const difference = median(b) - median(a);
      return [nameOf(cell), String(b.length), spread(a, 1), spread(b, 1), signed(difference, 1), met(difference <= TARGETS.downtimeMs)];
    }),
  );
}

export function totalTable(cells: readonly CellResult[]): string {
  return table(
    ['total, ms', '(a) migrate only', '(a) with destination start', '(b) until RESUME', '(b) whole workflow', '(b) − (a)', `target ≤ +${TARGETS.addedMs}`, 'of it Temporal', `target ≤ ${TARGETS.temporalMs}`],
    cells.map(({ cell, plain, korora }) => {
      const [a, b] = [plain.map((m) => m.totalMs), korora.map((m) => m.totalMs)];
      const difference = median(b) - median(a);
      const temporal = korora.map((m) => temporalMsOf(m.history));
      const isTarget = cell.memoryMib === TARGETS.addedFor;
      return [
        nameOf(cell),
        spread(plain.map((m) => m.migrateMs)),
        spread(a),
        spread(korora.map((m) => m.untilRunningMs)),
        spread(b),
        signed(difference),
        isTarget ? met(difference <= TARGETS.addedMs) : 'none',
        spread(temporal),
        isTarget ? met(median(temporal) <= TARGETS.temporalMs) : 'none',
      ];
    }),
  );
}

/** What QEMU counts as transferred beside the length of the stream that Kororā hashed, and how fast each went. */
export function copyTable(cells: readonly CellResult[]): string {
  const mib = (bytes: number) => bytes / 2 ** 20;
  const streamOf = ({ evidence }: KororaMove) => mib(evidence.manifest?.streamBytes ?? 0);
  return table(
    ['the copy', '(a) MiB', '(b) MiB', '(a) MiB/s', '(b) MiB/s', '(b) rounds seen'],
    cells.map(({ cell, plain, korora }) => [
      nameOf(cell),
      spread(plain.map((m) => mib(m.sentBytes)), 1),
      spread(korora.map(streamOf), 1),
      spread(plain.map((m) => (mib(m.sentBytes) * 1000) / m.migrateMs)),
      spread(korora.map((m) => (streamOf(m) * 1000) / copyMsOf(m))),
      fixed(median(korora.map((m) => m.evidence.rounds.length)), 0),
    ]),
  );
}

/** From the start of stopAndCopy, which opens the channel, until RESUME. */
function copyMsOf({ history, untilRunningMs }: KororaMove): number {
  const stopAndCopy = history.spans.find(({ activity }) => activity === 'stopAndCopy');
  return history.startedAtMs + untilRunningMs - (stopAndCopy?.startedAtMs ?? Number.NaN);
}

function met(isMet: boolean): string {
  return isMet ? 'met' : 'not met';
}
