/** The table of `npm run attack`: a row a kind, and what went wrong below it. */
import type { Trial } from './flip-trials.js';
import type { Kind } from './kinds.js';

const WIDTHS = [20, 5, 52, 6, 8] as const;

export const TABLE_HEAD = row('kind', 'on', 'what', 'tried', 'refused', 'by');

export function tableRow({ name, on, what }: Kind, trials: readonly Trial[]): string {
  const refused = trials.filter(({ codes, problems }) => problems.length === 0 && codes.length > 0).length;
  const withoutEffect = trials.filter(({ codes, problems }) => problems.length === 0 && codes.length === 0).length;
  const counts = new Map<string, number>();
  for (const code of trials.flatMap(({ codes }) => codes)) counts.set(code, (counts.get(code) ?? 0) + 1);
  const by = [...counts].sort(([, a], [, b]) => b - a).map(([code, count]) => `${code} ${count}`);
  if (withoutEffect > 0) by.push(`without effect ${withoutEffect}`);
  return row(name, on, what, String(trials.length), String(refused), by.join(', '));
}

/** A line for each trial that did not come to nothing. */
export function problemLines(trials: readonly Trial[]): readonly string[] {
  return trials.filter(({ problems }) => problems.length > 0).map(({ what, problems }) => `  ✗ ${what}: ${problems.join('; ')}`);
}

function row(...cells: readonly string[]): string {
  return cells.map((cell, i) => cell.padEnd(WIDTHS[i] ?? 0)).join('  ').trimEnd();
}
