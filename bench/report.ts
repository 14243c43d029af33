/** The tables that compare Kororā with QEMU alone, and the targets they are held against. */
import { temporalMsOf } from './history.js';
import { type CellResult, nameOf } from './moves.js';
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

/** What QEMU counts as transferred, and the length of the stream that Kororā hashed. */
export function bytesTable(cells: readonly CellResult[]): string {
  const mib = (bytes: number) => bytes / 2 ** 20;
  return table(
    ['sent, MiB', '(a) QEMU alone', '(b) Kororā', '(b) rounds seen'],
    cells.map(({ cell, plain, korora }) => [
      nameOf(cell),
      spread(plain.map((m) => mib(m.sentBytes)), 1),
      spread(korora.map((m) => mib(m.evidence.manifest?.streamBytes ?? 0)), 1),
      fixed(median(korora.map((m) => m.evidence.rounds.length)), 0),
    ]),
  );
}

function met(isMet: boolean): string {
  return isMet ? 'met' : 'not met';
}
