/** infra/testbed/faults/age.ts: which cells on record are older than the code that they guard, by a real repository. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ageReport, gitHistory, guardedBy, oldCells } from '../../infra/testbed/faults/age.js';
import { allButtons } from '../../infra/testbed/faults/buttons.js';
import { type Cell, allCells } from '../../infra/testbed/faults/cells.js';
import type { RecordedCell } from '../../infra/testbed/faults/report.js';

const folder = mkdtempSync(join(tmpdir(), 'korora-age-'));
afterAll(() => rmSync(folder, { recursive: true }));

const git = (...args: string[]) => execFileSync('git', ['-c', 'user.name=test', '-c', 'user.email=test@example.org', ...args], { cwd: folder, encoding: 'utf8' }).trim();
function commit(path: string): string {
  mkdirSync(join(folder, dirname(path)), { recursive: true });
  writeFileSync(join(folder, path), `${Math.random()}`);
  git('add', '-A');
  git('commit', '-q', '-m', path);
  return git('rev-parse', '--short', 'HEAD');
}

git('init', '-q');
const workflows = commit('workflows/a.ts');
const receipts = commit('activities/receipts.ts');
const docs = commit('docs/a.md');

const cellOf = (place: string) => {
  const cell = allCells().find((one) => one.place === place && one.notApplicable === null);
  if (!cell) throw new Error(`no cell of ${place}`);
  return cell;
};
const [receipt, wrap] = [cellOf('giveReceipt'), cellOf('wrapSecrets')];
const row = (cell: Pick<Cell, 'name' | 'kind'>, at: string, changes: Partial<RecordedCell> = {}): RecordedCell => ({ name: cell.name, kind: cell.kind, outcome: 'moved', problems: [], resumedAfterMs: null, elapsedMs: 1, date: '2026-01-05', commit: at, ...changes });
const why = async (rows: readonly RecordedCell[], cells: readonly Cell[]) => (await oldCells(rows, cells, gitHistory(folder))).map(({ name, why: reason }) => [name, reason]);

describe('a cell on record', () => {
  it('is old where its code was changed after it ran, and only its code', async () => {
    expect(await why([row(receipt, workflows), row(wrap, workflows)], [receipt, wrap])).toEqual([[receipt.name, 'the code was changed since']]);
    expect(await why([row(receipt, receipts), row(wrap, docs)], [receipt, wrap])).toEqual([]);
  });

  it('is old where nobody can tell: never run, failed, run on what was not committed, or at a commit that is not here', async () => {
    expect(await why([], [wrap])).toEqual([[wrap.name, 'never run']]);
    expect(await why([row(wrap, docs, { problems: ['it broke'] })], [wrap])).toEqual([[wrap.name, 'failed']]);
    expect(await why([row(wrap, `${docs}+`)], [wrap])).toEqual([[wrap.name, 'its files were not committed']]);
    expect(await why([row(wrap, 'abcdef1')], [wrap])).toEqual([[wrap.name, 'the code was changed since']]);
  });

  it('of a death of the orchestrator is old where any of the code was changed', async () => {
    const death = { name: 'orchestrator 1', kind: 'orchestrator' as const };
    expect(await why([{ ...row(wrap, workflows), ...death }], [])).toEqual([['orchestrator 1', 'the code was changed since']]);
    expect(await why([{ ...row(wrap, receipts), ...death }], [])).toEqual([]);
  });
});

it('every cell guards code, all of which there is; an activity without a row throws', () => {
  for (const cell of [...allCells(), ...allButtons()]) for (const path of guardedBy(cell)) expect([cell.name, path, existsSync(path)]).toEqual([cell.name, path, true]);
  expect(() => guardedBy({ kind: 'activity', place: 'warmUp', name: 'warm' })).toThrow('which code stands behind warmUp');
});

it('the report counts them by their reasons, and says what runs them again', () => {
  const cells = [row(receipt, docs), row(wrap, docs, { date: '2026-02-05' })];
  expect(ageReport({ cells }, [])).toContain('2026-01-05 to 2026-02-05): no cell is older');
  expect(ageReport({ cells }, [{ name: receipt.name, why: 'failed' }])).toMatch(/1 of 2 cells were not run since .*\(1 failed\).*npm run matrix -- --older --record/s);
  expect(ageReport({ cells }, [{ name: 'new', why: 'never run' }])).toContain('1 of 3 cells were not run since');
});
