/** docs/state-diagrams.md is what the code says; and what any reader of a diagram relies on. */
import { describe, expect, it } from 'vitest';
import { FOLLOWS, PHASES } from '../../domain/steps.js';
import { ownershipEdges, phaseEdges, stateDiagrams } from '../support/state-diagrams.js';

it('the document is the code’s', async () => {
  await expect(stateDiagrams()).toMatchFileSnapshot('../../docs/state-diagrams.md');
});

describe('the ownership states', () => {
  const edges = ownershipEdges();
  const between = (from: string, to: string) => edges.filter((edge) => edge.from === from && edge.to === to).map(({ event }) => event).sort();

  it('leave relinquished by a proven verdict, claim or succession, or by a fence, and by nothing else', () => {
    expect([...new Set(edges.filter(({ from, to }) => from === 'relinquished' && to !== from).map(({ event, to }) => `${event} → ${to}`))].sort()).toEqual([
      'fence → owner',
      'learn-claim → retired',
      'learn-succession → retired',
      'learn-verdict accepted → retired',
      'learn-verdict rejected → owner',
    ]);
  });

  it('become an owner by a creation, an acceptance, a withdrawn offer or what ends a relinquished state', () => {
    expect(between('none', 'owner')).toEqual(['create']);
    expect(between('incoming', 'owner')).toEqual(['accept']);
    expect(between('offering', 'owner')).toEqual(['withdraw']);
    expect(between('retired', 'owner')).toEqual([]);
  });
});

describe('the phases', () => {
  it('are all reached, and every one but the ends leads on', () => {
    const reached = new Set(phaseEdges().map(({ to }) => to));
    expect(PHASES.filter((phase) => phase !== 'requested' && !reached.has(phase))).toEqual([]);
    expect(PHASES.filter((phase) => FOLLOWS[phase].length === 0)).toEqual(['retired', 'source-resumed', 'refused']);
  });
});
