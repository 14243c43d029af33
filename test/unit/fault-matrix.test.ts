/**
 * The fault matrix as a table: every step, write and message has its cells, what cannot be says why, and a step that nobody
 * thought of is noticed.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { STEPS } from '../../domain/steps.js';
import { HANDOVER, PRESSES, allButtons } from '../../infra/testbed/faults/buttons.js';
import { type Cell, STEP_FAULTS, allCells } from '../../infra/testbed/faults/cells.js';
import { deaths } from '../../infra/testbed/faults/orchestrator.js';
import { type MatrixRecord, document, json, updated } from '../../infra/testbed/faults/report.js';
import type { CellResult, Trial } from '../../infra/testbed/faults/rig.js';

const cells = allCells();
const buttons = allButtons();
const places = Object.entries(STEPS).flatMap(([step, { does, undo }]) => [
  ...does.map(({ on, activity }) => ({ step, on, activity, isUndo: false })),
  ...undo.map(({ on, activity }) => ({ step, on, activity, isUndo: true })),
]);
const isAt = (place: (typeof places)[number]) => (cell: Cell) => cell.step === place.step && cell.on === place.on && cell.place === place.activity && cell.isUndo === place.isUndo;

/** What domain/steps.ts says of them is held against hosts in test/e2e/shared/reading-steps.test.ts. */
const READING = ['inspectSource', 'inspectDestination', 'quoteHost', 'giveReceipt'];

describe('the fault matrix', () => {
  it.each(places)('has every fault of $step: $on $activity (undo: $isUndo)', (place) => {
    expect(cells.filter(isAt(place)).map(({ fault }) => fault)).toEqual(Object.keys(STEP_FAULTS));
  });

  it('has no cell beside those of steps, writes and messages, and no name twice', () => {
    const ofSteps = cells.filter(({ kind }) => kind === 'activity');
    expect(ofSteps.length).toBe(places.length * Object.keys(STEP_FAULTS).length);
    expect(new Set(cells.map(({ name }) => name)).size).toBe(cells.length);
  });

  it('says of each cell how the move may end, or why there is none', () => {
    for (const { name, outcomes, notApplicable } of cells) expect([name, notApplicable === null ? outcomes.length > 0 : notApplicable.length > 10]).toEqual([name, true]);
  });

  it('leaves out little: undo faults of a do, do faults of an undo, what needs another worker, and what is alike where nothing changes', () => {
    const left = cells.filter(({ kind, notApplicable }) => kind === 'activity' && notApplicable !== null);
    const changesNothing = ({ place, isUndo }: Cell) => !isUndo && READING.includes(place);
    const inWords = (cell: Cell) => `${cell.isUndo ? 'undo' : changesNothing(cell) ? 'do that changes nothing' : 'do'} ${cell.on === 'control' && cell.fault === 'control-killed' ? 'on control ' : ''}${cell.fault}`;
    expect([...new Set(left.map(inWords))].sort()).toEqual([
      'do on control control-killed',
      'do that changes nothing killed-after',
      'do that changes nothing reply-lost',
      'do that changes nothing runs-twice',
      'do that changes nothing undo-fails-once',
      'do that changes nothing undo-runs-twice',
      'do undo-fails-once',
      'do undo-runs-twice',
      'undo fails-before',
      'undo runs-twice',
    ]);
    // Each stands for one that is tried: the same state, broken by another hand.
    expect(left.filter(changesNothing).filter(({ fault }) => ['killed-after', 'reply-lost', 'runs-twice'].includes(fault)).length).toBe(18);
    for (const { step, on, place } of left.filter(changesNothing)) {
      const tried = cells.filter((cell) => cell.step === step && cell.on === on && cell.place === place && cell.notApplicable === null).map(({ fault }) => fault);
      expect(tried).toEqual(['fails-before', 'heartbeat-lost', 'killed-before', 'control-killed', 'aborted']);
    }
  });

  it('refuses a step that has no cells, and an undo that nothing reaches', () => {
    const step = { phase: 'copying', because: 'A test wants it.' } as const;
    const warm = { on: 'source', activity: 'warmUp' } as const;
    expect(() => allCells({ ...STEPS, warmUp: { ...step, does: [warm], undo: [] } })).toThrow('does not know warmUp: source warmUp');
    expect(() => allCells({ ...STEPS, quote: { ...STEPS.quote, undo: [warm] } })).toThrow('does not know quote: source warmUp (undo)');
  });
});

