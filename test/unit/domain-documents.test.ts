/**
 * The documents (domain/*.ts schemas, host/vm-store.ts) and their one byte form
 * (domain/canonical.ts): valid samples parse; every member that is missing, misnamed, of another
 * type or surplus is refused and named; a digest depends on every value and on nothing else.
 */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { Binding, HostEvidence, SessionOffer, WrappedSecrets } from '../../domain/attestation.js';
import { BOOT_EVENTS_MAX, BootEvent, EVENT_LOG_BYTES_MAX } from '../../domain/boot-events.js';
import { canonicalJson, digestOf } from '../../domain/canonical.js';
import { parseDocument } from '../../domain/documents.js';
import { AdmissionPaper, Challenge, Enrolment } from '../../domain/enrolment.js';
import { Evidence } from '../../domain/evidence.js';
import { KororaError } from '../../domain/failures.js';
import { AbsolutePath, Base64, Hex, HostId, MigrationId, NetworkAddress, Sha256Hex } from '../../domain/ids.js';
import { Manifest, Verdict, VerdictStatement } from '../../domain/manifest.js';
import { type Envelope, signEnvelope } from '../../domain/envelope.js';
import { Approval, Fence, LimitsChange, Order, Reinstatement, StartOrder } from '../../domain/order.js';
import { OwnershipRecord } from '../../domain/ownership.js';
import { HostClass, HostEntry, TrustBundle, hostIn, installBundle } from '../../domain/trust-bundle.js';
import { VmDocument } from '../../domain/vm.js';
import { InstalledVm } from '../../host/vm-store.js';
import { ADA, PEER_BOOT, POLICY_SIGNER, SIGNED_ORDER, digest, migrationId, samples } from '../support/documents.js';

const settled = { migrationId: migrationId(0), epoch: 3, outcome: 'accepted', manifest: samples.manifest, reason: 'none', peer: 'host-b', authority: SIGNED_ORDER, notAfter: '2030-01-01T00:00:00Z' };
const record = { version: 3, vmId: 'web-1', hostId: 'host-a', generation: 4, settled: [settled] };
const largestLog = Buffer.alloc(EVENT_LOG_BYTES_MAX).toString('base64');
const bootEvent = samples.hostClass.referenceSets[0]?.events?.[0] ?? {};
const moving = { epoch: 3, migrationId: migrationId(1), peer: 'host-b' };

const DOCUMENTS: Record<string, readonly [z.ZodType, unknown]> = {
  'VM document': [VmDocument, samples.vm],
  'order': [Order, samples.order],
  'start': [StartOrder, samples.start],
  'approval': [Approval, samples.approval],
  'change of limits': [LimitsChange, samples.limitsChange],
  'fence': [Fence, samples.fence],
  'reinstatement': [Reinstatement, samples.reinstatement],
  'trust bundle': [TrustBundle, samples.trustBundle],
  'host entry': [HostEntry, samples.hostEntry],
  'entry of an unproven host': [HostEntry, { ...samples.hostEntry, identity: { proof: 'none' } }],
  'host class': [HostClass, samples.hostClass],
  'enrolment': [Enrolment, samples.enrolment],
  'enrolment as a paper of an admission': [AdmissionPaper, samples.enrolment],
  'challenge': [Challenge, samples.challenge],
  'challenged host': [AdmissionPaper, samples.challengedHost],
  'answer': [AdmissionPaper, samples.answer],
  'binding': [Binding, samples.binding],
  'session offer': [SessionOffer, samples.sessionOffer],
  'evidence of a source': [HostEvidence, samples.sourceEvidence],
  'evidence of a destination': [HostEvidence, samples.destinationEvidence],
  'wrapped secrets': [WrappedSecrets, samples.wrappedSecrets],
  'manifest': [Manifest, samples.manifest],
  'verdict': [Verdict, samples.verdict],
  'verdict statement': [VerdictStatement, samples.verdictStatement],
  'evidence file': [Evidence, samples.evidence],
  'installed VM': [InstalledVm, samples.installedVm],
  'record of an owner': [OwnershipRecord, { ...record, state: 'owner', epoch: 3 }],
  'record of an offer': [OwnershipRecord, { ...record, state: 'offering', ...moving, order: structuredClone(SIGNED_ORDER), peerBoot: PEER_BOOT }],
  'record of a relinquished VM': [OwnershipRecord, { ...record, state: 'relinquished', ...moving, order: structuredClone(SIGNED_ORDER), peerBoot: PEER_BOOT }],
  'record of a retired VM': [OwnershipRecord, { ...record, state: 'retired', ...moving, keptUntil: '2030-01-08T00:00:00Z' }],
  'record of an incoming VM': [OwnershipRecord, { ...record, state: 'incoming', ...moving, order: structuredClone(SIGNED_ORDER), before: { ...moving, epoch: 1 } }],
  'record of nothing': [OwnershipRecord, { ...record, state: 'none', epoch: 0 }],
};

