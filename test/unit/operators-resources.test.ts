/** domain/operators.ts: which disks, boot files and bridges a scope lets a VM open. */
import { describe, expect, it } from 'vitest';
import { type Operator, Scope, type Wish, resourcesNotAllowed } from '../../domain/operators.js';
import { DESTINATION, SOURCE, VM, samples, trustBundleOf, vmDocument } from '../support/documents.js';

const [ada] = trustBundleOf().operators as [Operator];
const scopeOf = (changes: Partial<Record<keyof Scope, unknown>> = {}): Scope =>
  Scope.parse({ ...ada.scopes[0], disks: ['/srv/shared/*'], bootFiles: ['/srv/boot/*'], bridges: ['br0'], ...changes });
const withScopes = (...scopes: readonly Scope[]): Operator => ({ ...ada, scopes: [...scopes] });
const START: Wish = { action: 'start', vmId: VM, source: null, destination: SOURCE };
const MOVE: Wish = { action: 'migrate', vmId: VM, source: SOURCE, destination: DESTINATION };
const lacking = (operator: Operator | undefined, wish = START, vm = vmDocument()) => resourcesNotAllowed(operator, wish, vm).map(({ kind, name }) => `${kind} ${name}`);

const ALL = ['disk /srv/shared/web-1-root.qcow2', 'disk /srv/shared/web-1-data.raw', 'boot file /srv/boot/vmlinuz', 'boot file /srv/boot/initrd.img', 'bridge br0'];

describe('a scope', () => {
  it.each<[string, object, readonly string[]]>([
    ['with the folders and the bridge of the VM', {}, []],
    ['with a folder above', { disks: ['/srv/*'], bootFiles: ['/srv/*'], bridges: ['br*'] }, []],
    ['with everything', { disks: ['*'], bootFiles: ['*'], bridges: ['*'] }, []],
    ['with one disk by its name', { disks: ['/srv/shared/web-1-root.qcow2'] }, ['disk /srv/shared/web-1-data.raw']],
    ['with a folder whose name begins alike', { disks: ['/srv/share/*'] }, ALL.slice(0, 2)],
    ['with the folder itself, and nothing below it', { disks: ['/srv/shared'] }, ALL.slice(0, 2)],
    ['without a disk', { disks: [] }, ALL.slice(0, 2)],
    ['that has the boot files among its disks', { disks: ['/srv/*'], bootFiles: ['/boot/*'] }, ALL.slice(2, 4)],
    ['with another bridge', { bridges: ['br1', 'vm*'] }, ['bridge br0']],
    ['for other VMs', { vms: ['db-*'] }, ALL],
    ['for another host', { destinations: ['host-b'] }, ALL],
    ['without the action', { actions: ['migrate'] }, ALL],
  ])('%s lets a VM open what it names, and no more', (_, changes, expected) => {
    expect(lacking(withScopes(scopeOf(changes)))).toEqual(expected);
  });

  it('bounds a move as it bounds a start', () => {
    expect(lacking(withScopes(scopeOf({ bridges: [] })), MOVE)).toEqual(['bridge br0']);
    expect(lacking(withScopes(scopeOf({ sources: ['host-b'] })), MOVE)).toEqual(ALL);
    expect(lacking(withScopes(scopeOf()), MOVE)).toEqual([]);
  });

  it('is not completed by another: what the nearest one lacks is told', () => {
    expect(lacking(withScopes(scopeOf({ disks: [] }), scopeOf({ bridges: [] })))).toEqual(['bridge br0']);
    expect(lacking(withScopes(scopeOf({ vms: ['db-*'] }), scopeOf({ disks: [] })))).toEqual(ALL.slice(0, 2));
  });

  it('of nobody allows nothing', () => {
    expect(lacking(undefined)).toEqual(ALL);
    expect(lacking(withScopes())).toEqual(ALL);
  });

  it.each<[keyof Scope, string]>([
    ['disks', 'srv/*'], ['disks', '/srv/../etc/*'], ['disks', '/srv//a'], ['disks', '/srv/web*'], ['disks', '/*/a'], ['disks', '/*'], ['disks', ''],
    ['bootFiles', '/srv/./*'], ['bridges', 'br*0'], ['bridges', '*0'], ['bridges', ''], ['bridges', 'br 0'],
  ])('with %s %j is not read', (member, pattern) => {
    expect(Scope.safeParse({ ...samples.trustBundle.operators[0]?.scopes[0], [member]: [pattern] }).success).toBe(false);
  });
});
