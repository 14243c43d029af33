/**
 * What is looked at before a trust bundle is signed: lint (domain/bundle-lint.ts), diff (domain/bundle-diff.ts) and trial
 * (client/verify/state.ts), whose quotes here are of a software AK; those of real TPMs are in test/e2e/refusals.test.ts.
 */
import { describe, expect, it } from 'vitest';
import { questionsOf, tryEvidence, tryReply } from '../../client/verify/state.js';
import type { StateReply } from '../../domain/attestation.js';
import { diffBundles, successionProblem } from '../../domain/bundle-diff.js';
import { lintBundle } from '../../domain/bundle-lint.js';
import { digestOf } from '../../domain/canonical.js';
import { failure } from '../../domain/failures.js';
import { ACTIONS } from '../../domain/operators.js';
import { TrustBundle } from '../../domain/trust-bundle.js';
import { pcrDigestOf } from '../../tpm/marshal.js';
import { digest, hostClassOf, samples, trustBundleOf } from '../support/documents.js';
import { makeSoftwareKey, quoteBy } from '../../infra/testbed/software-ak.js';
import { testSigner } from '../support/signers.js';

const NOW = new Date('2026-01-01T00:00:00Z');
type Draft = typeof samples.trustBundle;
/** Valid, with what is named changed in a copy. */
function bundleWith(change: (draft: Draft) => void): TrustBundle {
  const draft = structuredClone(samples.trustBundle);
  change(draft);
  return TrustBundle.parse(draft);
}