/** Maps whose keys are data: their members may come and go. */
const isMap = (path: string) => /(?:^|\.)(?:pcrValues|classes|phases)$/.test(path);

/** Members that came later: documents from before them parse, as if they said this. */
const isDefaulted = (path: string) => /(?:^|\.)(?:networks|stallRounds|autoConverge|bootedAfter)$/.test(path);

interface Place {
  readonly path: string;
  readonly keys: readonly string[];
}

/** Every member of every object in a document; `classes.rack.pcrs`. */
function placesIn(value: unknown, keys: readonly string[] = []): Place[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, member]) => {
    const at = [...keys, key];
    return [...(Array.isArray(value) ? [] : [{ path: at.join('.'), keys: at }]), ...placesIn(member, at)];
  });
}

/** A deep copy in which `change` was applied to the object that holds the member. */
function changed(document: unknown, keys: readonly string[], change: (holder: Record<string, unknown>, key: string) => void): unknown {
  const copy = structuredClone(document);
  const holder = keys.slice(0, -1).reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], copy);
  change(holder as Record<string, unknown>, keys.at(-1) ?? '');
  return copy;
}

/** What the schema says is wrong; '' where nothing is. */
function problemOf(schema: z.ZodType, value: unknown): string {
  try {
    parseDocument(schema, value, 'EVIDENCE_INVALID');
    return '';
  } catch (error) {
    expect(error).toBeInstanceOf(KororaError);
    return (error as KororaError).failures[0].message;
  }
}

describe.each(Object.entries(DOCUMENTS))('a valid %s', (_, [schema, sample]) => {
  const places = placesIn(sample);
  const inMap = ({ keys }: Place) => isMap(keys.slice(0, -1).join('.'));
  const fixed = places.filter((place) => !inMap(place));

  it('parses to itself', () => {
    expect(places.length).toBeGreaterThan(3);
    expect(schema.parse(structuredClone(sample))).toEqual(sample);
  });

  it('is refused without any one of its members, by name', () => {
    for (const { path, keys } of fixed.filter(({ path }) => !isDefaulted(path))) expect(problemOf(schema, changed(sample, keys, (holder, key) => delete holder[key]))).toContain(`${path}: `);
  });

  it('is read without the members that came later', () => {
    for (const { path, keys } of fixed.filter(({ path }) => isDefaulted(path))) expect([path, problemOf(schema, changed(sample, keys, (holder, key) => delete holder[key]))]).toEqual([path, '']);
  });

  it('is refused where a member has another name, by the name that is missing', () => {
    for (const { path, keys } of fixed) {
      const problem = problemOf(schema, changed(sample, keys, (holder, key) => {
        holder[`${key}X`] = holder[key];
        delete holder[key];
      }));
      expect(problem).toContain(isDefaulted(path) ? `"${keys.at(-1)}X"` : `${path}: `);
    }
  });

  it('is refused where a member is of another type, by its name', () => {
    for (const { path, keys } of places) expect(problemOf(schema, changed(sample, keys, (holder, key) => (holder[key] = typeof holder[key] === 'boolean' ? 1 : true)))).toContain(`${path}: `);
  });

  it('is refused with a member too many, wherever it stands, by its name', () => {
    for (const { keys } of fixed) expect(problemOf(schema, changed(sample, keys, (holder) => (holder['surplus'] = 1)))).toContain('"surplus"');
  });
});

