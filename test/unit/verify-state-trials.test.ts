/** Trials of a bundle, where there is nothing to try: a reply or file that cannot be read, a host that quoted nothing, a bundle that is none. */
import { expect, it } from 'vitest';
import { tryEvidence, tryReply, tryState } from '../../client/verify/state.js';
import { digestOf } from '../../domain/canonical.js';
import type { TrustBundle } from '../../domain/trust-bundle.js';
import { DESTINATION, SOURCE, digest, evidenceOf, migrationId, samples, trustBundleOf } from '../support/documents.js';

const REMEDY = 'Treat host-a as compromised until its worker and TPM were looked at.';

it('a reply that cannot be read is a failure of its host, which says what is wrong with it', () => {
  const { quote, pcrValues } = samples.sourceEvidence;
  const statement = { protocol: 'korora/1', purpose: 'state', hostId: SOURCE, nonce: digest(1) } as const;
  expect(tryReply(trustBundleOf(), { hostId: SOURCE, nonce: digest(1) }, { statement, quote, pcrValues: { ...pcrValues, '4': 'ab' }, eventLog: null })).toEqual({
    hostId: SOURCE, by: 'live', referenceSet: null, failures: [{ code: 'EVIDENCE_MALFORMED', message: 'the evidence of host-a cannot be read: pcrValues.4: 64 lower-case hex digits (SHA-256)', remedy: REMEDY }],
  });
});

it('a file that is no evidence is refused as such', () => {
  expect(() => tryEvidence(trustBundleOf(), null)).toThrow(expect.objectContaining({ code: 'EVIDENCE_INVALID' }));
});

it.each<[string, object, readonly string[]]>([
  ['the source', { destination: null }, ['host-a']],
  ['the destination', { source: null }, ['host-b']],
  ['nobody', { source: null, destination: null }, []],
])('of a move in which %s quoted, no other host is tried', (_, missing, hosts) => {
  const evidence = evidenceOf({ attestation: { ...samples.evidence.attestation, ...missing } });
  expect(tryEvidence(trustBundleOf(), evidence).map(({ hostId, by }) => [hostId, by])).toEqual(hosts.map((host) => [host, migrationId(1)]));
});

it('a host that the bundle lacks fails its trial', () => {
  expect(tryState(trustBundleOf({ hosts: [samples.hostEntry] }), DESTINATION, samples.destinationEvidence, digestOf(samples.destinationEvidence.binding))).toEqual({
    referenceSet: null, failures: [{ code: 'HOST_UNKNOWN', message: 'host host-b is not in the trust bundle', remedy: 'Check the name with `korora host list`; enrol the host and install the new bundle if it is new.' }],
  });
});

it('a bundle without a list of hosts is no failure of the host that is tried', () => {
  expect(() => tryState({} as TrustBundle, SOURCE, samples.sourceEvidence, digestOf(samples.sourceEvidence.binding))).toThrow(TypeError);
});