describe('korora trust lint', () => {
  /** Nothing to say of it. */
  const tidy = (draft: Draft) => {
    draft.classes.rack.pcrs = [0, 2, 4, 7];
    for (const set of draft.classes.rack.referenceSets) Object.assign(set.pcrValues, { '2': digest(0x12) });
    const everywhere = { vms: ['*'], sources: ['*'], destinations: ['*'], disks: ['/srv/shared/*'], bootFiles: ['/srv/boot/*'], bridges: ['br*'] };
    draft.operators = [
      { ...operator('ada', 2), scopes: [{ ...everywhere, actions: ['start', 'migrate'] }] },
      { ...operator('grace', 3), scopes: [{ ...everywhere, actions: ['approve', 'fence', 'reinstate'] }] },
    ];
  };
  const operator = (name: string, n: number) => ({ ...samples.trustBundle.operators[0], name, publicKey: testSigner(n).publicKey as string, status: 'active', scopes: [] as Draft['operators'][number]['scopes'] });
  const told = (change: (draft: Draft) => void) => lintBundle(bundleWith((draft) => { tidy(draft); change(draft); }), NOW).map(({ severity, at, problem }) => `${severity} ${at}: ${problem}`);
  const [set] = samples.trustBundle.classes.rack.referenceSets;
  const addSet = (draft: Draft, changes: object) => draft.classes.rack.referenceSets.push({ ...draft.classes.rack.referenceSets[0], ...changes } as typeof set & object);

  it('has nothing to say of a bundle that is as most are meant', () => {
    expect(told(() => undefined)).toEqual([]);
  });

  it.each<[string, (draft: Draft) => void, readonly string[]]>([
    ['that expired', (d) => { d.expiresAt = '2025-12-31T00:00:00Z'; }, ['error expiresAt: it expired at 2025-12-31T00:00:00Z']],
    ['that expires soon', (d) => { d.expiresAt = '2026-01-11T00:00:00Z'; }, ['warning expiresAt: it expires in 10 days']],
    ['with one active host', (d) => { Object.assign(d.hosts[1] ?? {}, { status: 'suspended' }); }, ['error hosts: only one host is active: nothing can move']],
    ['with a host that proved nothing', (d) => { Object.assign(d.hosts[1] ?? {}, { identity: { proof: 'none' } }); }, ['warning hosts.host-b.identity: nobody has shown that its AK is in a TPM']],
    ['with a class that no host is of', (d) => { Object.assign(d.classes, { spare: d.classes.rack }); }, ['warning classes.spare: no host is of this class']],
    ['that lets Secure Boot be off', (d) => { d.classes.rack.pcrs = [0, 2, 4]; for (const s of d.classes.rack.referenceSets) Reflect.deleteProperty(s.pcrValues, '7'); }, ['warning classes.rack.pcrs: PCR 7 may have any value']],
    ['that takes any firmware of a TPM', (d) => { d.classes.rack.firmwareVersions = null; }, ['warning classes.rack.firmwareVersions: the TPMs may have any firmware']],
    ['with two sets of one id', (d) => addSet(d, { status: 'pending', pcrValues: { ...set?.pcrValues, '2': digest(9) } }), ['error classes.rack.referenceSets.kernel-6.1: another set of the class has this id: evidence could mean either']],
    ['with two sets of the same values', (d) => addSet(d, { id: 'again' }), ['warning classes.rack.referenceSets.again: it has the values of kernel-6.1']],
    ['that revokes values and takes them', (d) => addSet(d, { id: 'bad', status: 'revoked' }), ['error classes.rack.referenceSets.bad: it is revoked, and kernel-6.1 with the same values is active']],
    ['of hosts that measure nothing', (d) => { Object.assign(d.classes.rack.referenceSets[0]?.pcrValues ?? {}, { '4': digest(0), '7': digest(0xff) }); }, ['warning classes.rack.referenceSets.kernel-6.1: nothing was measured into PCR 4, 7: the value says nothing of the host']],
    ['with a key that may do nothing', (d) => { d.operators.push(operator('bob', 4)); }, ['error operators.bob: no scope: this key may do nothing']],
    ['with a scope of no host', (d) => { Object.assign(d.operators[0]?.scopes[0] ?? {}, { destinations: ['host-a', 'host-z'] }); }, ['error operators.ada: a scope names host-z, and there is no such host']],
    ['with a key that may do everything', (d) => { Object.assign(d.operators[0]?.scopes[0] ?? {}, { actions: [...ACTIONS] }); }, ['warning operators.ada: this key alone may do everything, on every host']],
    ['with a key that opens any disk', (d) => { Object.assign(d.operators[0]?.scopes[0] ?? {}, { disks: ['/srv/shared/*', '*'] }); }, ['warning operators.ada: a scope lets VMs open any of these that a host has: disks']],
    ['with keys that open anything, and may not start a VM', (d) => { Object.assign(d.operators[1]?.scopes[0] ?? {}, { disks: ['*'], bootFiles: ['*'], bridges: ['*'] }); }, []],
    ['in which nobody may fence', (d) => { Object.assign(d.operators[1]?.scopes[0] ?? {}, { actions: ['approve', 'reinstate'] }); }, ['warning operators: no active operator may fence']],
    ['in which a revoked key alone may fence', (d) => { d.operators.push({ ...operator('bob', 4), status: 'revoked', scopes: d.operators[1]?.scopes ?? [] }); Object.assign(d.operators[1] ?? {}, { scopes: [{ ...d.operators[1]?.scopes[0], actions: ['approve', 'reinstate'] }] }); }, ['warning operators: no active operator may fence']],
    ['that wants another approver, and has none', (d) => { Object.assign(d.operators[1]?.scopes[0] ?? {}, { actions: ['fence', 'reinstate'] }); }, ['error parameters.approverMustDiffer: an approver must be another than who ordered, and no active operator may approve']],
    ['that wants two to fence, and has one', (d) => { d.parameters.wordsOfTwo = ['fence']; }, ['error parameters.wordsOfTwo: two operators must sign to fence, and grace alone may']],
    ['whose one approver orders too', (d) => { Object.assign(d.operators[1]?.scopes[0] ?? {}, { actions: ['approve', 'fence', 'reinstate', 'migrate'] }); }, ['warning parameters.approverMustDiffer: only grace may approve, and not what grace ordered']],
  ])('tells of a bundle %s', (_, change, findings) => {
    expect(told(change)).toEqual(findings);
  });
});