describe('a value out of its range', () => {
  const vm = samples.vm;
  const [lan] = vm.networks;
  it.each<[string, z.ZodType, unknown, boolean]>([
    ['a host id', HostId, 'host-1', true],
    ['a host id of capitals', HostId, 'Host', false],
    ['a host id that ends in a hyphen', HostId, 'host-', false],
    ['a host id that climbs', HostId, '../etc', false],
    ['an empty host id', HostId, '', false],
    ['a host id of 48', HostId, 'a'.repeat(48), true],
    ['a host id of 49', HostId, 'a'.repeat(49), false],
    ['a host id with a line break', HostId, 'host\n', false],
    ['a migration id that is no UUID', MigrationId, 'm1', false],
    ['a digest of capitals', Sha256Hex, 'AB'.repeat(32), false],
    ['a digest of 63', Sha256Hex, 'a'.repeat(63), false],
    ['half a byte', Hex, 'abc', false],
    ['base64 that is cut', Base64, 'abc', false],
    ['a relative path', AbsolutePath, 'srv/disk', false],
    ['a path', AbsolutePath, '/srv/a/.b/..c', true],
    ['a path up again', AbsolutePath, '/srv/../etc', false],
    ['a path that ends with going up', AbsolutePath, '/srv/..', false],
    ['a path with a part that is here', AbsolutePath, '/srv/./a', false],
    ['a path with an empty part', AbsolutePath, '/srv//a', false],
    ['a path that ends with a slash', AbsolutePath, '/srv/', false],
    ['the root of all', AbsolutePath, '/', false],
    ['a path with a comma', AbsolutePath, '/srv/a,b', false],
    ['a path with NUL', AbsolutePath, '/srv/a\0b', false],
    ['a port of 65535', NetworkAddress, { host: '10.0.0.1', port: 65535 }, true],
    ['a port of 65536', NetworkAddress, { host: '10.0.0.1', port: 65536 }, false],
    ['an address without host', NetworkAddress, { host: '', port: 1 }, false],
    ['memory that is not a multiple of 8 KiB', VmDocument, { ...vm, memoryBytes: vm.memoryBytes + 4096 }, false],
    ['memory below 64 MiB', VmDocument, { ...vm, memoryBytes: 63 * 1024 * 1024 }, false],
    ['a machine type that is an alias', VmDocument, { ...vm, machine: 'q35' }, false],
    ['a machine type with options', VmDocument, { ...vm, machine: 'pc-q35-7.2,accel=tcg' }, false],
    ['a CPU model with options', VmDocument, { ...vm, cpu: { model: 'qemu64,+svm', count: 1 } }, false],
    ['no CPU', VmDocument, { ...vm, cpu: { model: 'qemu64', count: 0 } }, false],
    ['two disks of one id', VmDocument, { ...vm, disks: [vm.disks[0], { ...vm.disks[1], id: 'root' }] }, false],
    ['two disks of one path', VmDocument, { ...vm, disks: [vm.disks[0], { ...vm.disks[1], path: vm.disks[0]?.path }] }, false],
    ['two networks of one id', VmDocument, { ...vm, networks: [lan, { ...lan, mac: '52:54:00:00:00:02' }] }, false],
    ['two networks of one MAC address', VmDocument, { ...vm, networks: [lan, { ...lan, id: 'wan' }] }, false],
    ['two networks on one bridge', VmDocument, { ...vm, networks: [lan, { ...lan, id: 'wan', mac: '52:54:00:00:00:02' }] }, true],
    ['a multicast MAC address', VmDocument, { ...vm, networks: [{ ...lan, mac: '53:54:00:00:00:01' }] }, false],
    ['a MAC address in upper case', VmDocument, { ...vm, networks: [{ ...lan, mac: '52:54:00:00:00:0A' }] }, false],
    ['the MAC address of nobody', VmDocument, { ...vm, networks: [{ ...lan, mac: '00:00:00:00:00:00' }] }, false],
    ['a globally administered MAC address', VmDocument, { ...vm, networks: [{ ...lan, mac: '00:16:3e:00:00:01' }] }, true],
    ['a bridge whose name is too long for Linux', VmDocument, { ...vm, networks: [{ ...lan, bridge: 'b'.repeat(16) }] }, false],
    ['a bridge whose name is an option', VmDocument, { ...vm, networks: [{ ...lan, bridge: '-force' }] }, false],
    ['a bridge whose name leads elsewhere', VmDocument, { ...vm, networks: [{ ...lan, bridge: '../eth0' }] }, false],
    ['no networks', VmDocument, { ...vm, networks: undefined }, true],
    ['no disks', VmDocument, { ...vm, disks: [] }, true],
    ['a VM without vTPM', VmDocument, { ...vm, vtpm: null }, true],
    ['an order of another version', Order, { ...samples.order, version: 1 }, false],
    ['a start of a VM that its host owns', StartOrder, { ...samples.start, epoch: 3 }, true],
    ['an operator whose name is markup', Order, { ...samples.order, by: '<b>' }, false],
    ['base64 whose unused bits are not zero', Base64, 'QR==', false],
    ['an order in local time', Order, { ...samples.order, notAfter: '2030-01-01T00:00:00+02:00' }, false],
    ['no downtime', Order, { ...samples.order, limits: { ...samples.order.limits, downtimeLimitMs: 0 } }, false],
    ['bandwidth without limit', Order, { ...samples.order, limits: { ...samples.order.limits, bandwidthBytesPerSecond: null } }, true],
    ['bandwidth below 1 MiB/s', Order, { ...samples.order, limits: { ...samples.order.limits, bandwidthBytesPerSecond: 1024 * 1024 - 1 } }, false],
    ['evidence of another version', Evidence, { ...samples.evidence, version: 1 }, false],
    ['epoch 0 in a manifest', Manifest, { ...samples.manifest, epoch: 0 }, false],
    ['a stream of less than nothing', Manifest, { ...samples.manifest, streamBytes: -1 }, false],
    ['a reason of 2001', Verdict, { ...samples.verdict, reason: 'x'.repeat(2001) }, false],
    ['an owner of epoch 0', OwnershipRecord, { ...record, state: 'owner', epoch: 0 }, false],
    ['nothing of epoch 1', OwnershipRecord, { ...record, state: 'none', epoch: 1 }, false],
    ['an enrolment without PCRs', Enrolment, { ...samples.enrolment, pcrValues: {} }, false],
    ['an enrolment without EK certificate', Enrolment, { ...samples.enrolment, ekCertificate: null }, true],
    ['an enrolment without an event log', Enrolment, { ...samples.enrolment, eventLog: null }, true],
    ['an enrolment with the largest event log', Enrolment, { ...samples.enrolment, eventLog: largestLog }, true],
    ['an enrolment with a larger event log', Enrolment, { ...samples.enrolment, eventLog: `AAAA${largestLog}` }, false],
    ['evidence with an event log', HostEvidence, { ...samples.sourceEvidence, eventLog: largestLog }, true],
    ['evidence with a larger event log', HostEvidence, { ...samples.sourceEvidence, eventLog: `AAAA${largestLog}` }, false],
    ['an event of PCR 24', BootEvent, { ...bootEvent, pcr: 24 }, false],
    ['an event whose type is a number', BootEvent, { ...bootEvent, type: '0x8000ffff' }, true],
    ['an event whose type is other text', BootEvent, { ...bootEvent, type: 'EV_ACTION, all is well' }, false],
    ['an event with a control character', BootEvent, { ...bootEvent, what: 'a\x1b[2Jb' }, false],
    ['an event with markup', BootEvent, { ...bootEvent, what: '`a`' }, false],
    ['an event of many words', BootEvent, { ...bootEvent, what: 'a'.repeat(101) }, false],
    ['a challenge without PCRs', Challenge, { ...samples.challenge, pcrs: [] }, false],
    ['a reference set of many events', HostClass, { ...samples.hostClass, referenceSets: [{ ...samples.hostClass.referenceSets[0], events: Array(BOOT_EVENTS_MAX + 1).fill(bootEvent) }] }, false],
    ['PCR 24', HostClass, { ...samples.hostClass, pcrs: [0, 4, 24] }, false],
    ['a PCR value for 07', HostEvidence, { ...samples.sourceEvidence, pcrValues: { '07': digest(1) } }, false],
  ])('%s', (_, schema, value, isValid) => {
    expect(problemOf(schema, value) === '').toBe(isValid);
  });
});

