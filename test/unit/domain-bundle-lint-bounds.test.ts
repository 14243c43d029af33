/** domain/bundle-lint.ts: the bounds of each rule, and bundles that come near to one and are meant. */
import { describe, expect, it } from 'vitest';
import { lintBundle } from '../../domain/bundle-lint.js';
import { HostId } from '../../domain/ids.js';
import { ACTIONS, type Operator, type Scope } from '../../domain/operators.js';
import type { HostClass, HostEntry, TrustBundle } from '../../domain/trust-bundle.js';
import { DESTINATION, SOURCE, digest, hostClassOf, hostEntryOf, tpmName, trustBundleOf } from '../support/documents.js';
import { testSigner } from '../support/signers.js';

const NOW = new Date('2026-01-01T00:00:00Z');
const SCOPE: Scope = { actions: ['start', 'migrate'], vms: ['*'], sources: ['*'], destinations: ['*'], disks: ['/srv/shared/*'], bootFiles: ['/srv/boot/*'], bridges: ['br*'] };
const values = (two: number) => ({ '0': digest(0x10), '2': digest(two), '4': digest(0x14), '7': digest(0x17) });

const scope = (changes: Partial<Scope>): Scope => ({ ...SCOPE, ...changes });
const operator = (name: string, n: number, ...scopes: readonly Scope[]): Operator => ({ name, publicKey: testSigner(n).publicKey, status: 'active', scopes: [...scopes] });
const host = (hostId: string, byte: number, changes: Partial<Record<keyof HostEntry, unknown>> = {}) => hostEntryOf({
  hostId,
  attestationKey: { publicArea: 'AAAA', name: tpmName(byte) },
  identity: { proof: 'ek-certificate', ekCertificateSha256: digest(byte), rootSha256: digest(0xca) },
  ...changes,
});
const hostClass = (changes: Partial<Record<keyof HostClass, unknown>> = {}) => hostClassOf({
  pcrs: [0, 2, 4, 7],
  referenceSets: [{ id: 'new', status: 'active', pcrValues: values(0x12), events: null }, { id: 'old', status: 'obsolete', pcrValues: values(0x22), events: null }],
  ...changes,
});
const ada = (...scopes: readonly Scope[]) => operator('ada', 2, ...scopes);
const grace = (...scopes: readonly Scope[]) => operator('grace', 3, ...scopes);
const WORDS = scope({ actions: ['approve', 'fence', 'reinstate'] });

/** Nothing is to be said of it but for `changes`. */
function told(changes: Partial<Record<keyof TrustBundle, unknown>>): string[] {
  const bundle = trustBundleOf({ hosts: [host('host-a', 0xa0), host('host-b', 0xb0)], classes: { rack: hostClass() }, operators: [ada(SCOPE), grace(WORDS)], ...changes });
  return lintBundle(bundle, NOW).map(({ severity, at, problem }) => `${severity} ${at}: ${problem}`);
}
const parameters = (...wordsOfTwo: readonly string[]) => ({ nonceLifetimeMs: 60_000, approverMustDiffer: true, wordsOfTwo, yieldedKeptMs: 0 });

describe('korora trust lint', () => {
  it.each<[string, string, readonly string[]]>([
    ['ended a second ago', '2025-12-31T23:59:59Z', ['error expiresAt: it expired at 2025-12-31T23:59:59Z']],
    ['ends now', '2026-01-01T00:00:00Z', ['warning expiresAt: it expires in 0 days']],
    ['ends within a day', '2026-01-01T23:59:59Z', ['warning expiresAt: it expires in 0 days']],
    ['has a second less than 30 days', '2026-01-30T23:59:59Z', ['warning expiresAt: it expires in 29 days']],
    ['has 30 days', '2026-01-31T00:00:00Z', []],
  ])('goes by whole days: a bundle that %s', (_, expiresAt, findings) => {
    expect(told({ expiresAt })).toEqual(findings);
  });

  it('tells of a bundle without an active host', () => {
    expect(told({ hosts: [host('host-a', 0xa0, { status: 'revoked' }), host('host-b', 0xb0, { status: 'suspended' })] })).toEqual(['error hosts: no host is active: nothing can move']);
  });

  it('takes a class for used that one of several hosts is of', () => {
    expect(told({ hosts: [host('host-a', 0xa0), host('host-b', 0xb0, { class: 'spare' })], classes: { rack: hostClass(), spare: hostClass() } })).toEqual([]);
  });

  it('lists each PCR of the usual ones that a class leaves out', () => {
    const pcrValues = { '0': digest(0x10), '4': digest(0x14) };
    expect(told({ classes: { rack: hostClass({ pcrs: [0, 4], referenceSets: [{ id: 'new', status: 'active', pcrValues, events: null }] }) } })).toEqual(['warning classes.rack.pcrs: PCR 2, 7 may have any value']);
  });

  it.each(['pending', 'obsolete', 'revoked'])('says nothing of empty PCRs in a set that is %s: no host passes by it', (status) => {
    const sets = [{ id: 'new', status: 'active', pcrValues: values(0x12), events: null }, { id: 'empty', status, pcrValues: values(0), events: null }];
    expect(told({ classes: { rack: hostClass({ referenceSets: sets }) } })).toEqual([]);
  });

  it('says nothing of a revoked key, whatever its scopes', () => {
    const revoked = (...scopes: Scope[]): Operator => ({ ...operator('bob', 4, ...scopes), status: 'revoked' });
    for (const bob of [revoked(), revoked(scope({ destinations: [HostId.parse('host-z')] })), revoked(scope({ actions: [...ACTIONS], disks: ['*'] }))]) expect(told({ operators: [ada(SCOPE), grace(WORDS), bob] })).toEqual([]);
  });
});

