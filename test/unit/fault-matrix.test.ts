/**
 * The fault matrix as a table: every step, write and message has its cells, what cannot be says why, and a step that nobody
 * thought of is noticed.
 */
import { describe, expect, it } from 'vitest';
import { STEPS } from '../../domain/steps.js';
import { type Cell, STEP_FAULTS, allCells } from '../../infra/testbed/faults/cells.js';

const cells = allCells();
const places = Object.entries(STEPS).flatMap(([step, { does, undo }]) => [
  ...does.map(({ on, activity }) => ({ step, on, activity, isUndo: false })),
  ...undo.map(({ on, activity }) => ({ step, on, activity, isUndo: true })),
]);
const isAt = (place: (typeof places)[number]) => (cell: Cell) => cell.step === place.step && cell.on === place.on && cell.place === place.activity && cell.isUndo === place.isUndo;

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

  it('leaves out little: undo faults of a do, do faults of an undo, and what needs another worker', () => {
    const left = cells.filter(({ kind, notApplicable }) => kind === 'activity' && notApplicable !== null);
    expect([...new Set(left.map(({ isUndo, on, fault }) => `${isUndo ? 'undo' : 'do'} ${on === 'control' && fault === 'control-killed' ? 'on control ' : ''}${fault}`))].sort()).toEqual([
      'do on control control-killed',
      'do undo-fails-once',
      'do undo-runs-twice',
      'undo fails-before',
      'undo runs-twice',
    ]);
  });

  it('refuses a step that has no cells, and an undo that nothing reaches', () => {
    const step = { phase: 'copying', because: 'A test wants it.' } as const;
    const warm = { on: 'source', activity: 'warmUp' } as const;
    expect(() => allCells({ ...STEPS, warmUp: { ...step, does: [warm], undo: [] } })).toThrow('does not know warmUp: source warmUp');
    expect(() => allCells({ ...STEPS, quote: { ...STEPS.quote, undo: [warm] } })).toThrow('does not know quote: source warmUp (undo)');
  });
});
