/** Every activity of STEPS whose host takes the task and is heard of no more, until Temporal gives it up. */
import { describe, it } from 'vitest';
import { openStage } from './stage.js';
import { isSilent, play } from './step-cases.js';
import { ROWS, byName } from './step-rows.js';

const stage = openStage('silent');

describe.concurrent('a step whose host falls silent', () => {
  it.each(byName(ROWS))('%s', (_, row) => play(stage, isSilent(row)));
});
