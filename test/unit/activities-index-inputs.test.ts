/** activities/index.ts and inputs.ts: what the control worker does, and how a reason is taken. */
import { describe, expect, it } from 'vitest';
import { createControlActivities } from '../../activities/index.js';
import { HOST_INPUTS } from '../../activities/inputs.js';
import { SIGNED_ORDER } from '../support/documents.js';

it('the control worker records evidence, and does nothing else', () => {
  expect(Object.keys(createControlActivities({ evidenceDir: '/nowhere' }))).toEqual(['recordEvidence']);
});

describe('a reason', () => {
  it.each<[string, string, string]>([
    ['as it is', 'it was late', 'it was late'],
    ['of none', '', 'no reason given'],
    ['as far as it is told', 'x'.repeat(1001), 'x'.repeat(1000)],
  ])('is taken %s', (_, reason, taken) => {
    expect(HOST_INPUTS.settleSource.parse({ order: SIGNED_ORDER, reason })).toEqual({ order: SIGNED_ORDER, reason: taken });
  });
});