describe('a trust bundle', () => {
  const bundle = samples.trustBundle;
  const [a, b] = bundle.hosts;
  const [ada, grace] = bundle.operators;
  const rack = samples.hostClass;
  const [active, obsolete] = rack.referenceSets;
  it.each<[string, unknown, string]>([
    ['that lists a host twice', { ...bundle, hosts: [a, b, { ...a, attestationKey: { ...a?.attestationKey, name: `000b${digest(1)}` } }] }, 'a host is listed twice'],
    ['in which two hosts share an EK', { ...bundle, hosts: [a, { ...b, identity: a?.identity }] }, 'two hosts share one TPM'],
    ['in which two hosts share an AK', { ...bundle, hosts: [a, { ...b, attestationKey: a?.attestationKey }] }, 'two hosts share one AK'],
    ['that lacks the class of a host', { ...bundle, classes: { other: rack } }, 'a host names a class that the bundle lacks'],
    ['whose class is a word of every object', { ...bundle, hosts: [{ ...a, class: 'constructor' }, b] }, 'a host names a class that the bundle lacks'],
    ['without hosts', { ...bundle, hosts: [] }, 'hosts: '],
    ['whose class has no PCR', { ...bundle, classes: { rack: { ...rack, pcrs: [] } } }, 'classes.rack.pcrs: '],
    ['whose class lists a PCR twice', { ...bundle, classes: { rack: { ...rack, pcrs: [0, 4, 7, 7] } } }, 'a PCR is listed twice'],
    ['whose class has no set', { ...bundle, classes: { rack: { ...rack, referenceSets: [] } } }, 'classes.rack.referenceSets: '],
    ['whose class has no active set', { ...bundle, classes: { rack: { ...rack, referenceSets: [obsolete] } } }, 'no reference set is active'],
    ['whose set lacks a PCR', { ...bundle, classes: { rack: { ...rack, referenceSets: [{ ...active, pcrValues: { '0': digest(1), '4': digest(2) } }] } } }, 'a value for each PCR'],
    ['in which two operators share a name', { ...bundle, operators: [ada, { ...grace, name: 'ada' }] }, 'two operators share a name or a key'],
    ['in which two operators share a key', { ...bundle, operators: [ada, { ...grace, publicKey: ada?.publicKey }] }, 'two operators share a name or a key'],
    ['whose operator has a key of another kind', { ...bundle, operators: [{ ...ada, publicKey: Buffer.alloc(44).toString('base64') }] }, 'operators.0.publicKey: the base64 of an Ed25519 public key'],
    ['whose set has a PCR more', { ...bundle, classes: { rack: { ...rack, pcrs: [0, 4] } } }, 'a value for each PCR'],
  ])('%s is refused', async (_, value, problem) => {
    const envelope = await signEnvelope(value as typeof bundle, POLICY_SIGNER);
    const install = () => installBundle(envelope, 'host-a', [POLICY_SIGNER.publicKey]);
    expect(install).toThrow(`BUNDLE_INVALID: the trust bundle of host-a is not valid: `);
    expect(install).toThrow(problem);
  });

  it.each<[string, (envelope: Envelope) => unknown, string]>([
    ['that nobody signed', (envelope) => ({ ...envelope, signatures: [] }), 'BUNDLE_INVALID'],
    ['that is no envelope', () => bundle, 'BUNDLE_INVALID'],
    ['that names a pinned key but was not signed with it', (envelope) => ({ ...envelope, signatures: [{ ...envelope.signatures[0], sig: Buffer.alloc(64).toString('base64') }] }), 'BUNDLE_NOT_SIGNED'],
  ])('%s is refused', async (_, change, code) => {
    const envelope = change(await signEnvelope(bundle, POLICY_SIGNER));
    expect(() => installBundle(envelope, 'host-a', [POLICY_SIGNER.publicKey])).toThrow(`${code}: the trust bundle of host-a`);
  });

  it('that an operator signed is refused by a host, and read by a client', async () => {
    const envelope = await signEnvelope(bundle, ADA);
    expect(() => installBundle(envelope, 'host-a', [POLICY_SIGNER.publicKey])).toThrow('BUNDLE_NOT_SIGNED');
    expect(installBundle(envelope, 'this client', 'any signer')).toEqual({ bundle, digest: digestOf(bundle), signedBy: [] });
  });

  it('is installed with its digest, and knows its hosts and no others', async () => {
    const { bundle: installed, digest: of } = installBundle(await signEnvelope(bundle, POLICY_SIGNER), 'host-a', [ADA.publicKey, POLICY_SIGNER.publicKey]);
    expect(of).toBe(digestOf(bundle));
    expect(hostIn(installed, 'host-b')).toEqual(b);
    expect(() => hostIn(installed, 'host-c')).toThrow('HOST_UNKNOWN: host host-c is not in the trust bundle');
  });
});

