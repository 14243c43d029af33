/** domain/bundle-diff.ts: lists whose order says nothing, sets of one id, and members that came or went. */
import { describe, expect, it } from 'vitest';
import { diffBundles } from '../../domain/bundle-diff.js';
import type { HostClass, TrustBundle } from '../../domain/trust-bundle.js';
import { hostClassOf, samples, trustBundleOf } from '../support/documents.js';

const [SET] = samples.hostClass.referenceSets;
const [A, B, C] = ['00000000000000aa', '00000000000000bb', '00000000000000cc'] as const;

const withClass = (changes: Partial<Record<keyof HostClass, unknown>>): TrustBundle => trustBundleOf({ classes: { rack: hostClassOf(changes) } });

describe('firmware versions', () => {
  const diff = (before: readonly string[] | null, after: readonly string[] | null) => diffBundles(withClass({ firmwareVersions: before }), withClass({ firmwareVersions: after }));

  it.each([[[C, B, A]], [[B, A, C]], [[A, B, C]]])('are the same ones in another order: %j', (versions) => {
    expect(diff([A, B, C], versions)).toEqual([]);
  });

  it('are told in ascending order', () => {
    expect(diff([C, A], [B, A])).toStrictEqual([{ at: 'classes.rack.firmwareVersions', before: [A, C], after: [A, B] }]);
  });

  it('may be any: before, after, or both', () => {
    expect(diff(null, null)).toEqual([]);
    expect(diff([B, A], null)).toStrictEqual([{ at: 'classes.rack.firmwareVersions', before: [A, B], after: null }]);
    expect(diff(null, [B, A])).toStrictEqual([{ at: 'classes.rack.firmwareVersions', before: null, after: [A, B] }]);
  });
});

describe('reference sets of one id', () => {
  const holding = (...statuses: readonly string[]) => withClass({ referenceSets: statuses.map((status) => ({ ...SET, status })) });

  it.each<[string, readonly string[], string]>([
    ['first', ['revoked', 'active', 'active'], 'kernel-6.1'],
    ['second', ['active', 'revoked', 'active'], 'kernel-6.1 #2'],
    ['third', ['active', 'active', 'revoked'], 'kernel-6.1 #3'],
  ])('are told apart by their number: the %s', (_, statuses, name) => {
    expect(diffBundles(holding('active', 'active', 'active'), holding(...statuses))).toStrictEqual([{ at: `classes.rack.referenceSets.${name}.status`, before: 'active', after: 'revoked' }]);
  });

  it('are told apart from one whose id looks like their number', () => {
    const holding = (second: string) => withClass({ referenceSets: ['a', 'a', 'a#2', 'a#2'].map((id, i) => ({ ...SET, id, status: i === 1 ? second : 'active' })) });
    expect(diffBundles(holding('active'), holding('revoked'))).toStrictEqual([{ at: 'classes.rack.referenceSets.a #2.status', before: 'active', after: 'revoked' }]);
  });

  it('are one more where one came', () => {
    expect(diffBundles(holding('active'), holding('active', 'pending'))).toStrictEqual([{ at: 'classes.rack.referenceSets.kernel-6.1 #2', after: { ...SET, status: 'pending' } }]);
  });
});

describe('a member', () => {
  const spare = { pcrs: samples.hostClass.pcrs, firmwareVersions: null, referenceSets: [SET] };
  const told = { ...spare, referenceSets: { 'kernel-6.1': SET } };
  const withSpare = () => trustBundleOf({ classes: { ...samples.trustBundle.classes, spare } });

  it('that came has nothing before', () => {
    expect(diffBundles(trustBundleOf(), withSpare())).toStrictEqual([{ at: 'classes.spare', after: told }]);
  });

  it('that went has nothing after', () => {
    expect(diffBundles(withSpare(), trustBundleOf())).toStrictEqual([{ at: 'classes.spare', before: told }]);
  });

  it('that is another has both', () => {
    expect(diffBundles(trustBundleOf(), trustBundleOf({ serial: 8 }))).toStrictEqual([{ at: 'serial', before: 7, after: 8 }]);
  });
});
