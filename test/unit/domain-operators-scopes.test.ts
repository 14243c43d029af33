/** domain/operators.ts: the forms of scopes and names, in which words another one is refused, and what several patterns or scopes come to. */
import { describe, expect, it } from 'vitest';
import { describeIssues } from '../../domain/documents.js';
import { type Operator, OperatorName, Scope, type Wish, isAllowed, resourcesNotAllowed } from '../../domain/operators.js';
import { DESTINATION, SOURCE, VM, samples, trustBundleOf, vmDocument } from '../support/documents.js';

const given = (changes: Partial<Record<keyof Scope, unknown>>) => ({ ...samples.trustBundle.operators[0]?.scopes[0], ...changes });
const wrongWith = (changes: Partial<Record<keyof Scope, unknown>>): string | null => {
  const { error } = Scope.safeParse(given(changes));
  return error ? describeIssues(error) : null;
};
const operatorWith = (...scopes: readonly Partial<Record<keyof Scope, unknown>>[]): Operator => ({ ...(trustBundleOf().operators[0] as Operator), scopes: scopes.map((changes) => Scope.parse(given(changes))) });
const MOVE: Wish = { action: 'migrate', vmId: VM, source: SOURCE, destination: DESTINATION };

describe('a pattern', () => {
  const VMS = 'vms.0: a VM id, the beginning of one with * after it, or *';
  const PATHS = 'disks.0: an absolute path, a folder with /* after it, or *';
  const BRIDGES = 'bridges.0: the name of a bridge, the beginning of one with * after it, or *';

  it.each<[keyof Scope, string, string | null]>([
    ['vms', '*', null], ['vms', 'web-1', null], ['vms', 'web-*', null], ['vms', 'a'.repeat(48), null],
    ['vms', 'x web-1', VMS], ['vms', 'web-1 x', VMS], ['vms', '**', VMS], ['vms', 'we*b', VMS], ['vms', '', VMS], ['vms', 'a'.repeat(49), VMS],
    ['disks', '*', null], ['disks', '/srv/*', null], ['disks', 'srv/a', PATHS], ['disks', '/srv/*/a', PATHS],
    ['bridges', '*', null], ['bridges', 'br*', null], ['bridges', 'br 0*', BRIDGES], ['bridges', 'b'.repeat(16), BRIDGES],
  ])('of %s: %s', (member, pattern, problem) => {
    expect(wrongWith({ [member]: [pattern] })).toBe(problem);
  });
});

describe('a scope', () => {
  it('names boot files, one or more', () => {
    expect(wrongWith({ bootFiles: ['/srv/boot/*', '/srv/other/*'] })).toBeNull();
    expect(wrongWith({ bootFiles: [] })).toMatch(/^bootFiles: Too small/);
  });

  it.each<[string, Partial<Record<keyof Scope, unknown>>, Partial<Wish>, boolean]>([
    ['one of several patterns of VMs', { vms: ['db-*', 'web-*'] }, {}, true],
    ['one of several sources', { sources: ['host-c', SOURCE] }, {}, true],
    ['one of several destinations', { destinations: ['host-c', DESTINATION] }, {}, true],
    ['any source of what has none', { sources: ['host-c'] }, { action: 'start', source: null }, true],
    ['another source', { sources: ['host-c'] }, {}, false],
    ['all VMs of a host, with all VMs', {}, { action: 'reinstate', vmId: null, source: null }, true],
    ['all VMs of a host, with some', { vms: ['web-*'] }, { action: 'reinstate', vmId: null, source: null }, false],
  ])('covers %s', (_, scope, wish, expected) => {
    expect(isAllowed(operatorWith(scope), { ...MOVE, ...wish })).toBe(expected);
  });
});

describe('of several scopes that lack something', () => {
  const NO_BRIDGE = { bridges: [] };
  const ONE_DISK = { disks: ['/srv/shared/web-1-root.qcow2'] };
  const lacking = (...scopes: readonly Partial<Record<keyof Scope, unknown>>[]) => resourcesNotAllowed(operatorWith(...scopes), MOVE, vmDocument()).map(({ name }) => name);

  it('the one that lacks the least is told, the first of equals', () => {
    expect(lacking(NO_BRIDGE, { disks: [] })).toEqual(['br0']);
    expect(lacking({ disks: [] }, NO_BRIDGE)).toEqual(['br0']);
    expect(lacking(NO_BRIDGE, ONE_DISK)).toEqual(['br0']);
    expect(lacking(ONE_DISK, NO_BRIDGE)).toEqual(['/srv/shared/web-1-data.raw']);
  });
});

describe('the name of an operator', () => {
  it.each<[string, boolean]>([['a', true], ['ada.l@example-1_x', true], ['7', true], ['a'.repeat(64), true], ['a'.repeat(65), false], ['', false], ['.ada', false], ['Ada', false], ['x ada', false], ['ada ', false], ['ada/x', false]])('%s', (name, isOne) => {
    const { error } = OperatorName.safeParse(name);
    expect(error ? describeIssues(error) : null).toBe(isOne ? null : 'document: lower-case letters, digits, and . _ @ - inside; at most 64');
  });
});