describe('the canonical form', () => {
  const json = fc.jsonValue({ maxDepth: 4 });

  it('is the bytes that are digested', () => {
    expect(canonicalJson({ b: [1, null, true], a: 'ä€', '': {} })).toBe('{"":{},"a":"ä€","b":[1,null,true]}');
    expect(digestOf({ b: 'ä€', a: 1 })).toBe(createHash('sha256').update('{"a":1,"b":"ä€"}', 'utf8').digest('hex'));
  });

  it('sorts keys by UTF-16 code units, as the example of RFC 8785 §3.2.3', () => {
    const example = { '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\ud83d\ude00': 5, '\u0080': 6, '\u00f6': 7 };
    expect(canonicalJson(example)).toBe('{"\\r":2,"1":4,"\u0080":6,"ö":7,"€":1,"😀":5,"\ufb33":3}');
  });

  it.each([
    [0, '0'], [-0, '0'], [1, '1'], [-1.5, '-1.5'], [333333333.33333329, '333333333.3333333'], [1e30, '1e+30'], [4.5, '4.5'], [2e-3, '0.002'], [1e-27, '1e-27'],
    [1e21, '1e+21'], [1e20, '100000000000000000000'], [5e-324, '5e-324'], [Number.MAX_VALUE, '1.7976931348623157e+308'], [9007199254740992, '9007199254740992'],
  ])('writes the number %s as RFC 8785 does', (value, text) => {
    expect(canonicalJson(value)).toBe(text);
  });

  it('escapes strings as RFC 8785 §3.2.2.2 does', () => {
    expect(canonicalJson('\u20ac$\u000f\nA\'B"\\\\"/\u007f')).toBe('"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\u007f"');
  });

  it('parses back to the value', () => {
    fc.assert(fc.property(json, (value) => {
      expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }));
  });

  it('does not depend on the order of keys, on members that are undefined, or on a trip through JSON', () => {
    const shuffled = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(shuffled);
      if (typeof value !== 'object' || value === null) return value;
      const members = Object.entries(value).reverse().map(([key, member]) => [key, shuffled(member)]);
      return Object.fromEntries([['undefined member', undefined], ...members]);
    };
    fc.assert(
      fc.property(json, (value) => {
        expect(canonicalJson(shuffled(value))).toBe(canonicalJson(value));
        expect(digestOf(JSON.parse(JSON.stringify(value)))).toBe(digestOf(value));
      }),
    );
  });

  it('differs where two values differ', () => {
    const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown;
    const isSame = (a: unknown, b: unknown): boolean => {
      if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
      if (Array.isArray(a) !== Array.isArray(b)) return false;
      const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
      const keys = Object.keys(left);
      return keys.length === Object.keys(right).length && keys.every((key) => Object.hasOwn(right, key) && isSame(left[key], right[key]));
    };
    const small = fc.letrec((tie) => ({
      value: fc.oneof({ maxDepth: 2 }, fc.constantFrom<unknown>(null, 0, 1, '', '0', '1', 'a', true, false, '{}', '[]'), fc.array(tie('value'), { maxLength: 2 }), fc.dictionary(fc.constantFrom('a', 'b', ''), tie('value'), { maxKeys: 2 })),
    })).value;
    fc.assert(fc.property(small, small, (a, b) => {
      expect(digestOf(a) === digestOf(b)).toBe(isSame(plain(a), plain(b)));
    }), { numRuns: 1000 });
  });

  it('of a document depends on each of its values', () => {
    for (const [, sample] of Object.values(DOCUMENTS)) {
      const digests = placesIn(sample).map(({ keys }) => digestOf(changed(sample, keys, (holder, key) => (holder[key] = 'another value'))));
      expect(new Set([...digests, digestOf(sample)]).size).toBe(digests.length + 1);
    }
  });

  it.each<[string, unknown]>([
    ['a function', () => 1], ['NaN', Number.NaN], ['infinity', Number.POSITIVE_INFINITY], ['a bigint', 1n], ['a symbol', Symbol('s')], ['nothing', undefined],
    ['a date', new Date(0)], ['a map', new Map()], ['a buffer', Buffer.from('x')], ['a class instance', new (class Thing {})()], ['undefined in an array', [undefined]],
  ])('is refused for %s, at the top and inside', (_, value) => {
    expect(() => canonicalJson(value)).toThrow(TypeError);
    expect(() => canonicalJson({ a: [value] })).toThrow(TypeError);
  });

  it('takes objects without prototype', () => {
    expect(canonicalJson(Object.assign(Object.create(null) as object, { a: 1 }))).toBe('{"a":1}');
  });
});
