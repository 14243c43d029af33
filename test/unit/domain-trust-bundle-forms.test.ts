/** domain/trust-bundle.ts: which forms a trust bundle has, in which words another one is refused, and whose signature it is to have. */
import { describe, expect, it } from 'vitest';
import { describeIssues } from '../../domain/documents.js';
import { type PublicKey, keyIdOf, signEnvelope } from '../../domain/envelope.js';
import { TrustBundle, classOf, installBundle } from '../../domain/trust-bundle.js';
import { ADA, GRACE, POLICY_SIGNER, digest, hostEntryOf, samples, trustBundleOf } from '../support/documents.js';

type Changes = Readonly<Record<string, unknown>>;
const wrongWith = (changes: Changes): string | null => {
  const { error } = TrustBundle.safeParse({ ...samples.trustBundle, ...changes });
  return error ? describeIssues(error) : null;
};
const withClass = (changes: Changes) => wrongWith({ classes: { rack: { ...samples.hostClass, ...changes } } });
const withSet = (changes: Changes) => withClass({ referenceSets: [{ ...samples.hostClass.referenceSets[0], ...changes }] });
const named = (name: string) => wrongWith({ classes: { ...samples.trustBundle.classes, [name]: samples.hostClass } });

describe('the name of a class', () => {
  it.each(['a', '7', 'rack-7', 'a'.repeat(47), 'a-'])('may be %s', (name) => expect(named(name)).toBeNull());
  it.each(['Rack', '-rack', ' rack', 'rack ', 'rack.7', 'a'.repeat(48)])('is not "%s"', (name) => expect(named(name)).toBe(`classes.${name}: lower-case letters, digits and hyphens`));
});

describe('the id of a reference set', () => {
  it.each(['a', 'kernel-6.1+deb12u1', '!', '~', 'x'.repeat(64)])('may be %s', (id) => expect(withSet({ id })).toBeNull());
  it.each(['', 'a b', ' a', 'a ', 'ä', 'a\n', 'x'.repeat(65)])('is not "%s"', (id) => expect(withSet({ id })).toBe('classes.rack.referenceSets.0.id: printable ASCII without spaces, at most 64'));
});

describe('a reference set', () => {
  const values = (...pcrs: readonly number[]) => Object.fromEntries(pcrs.map((pcr) => [pcr, digest(pcr)]));
  const PROBLEM = 'classes.rack: every reference set needs a value for each PCR of the class, and no other';

  it.each<[string, readonly number[]]>([['one fewer', [0, 4]], ['one more', [0, 4, 7, 8]], ['another', [0, 4, 8]]])('has the PCRs of its class: not %s', (_, pcrs) => {
    expect(withSet({ pcrValues: values(...pcrs) })).toBe(PROBLEM);
  });

  it('is asked for them as every other is', () => {
    const [first] = samples.hostClass.referenceSets;
    expect(withClass({ referenceSets: [first, { ...first, id: 'second', pcrValues: values(0, 4) }] })).toBe(PROBLEM);
  });
});

describe('the identity of a host', () => {
  const withIdentity = (identity: unknown) => wrongWith({ hosts: [{ ...hostEntryOf(), identity }, samples.trustBundle.hosts[1]] });

  it('is proven by two digests, or not at all', () => {
    expect(withIdentity({ proof: 'ek-certificate', ekCertificateSha256: digest(0xee), rootSha256: digest(0xca) })).toBeNull();
    expect(withIdentity({ proof: 'none' })).toBeNull();
    expect(withIdentity({ proof: 'ek-certificate' })).toMatch(/^hosts\.0\.identity\.ekCertificateSha256: .*; hosts\.0\.identity\.rootSha256: /);
    expect(withIdentity({ proof: 'none', rootSha256: digest(0xca) })).toBe('hosts.0.identity: Unrecognized key: "rootSha256"');
    expect(withIdentity({ proof: 'hearsay' })).toMatch(/^hosts\.0\.identity\.proof: /);
  });
});

describe('words of two', () => {
  it('are each listed once', () => {
    const withWords = (...wordsOfTwo: readonly string[]) => wrongWith({ parameters: { ...samples.trustBundle.parameters, wordsOfTwo } });
    expect(withWords('fence')).toBeNull();
    expect(withWords('fence', 'fence')).toBe('document: a word of two is listed twice');
  });
});

describe('a bundle', () => {
  const refusal = async (pinned: readonly PublicKey[]) => {
    const envelope = await signEnvelope(trustBundleOf(), ADA);
    const both = { ...envelope, signatures: [...envelope.signatures, ...(await signEnvelope(trustBundleOf(), GRACE)).signatures] };
    return () => installBundle(both, 'host-a', pinned);
  };
  const ids = (...keys: readonly { readonly publicKey: PublicKey }[]) => keys.map(({ publicKey }) => keyIdOf(publicKey)).join(', ');

  it('that no pinned key signed is refused with the keys that it is by, and those that are pinned', async () => {
    expect(await refusal([POLICY_SIGNER.publicKey])).toThrow(expect.objectContaining({ code: 'BUNDLE_NOT_SIGNED', message: expect.stringContaining(ids(ADA, GRACE)) as string }));
    expect(await refusal([POLICY_SIGNER.publicKey])).toThrow(ids(POLICY_SIGNER));
    expect(await refusal([])).toThrow(/\bnone\b/);
  });

  it('names several pinned keys', async () => {
    const envelope = await signEnvelope(trustBundleOf(), POLICY_SIGNER);
    expect(() => installBundle(envelope, 'host-a', [ADA.publicKey, GRACE.publicKey])).toThrow(ids(ADA, GRACE));
    expect(() => installBundle(envelope, 'host-a', [ADA.publicKey])).not.toThrow(/\bnone\b/);
  });

  it('without the class of a host is empty for it', () => {
    const bundle = trustBundleOf();
    expect(classOf(bundle, hostEntryOf())).toBe(bundle.classes.rack);
    expect(() => classOf({ ...bundle, classes: {} }, hostEntryOf())).toThrow(expect.objectContaining({ code: 'POLICY_EMPTY', message: expect.stringContaining('rack') as string }));
  });
});