describe('a key', () => {
  const everything = ['warning operators.ada: this key alone may do everything, on every host'];
  const all = (changes: Partial<Scope>) => scope({ actions: [...ACTIONS], ...changes });

  it.each<[string, Scope, readonly string[]]>([
    ['all VMs on all hosts', all({}), everything],
    ['all of that, and some of it by name', all({ vms: ['web-1', '*'], sources: ['*', SOURCE], destinations: [DESTINATION, '*'] }), everything],
    ['some VMs', all({ vms: ['web-*'] }), []],
    ['VMs of one host', all({ sources: [SOURCE] }), []],
    ['VMs to one host', all({ destinations: [DESTINATION] }), []],
    ['VMs of one host to one host', all({ sources: [SOURCE], destinations: [DESTINATION] }), []],
    ['some VMs of one host to one host', all({ vms: ['web-1'], sources: [SOURCE], destinations: [DESTINATION] }), []],
  ])('with every action for %s', (_, one, findings) => {
    expect(told({ operators: [ada(one), grace(WORDS)] })).toEqual(findings);
  });

  const opens = (what: string) => [`warning operators.ada: a scope lets VMs open any of these that a host has: ${what}`];
  it.each<[string, readonly Scope[], readonly string[]]>([
    ['may start VMs with any disk', [SCOPE, scope({ actions: ['start'], disks: ['*'] })], opens('disks')],
    ['may move VMs with any boot file', [SCOPE, scope({ actions: ['migrate'], bootFiles: ['*'] })], opens('bootFiles')],
    ['may start VMs with any disk, and move those on any bridge', [scope({ actions: ['start'], disks: ['*'] }), scope({ actions: ['migrate'], bridges: ['*'] })], opens('disks, bridges')],
    ['may do both with anything', [scope({ disks: ['*'], bootFiles: ['*'], bridges: ['*'] })], opens('disks, bootFiles, bridges')],
    ['may fence with any of them', [SCOPE, scope({ actions: ['fence'], disks: ['*'], bootFiles: ['*'], bridges: ['*'] })], []],
  ])('that %s', (_, scopes, findings) => {
    expect(told({ operators: [ada(...scopes), grace(WORDS)] })).toEqual(findings);
  });
});

describe('what is in nobody’s power, or in that of too few', () => {
  it('may be in that of a key by any of its scopes', () => {
    const apart = ACTIONS.filter((action) => action !== 'start' && action !== 'migrate').map((action) => scope({ actions: [action] }));
    expect(told({ operators: [ada(scope({ actions: ['start'] }), scope({ actions: ['migrate'] })), grace(...apart)] })).toEqual([]);
  });

  it.each<[string, readonly Operator[], readonly string[]]>([
    ['nobody', [ada(SCOPE), grace(scope({ actions: ['approve', 'reinstate'] }))], ['warning operators: no active operator may fence', 'error parameters.wordsOfTwo: two operators must sign to fence, and nobody alone may']],
    ['one', [ada(SCOPE), grace(WORDS)], ['error parameters.wordsOfTwo: two operators must sign to fence, and grace alone may']],
    ['two', [ada(SCOPE, scope({ actions: ['fence'] })), grace(WORDS)], []],
    ['three', [ada(SCOPE, scope({ actions: ['fence'] })), grace(WORDS), operator('bob', 4, scope({ actions: ['fence'] }))], []],
  ])('is a word of two that may be given by %s', (_, operators, findings) => {
    expect(told({ operators, parameters: parameters('fence') })).toEqual(findings);
  });
});
