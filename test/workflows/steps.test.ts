/** Every activity of STEPS that refuses, that fails three times, and during which the move is cancelled. */
import { describe, expect, it } from 'vitest';
import { openStage } from './stage.js';
import { failsThrice, isCancelled, play, refuses } from './step-cases.js';
import { MISSING_ROWS, ROWS, byName } from './step-rows.js';

const stage = openStage('steps');

it('every undo of the table has its rows', () => {
  expect(MISSING_ROWS).toEqual([]);
});

describe.concurrent('a step that refuses', () => {
  it.each(byName(ROWS))('%s', (_, row) => play(stage, refuses(row)));
});

describe.concurrent('a step that fails three times', () => {
  it.each(byName(ROWS))('%s', (_, row) => play(stage, failsThrice(row)));
});

describe.concurrent('a step during which the move is cancelled', () => {
  it.each(byName(ROWS))('%s', (_, row) => play(stage, isCancelled(row)));
});
