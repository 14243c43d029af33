/** What changed since the record of the mutants, and how long its mutants will probably take. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';

/** Stryker sets itself up and runs the tests once without a mutant. */
const BEFORE_THE_FIRST_S = 20;
/** Of a file that no record knows. */
const LINE_S = 0.6;

export function digestOf(source) {
  return createHash('sha256').update(source).digest('hex');
}

/** The whole file where the record has no row for it, or git does not know the commit of the row. */
export function placesIn(file, source, row) {
  if (row?.sha256 === digestOf(source)) return [];
  const diff = row === undefined ? null : diffSince(row.commit, file);
  const all = { file, lines: null, count: source.split('\n').length - 1 };
  return diff === null ? [all] : rangesIn(diff).map((lines) => ({ file, lines, count: lines.last - lines.first + 1 }));
}

/** Of each change in the output of `git diff --unified=0`, the lines in the new file; where lines were taken out, the line before. */
export function rangesIn(diff) {
  return [...diff.matchAll(/^@@ -\S+ \+(\d+)(?:,(\d+))? @@/gm)].map(([, start, count = '1']) => {
    const first = Math.max(1, Number(start));
    return { first, last: first + Math.max(1, Number(count)) - 1 };
  });
}

export function secondsExpected(places, rows) {
  const ofLine = (row) => (row ? row.seconds / row.lines : LINE_S);
  return Math.round(BEFORE_THE_FIRST_S + places.reduce((sum, { file, count }) => sum + count * ofLine(rows[file]), 0));
}

function diffSince(commit, file) {
  try {
    return execFileSync('git', ['diff', '--unified=0', commit, '--', file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return null;
  }
}