describe('korora trust diff', () => {
  const before = trustBundleOf();

  it('tells of no change where only the order of lists is another', () => {
    const after = bundleWith((draft) => { draft.hosts.reverse(); draft.operators.reverse(); draft.classes.rack.pcrs.reverse(); draft.classes.rack.referenceSets.reverse(); });
    expect(diffBundles(before, after)).toEqual([]);
    const wanting = (wordsOfTwo: string[]) => bundleWith((draft) => { draft.parameters.wordsOfTwo = wordsOfTwo; });
    expect(diffBundles(wanting(['fence', 'reinstate']), wanting(['reinstate', 'fence']))).toEqual([]);
    expect(diffBundles(before, wanting(['fence']))).toEqual([{ at: 'parameters.wordsOfTwo', before: [], after: ['fence'] }]);
  });

  it('names every member that changed, by what it is of', () => {
    const after = bundleWith((draft) => {
      draft.serial = 8;
      Object.assign(draft.hosts[1] ?? {}, { status: 'revoked' });
      Object.assign(draft.classes.rack.referenceSets[1] ?? {}, { status: 'active' });
      Object.assign(draft.classes.rack.referenceSets[0]?.pcrValues ?? {}, { '4': digest(0x99) });
      draft.operators.pop();
      draft.hosts.push({ ...samples.hostEntry, hostId: 'constructor' as never, attestationKey: { ...samples.hostEntry.attestationKey, name: `000b${digest(0x77)}` }, identity: { proof: 'none' } as never });
    });
    expect(diffBundles(before, after)).toEqual([
      { at: 'classes.rack.referenceSets.kernel-6.0.status', before: 'obsolete', after: 'active' },
      { at: 'classes.rack.referenceSets.kernel-6.1.pcrValues.4', before: digest(0x14), after: digest(0x99) },
      { at: 'hosts.constructor', after: after.hosts[2] },
      { at: 'hosts.host-b.status', before: 'active', after: 'revoked' },
      { at: 'operators.grace', before: before.operators[1] },
      { at: 'serial', before: 7, after: 8 },
    ]);
  });

  /** Every value of the sample is changed in turn. */
  const leaves = (value: unknown, keys: readonly string[] = []): (readonly string[])[] =>
    typeof value === 'object' && value !== null ? Object.entries(value).flatMap(([key, member]) => leaves(member, [...keys, key])) : [keys];
  it.each(leaves(before).map((keys) => [keys.join('.'), keys] as const))('overlooks no change of %s', (_, keys) => {
    const after = structuredClone(before) as unknown as Record<string, unknown>;
    const holder = keys.slice(0, -1).reduce((at, key) => at[key] as Record<string, unknown>, after);
    holder[keys.at(-1) ?? ''] = 'something else';
    expect(diffBundles(before, after as unknown as TrustBundle)).not.toEqual([]);
  });

  it('says where hosts would not take it', () => {
    expect(successionProblem(before, bundleWith((draft) => { draft.serial = 6; }))).toContain('its serial is 6');
    expect(successionProblem(before, bundleWith((draft) => { draft.expiresAt = '2031-01-01T00:00:00Z'; }))).toContain('its serial is 7');
    expect(successionProblem(before, bundleWith((draft) => { draft.serial = 8; }))).toBeNull();
    expect(successionProblem(before, trustBundleOf())).toBeNull();
  });
});

