/** domain/ownership-record.ts: what a settlement is, made inside of the test that asks. */
import { expect, it } from 'vitest';
import { Settlement } from '../../domain/ownership-record.js';

it('a settlement has one of four outcomes', () => {
  const settled = (outcome: string) => Settlement.safeParse({ migrationId: '00000000-0000-4000-8000-000000000001', epoch: 2, outcome, manifest: null, reason: null, peer: null, authority: null, notAfter: null }).data?.outcome;
  expect(['accepted', 'rejected', 'withdrawn', 'fenced', '', 'undecided'].map(settled)).toEqual(['accepted', 'rejected', 'withdrawn', 'fenced', undefined, undefined]);
});