describe("Temporal's buttons", () => {
  const pressed = buttons.filter(({ moment }) => typeof moment !== 'string');

  it('are pressed before and after every step, do and undo, and every write', () => {
    const at = new Map<string, string[]>();
    for (const { name } of pressed) {
      const [place = '', press = ''] = name.split(' · ');
      at.set(place, [...(at.get(place) ?? []), press]);
    }
    const writes = new Set(cells.filter(({ kind }) => kind === 'write').map(({ place }) => place));
    expect(at.size).toBe(places.length + writes.size);
    for (const presses of at.values()) expect(presses).toEqual(Object.values(PRESSES));
  });

  it('are pressed after each end of a move, and while it waits for a destination without power', () => {
    const late = buttons.filter(({ moment }) => typeof moment === 'string').map(({ moment, press, cause }) => `${String(moment)} ${cause} ${press}`);
    expect(late.sort()).toEqual([
      'ended null again', 'ended null reset', 'ended stop-copy-fails again', 'ended stop-copy-fails reset', 'ended wrapping-fails again', 'ended wrapping-fails reset',
      'in-doubt destination-off again', 'in-doubt destination-off reset', 'in-doubt destination-off terminate',
    ]);
  });

  it('leave out what cannot be, and a step after its effect only where it has none', () => {
    for (const { place, moment, notApplicable } of pressed) {
      const isAlike = READING.includes(place) && typeof moment !== 'string' && moment.at === 'after';
      const isNoWrite = cells.every((cell) => cell.place !== place || cell.kind !== 'write' || cell.notApplicable !== null) && !places.some(({ activity }) => activity === place);
      expect([place, notApplicable !== null]).toEqual([place, isAlike || isNoWrite]);
    }
  });

  it('have names of their own, and each says how it ends: in no way that has the VM at neither host', () => {
    expect(new Set([...cells, ...buttons].map(({ name }) => name)).size).toBe(cells.length + buttons.length);
    for (const { name, ends, press } of buttons) {
      expect([name, ends.length > 0 && ends.every((end) => end.startsWith('terminated') === (press === 'terminate'))]).toEqual([name, true]);
      // A move that moved is at its destination; one that was refused may be at either: hosts say where.
      for (const end of ends) expect([name, !end.startsWith('moved') || end === 'moved, at the destination']).toEqual([name, true]);
    }
  });

  it('have places of the handover that there are', () => {
    expect(HANDOVER.filter((place) => !buttons.some((button) => button.place === place))).toEqual([]);
  });
});

describe('the record of the fault matrix', () => {
  const [first, second] = cells as [Cell, Cell];
  const result = (cell: Trial, problems: readonly string[] = []): CellResult => ({ cell, outcome: 'moved', problems, resumedAfterMs: null, diagnosis: null, elapsedMs: 1000.4 });
  const [monday, tuesday] = [{ date: '2026-01-05', commit: 'aaaa' }, { date: '2026-01-06', commit: 'bbbb+' }];
  const namesAndCommits = (rows: MatrixRecord['cells']) => rows.map(({ name, commit }) => [name, commit]);

  it('has the last result of each cell, in their order; what is no cell any more goes', () => {
    const before = updated([], [result(second), result(first, ['it failed']), result({ ...first, name: 'gone' })], monday, [first, second]);
    expect(namesAndCommits(before)).toEqual([[first.name, 'aaaa'], [second.name, 'aaaa']]);
    const after = updated(before, [result(first)], tuesday, [first, second]);
    expect(namesAndCommits(after)).toEqual([[first.name, 'bbbb+'], [second.name, 'aaaa']]);
    expect(after[0]?.problems).toEqual([]);
  });

  it('keeps the deaths of the orchestrator together: those of the last run that had any', () => {
    const [old, young] = [deaths(1, 1), deaths(1, 2)];
    const before = updated([], [result(first), ...old.map((death) => result(death))], monday, [first]);
    expect(namesAndCommits(updated(before, [result(first)], tuesday, [first]))).toEqual([[first.name, 'bbbb+'], ...old.map(({ name }) => [name, 'aaaa'])]);
    expect(namesAndCommits(updated(before, young.map((death) => result(death)), tuesday, [first]))).toEqual([[first.name, 'aaaa'], ...young.map(({ name }) => [name, 'bbbb+'])]);
  });

  it('says what failed and how much was not run', () => {
    const versions = { qemu: '1', swtpm: '1', tpm2Tools: '1', node: '1' };
    const text = document({ versions, cells: updated([], [result(first, ['it broke'])], monday, [first, second]) }, [first, second], []);
    expect(text).toContain('**0 passed, 1 failed**, 1 not run');
    expect(text).toContain(`| ${first.name} | moved | FAILED: it broke |  | 1.0 | 2026-01-05 aaaa |`);
  });

  it('is what docs/fault-matrix.md shows, and of the cells of today', () => {
    const text = readFileSync('docs/fault-matrix.json', 'utf8');
    const record = JSON.parse(text) as MatrixRecord;
    expect(text).toBe(json(record));
    const all = [...cells, ...buttons];
    const can = all.filter(({ notApplicable }) => notApplicable === null);
    const left = all.filter(({ notApplicable }) => notApplicable !== null);
    expect(readFileSync('docs/fault-matrix.md', 'utf8')).toBe(document(record, can, left));
    // Buttons before the handover leave the source alone: the fake hypervisor has those, and a row says that they were never run on QEMU.
    const due = can.filter((cell) => cell.kind !== 'button' || HANDOVER.includes(cell.place)).map(({ name }) => name);
    const on = record.cells.filter(({ kind }) => kind !== 'orchestrator').map(({ name }) => name);
    expect(due.filter((name) => !on.includes(name))).toEqual([]);
    expect(on).toEqual(can.map(({ name }) => name).filter((name) => on.includes(name)));
  });
});