describe('korora trust dry-run', () => {
  const ak = makeSoftwareKey();
  const values = { '0': digest(0x10), '4': digest(0x14), '7': digest(0x17) };
  const bundle = bundleWith((draft) => { Object.assign(draft.hosts[1] ?? {}, { attestationKey: { publicArea: ak.publicArea, name: ak.name } }); });
  const question = { hostId: bundle.hosts[1]?.hostId ?? ('' as never), nonce: digest(5) };
  const statement = { protocol: 'korora/1', purpose: 'state', ...question } as const;

  function replyWith({ pcrValues = values as Record<string, string>, of = statement as object, by = ak } = {}): StateReply {
    const pcrs = Object.keys(pcrValues).map(Number);
    const quote = quoteBy(ak, { extraData: Buffer.from(digestOf(of), 'hex'), pcrs, pcrDigest: Buffer.from(pcrDigestOf(pcrs, pcrValues), 'hex') });
    return { statement, quote: by.sign(quote), pcrValues, eventLog: null };
  }
  const codes = (reply: StateReply, under = bundle) => tryReply(under, question, reply).failures.map(({ code }) => code);

  it('asks each active host for the PCRs of its class, with a nonce of its own', () => {
    const suspended = bundleWith((draft) => { Object.assign(draft.hosts[0] ?? {}, { status: 'suspended' }); });
    expect(questionsOf(suspended).map(({ hostId, pcrs }) => [hostId, pcrs])).toEqual([['host-b', [0, 4, 7]]]);
    const [a, b] = questionsOf(bundle);
    expect(a?.nonce).toMatch(/^[0-9a-f]{64}$/);
    expect(a?.nonce).not.toBe(b?.nonce);
  });

  it('names the reference set of a host that would pass', () => {
    expect(tryReply(bundle, question, replyWith())).toEqual({ hostId: 'host-b', by: 'live', referenceSet: 'kernel-6.1', failures: [] });
  });

  it.each<[string, StateReply, readonly string[]]>([
    ['a host that does not answer', { failures: [failure('HOST_UNREACHABLE', { host: 'host-b' })] }, ['HOST_UNREACHABLE']],
    ['no state', { statement } as never, ['EVIDENCE_MALFORMED']],
    ['another value of a PCR', replyWith({ pcrValues: { ...values, '4': digest(0x15) } }), ['PCR_NOT_REFERENCE']],
    ['another selection', replyWith({ pcrValues: { '0': digest(0x10), '4': digest(0x14) } }), ['PCR_SELECTION_WRONG', 'PCR_DIGEST_MISMATCH', 'PCR_NOT_REFERENCE']],
    ['a quote for another nonce', replyWith({ of: { ...statement, nonce: digest(6) } }), ['QUALIFYING_DATA_MISMATCH']],
    ['a quote that was made for a move', replyWith({ of: { ...statement, purpose: 'attest' } }), ['QUALIFYING_DATA_MISMATCH']],
    ['a quote by another AK', replyWith({ by: makeSoftwareKey() }), ['QUOTE_SIGNATURE_INVALID']],
  ])('tells of %s', (_, reply, expected) => {
    expect(codes(reply)).toEqual(expected);
  });

  it('goes by the bundle that is tried', () => {
    const strict = bundleWith((draft) => {
      Object.assign(draft, structuredClone(bundle));
      draft.classes = { rack: { ...hostClassOf(), firmwareVersions: ['00000000000000aa'] } } as unknown as Draft['classes'];
    });
    expect(codes(replyWith(), strict)).toEqual(['FIRMWARE_NOT_ALLOWED']);
    expect(codes(replyWith(), trustBundleOf({ hosts: [samples.hostEntry] }))).toEqual(['HOST_UNKNOWN']);
    expect(codes(replyWith(), trustBundleOf())).toContain('QUOTE_SIGNATURE_INVALID');
  });

  it('tries the quotes of an evidence file', () => {
    expect(tryEvidence(bundle, samples.evidence).map(({ hostId, by, failures }) => [hostId, by, failures.map(({ code }) => code)])).toEqual([
      ['host-a', samples.order.migrationId, ['EVIDENCE_MALFORMED']],
      ['host-b', samples.order.migrationId, ['EVIDENCE_MALFORMED']],
    ]);
  });
});
