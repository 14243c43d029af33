/** tpm/evidence-verifier.ts: whose wrapping key is looked at and how its lack is told, and a bare quote over given bytes. */
import { describe, expect, it } from 'vitest';
import type { Binding, HostEvidence, WrappingKeyEvidence } from '../../domain/attestation.js';
import { digestOf } from '../../domain/canonical.js';
import type { Role } from '../../domain/ids.js';
import { type SoftwareKey, certifiedBy, makeSoftwareKey, quoteBy, wrappingKeyUnder } from '../../infra/testbed/software-ak.js';
import { createEvidenceVerifier } from '../../tpm/evidence-verifier.js';
import { pcrDigestOf } from '../../tpm/marshal.js';
import { digest, hostClassOf, hostEntryOf, orderOf } from '../support/documents.js';

const PCRS = [0, 4, 7];
const { hostId } = hostEntryOf();
const verifier = createEvidenceVerifier();

/** What is wrong with sound evidence of such a host, but for its wrapping key. */
function failures(role: Role, keyBy: (sound: WrappingKeyEvidence) => WrappingKeyEvidence | null): readonly string[] {
  const hostClass = hostClassOf();
  const values = hostClass.referenceSets[0]?.pcrValues ?? {};
  const ak = makeSoftwareKey();
  const order = orderOf();
  const wrappingKey = keyBy(certifiedBy(ak, wrappingKeyUnder(PCRS, values)));
  const binding: Binding = {
    protocol: 'korora/1', purpose: 'attest', migrationId: order.migrationId, orderDigest: digestOf(order), role, verifierNonce: digest(0x5a), tlsSpkiSha256: digest(0x77), wrappingKeyName: wrappingKey?.name ?? null,
  };
  const quote = ak.sign(quoteBy(ak, { extraData: Buffer.from(digestOf(binding), 'hex'), pcrs: PCRS, pcrDigest: Buffer.from(pcrDigestOf(PCRS, values), 'hex') }));
  const evidence: HostEvidence = { hostId, binding, quote, pcrValues: values, wrappingKey, eventLog: null };
  const { migrationId, orderDigest, verifierNonce } = binding;
  const host = hostEntryOf({ attestationKey: { publicArea: ak.publicArea, name: ak.name } });
  const result = verifier.appraise({ host, hostClass, evidence, isNonceFresh: true, role, migrationId, orderDigest, verifierNonce });
  return result.ok ? [] : result.failures.map(({ message }) => message);
}

describe('the wrapping key in evidence', () => {
  it('is a destination’s, and a source has none', () => {
    expect(failures('destination', (key) => key)).toEqual([]);
    expect(failures('source', () => null)).toEqual([]);
  });

  it.each<[string, Role, (sound: WrappingKeyEvidence) => WrappingKeyEvidence | null, RegExp]>([
    ['of a source', 'source', (key) => key, /: a source has none$/],
    ['that a destination lacks', 'destination', () => null, /: there is none$/],
    ['whose certification cannot be read', 'destination', (key) => ({ ...key, certification: { ...key.certification, attest: 'AAAA' } }), / at byte 0: /],
  ])('%s is the one thing wrong', (_, role, keyBy, problem) => {
    const told = failures(role, keyBy);
    expect(told).toEqual([expect.stringMatching(problem)]);
    expect(told[0]).toMatch(/^the wrapping key of /);
  });
});

describe('a quote over given bytes', () => {
  /** Of a quote over `these`. */
  const problem = (qualifyingData: string, by?: SoftwareKey) => {
    const ak = makeSoftwareKey();
    const signed = ak.sign(quoteBy(ak, { extraData: Buffer.from('these'), pcrs: PCRS, pcrDigest: Buffer.alloc(32) }));
    return verifier.quoteProblem({ ak: by ?? ak, signed, qualifyingData: Buffer.from(qualifyingData) });
  };

  it('has no problem where it is one', () => {
    expect(problem('these')).toBeNull();
  });

  it('is told to be bound to others, or to be signed by another key', () => {
    expect(problem('those')).toBe('it is bound to something else');
    expect(problem('these', makeSoftwareKey())).toBe('the AK did not sign it');
  });
});
