/**
 * domain/appraisal.ts (docs/theory-of-operation.md): evidence that meets every rule passes; each rule broken alone
 * gives exactly its code and names what differs; several broken are all told; a policy that is
 * empty refuses; only active reference sets count, and the nearest one is shown.
 */
import { describe, expect, it } from 'vitest';
import { type AppraisalInput, type ParsedQuote, appraise } from '../../domain/appraisal.js';
import type { Binding } from '../../domain/attestation.js';
import { digestOf } from '../../domain/canonical.js';
import type { FailureCode } from '../../domain/failures.js';
import type { HostClass, ReferenceSet } from '../../domain/trust-bundle.js';
import { DESTINATION, SOURCE, destinationEvidenceOf, digest, hostClassOf, hostEntryOf, migrationId, samples, tpmName } from '../support/documents.js';

const evidence = destinationEvidenceOf();
const quote: ParsedQuote = {
  magic: 'ff544347',
  type: '8018',
  qualifiedSigner: tpmName(0x99),
  extraData: digestOf(evidence.binding),
  clock: '12345',
  resetCount: 3,
  restartCount: 1,
  isClockSafe: true,
  firmwareVersion: '2019102300163636',
  pcrSelection: [{ hashAlgorithm: 'sha256', pcrs: [0, 4, 7] }],
  pcrDigest: digest(0xdd),
};
const good: AppraisalInput = {
  host: hostEntryOf({ hostId: DESTINATION }),
  hostClass: hostClassOf(),
  evidence,
  quote,
  isSignatureValid: true,
  expectedSigner: tpmName(0x99),
  expectedBinding: evidence.binding,
  bindingDigest: digestOf(evidence.binding),
  reportedPcrDigest: digest(0xdd),
  isNonceFresh: true,
  wrappingKeyProblem: null,
  earlierCounters: { clock: '12345', resetCount: 3, restartCount: 1 },
  log: null,
};

const withQuote = (changes: Partial<ParsedQuote>): Partial<AppraisalInput> => ({ quote: { ...quote, ...changes } });
const expecting = (changes: Partial<Binding>): Partial<AppraisalInput> => ({ expectedBinding: { ...evidence.binding, ...changes } });
const withSets = (...referenceSets: ReferenceSet[]): Partial<AppraisalInput> => ({ hostClass: { ...good.hostClass, referenceSets } });
const reporting = (pcrValues: Record<string, string>): Partial<AppraisalInput> => ({ evidence: { ...evidence, pcrValues } });
const [active, obsolete] = hostClassOf().referenceSets as [ReferenceSet, ReferenceSet];

/** "CODE: message" of every failure; [] where the evidence passes. */
function told(changes: Partial<AppraisalInput>): string[] {
  const result = appraise({ ...good, ...changes });
  return result.ok ? [] : result.failures.map((f) => `${f.code}: ${f.message}`);
}

function codes(changes: Partial<AppraisalInput>): FailureCode[] {
  const result = appraise({ ...good, ...changes });
  return result.ok ? [] : result.failures.map((f) => f.code);
}

describe('evidence that meets every rule', () => {
  it('names the active set that matched, where others come before it', () => {
    const result = appraise({ ...good, ...withSets({ ...active, id: 'other', pcrValues: obsolete.pcrValues }, active) });
    expect(result.ok && result.peer.referenceSet).toBe('kernel-6.1');
  });

  it('passes, and the peer is the host, its evidence and the set that matched', () => {
    const result = appraise(good);
    expect(result.ok && { ...result.peer }).toEqual({ host: good.host, evidence, referenceSet: 'kernel-6.1' });
  });

  it('passes over the counters of a certification that is none, which is told instead', () => {
    expect(codes({ wrappingKeyProblem: 'another AK made it', ...withQuote({ resetCount: 9 }) })).toEqual(['WRAPPING_KEY_INVALID']);
  });

  it('passes with any firmware where the class names none', () => {
    expect(told({ hostClass: { ...good.hostClass, firmwareVersions: null }, ...withQuote({ firmwareVersion: '00' }) })).toEqual([]);
  });

  it('passes without earlier counters, as a source has none', () => {
    expect(told({ earlierCounters: null })).toEqual([]);
  });

  it('passes by any active set, whatever the order of PCRs in policy and quote', () => {
    const pcrs = [7, 0, 4];
    const other = { ...active, id: 'other', pcrValues: obsolete.pcrValues };
    expect(told({ hostClass: { ...good.hostClass, pcrs, referenceSets: [other, active] }, ...withQuote({ pcrSelection: [{ hashAlgorithm: 'sha256', pcrs: [4, 7, 0] }] }) })).toEqual([]);
  });
});

const expected = digestOf(evidence.binding);
describe('one broken rule', () => {
  it.each<[string, Partial<AppraisalInput>, string]>([
    ['a signature by another key', { isSignatureValid: false }, 'QUOTE_SIGNATURE_INVALID: the quote of host-b is not signed by its enrolled AK'],
    ['bytes that no TPM generated', withQuote({ magic: '00000000' }), 'QUOTE_MAGIC_WRONG: the quote of host-b was not made by a TPM (magic 00000000)'],
    ['a clock that went back', withQuote({ clock: '12344' }), 'RESET_COUNT_CHANGED: host-b was restarted during the move (clock 12345 to 12344)'],
    ['another signer in it', withQuote({ qualifiedSigner: tpmName(0x98) }), `QUOTE_SIGNER_WRONG: the quote of host-b names another signer: ${tpmName(0x98)}, expected ${tpmName(0x99)}`],
    ['a firmware that the class does not allow', withQuote({ firmwareVersion: '2019102300163637' }), 'FIRMWARE_NOT_ALLOWED: the TPM of host-b has firmware 2019102300163637; its class allows 2019102300163636'],
    ['a firmware that is none of two', { ...withQuote({ firmwareVersion: '02' }), hostClass: { ...good.hostClass, firmwareVersions: ['00', '01'] } }, 'FIRMWARE_NOT_ALLOWED: the TPM of host-b has firmware 02; its class allows 00, 01'],
    ['a certification instead of a quote', withQuote({ type: '8017' }), 'QUOTE_TYPE_WRONG: the evidence of host-b is not a quote (type 8017)'],
    ['qualifying data over something else', withQuote({ extraData: digest(9) }), `QUALIFYING_DATA_MISMATCH: the quote of host-b is bound to something else: qualifying data ${digest(9)}, expected ${expected}`],
    ['an unsafe clock', withQuote({ isClockSafe: false }), 'CLOCK_NOT_SAFE: the TPM clock of host-b is not safe'],
    ['a reset in between', withQuote({ resetCount: 4 }), 'RESET_COUNT_CHANGED: host-b was restarted during the move (resetCount 3 to 4)'],
    ['a restart in between', withQuote({ restartCount: 2 }), 'RESET_COUNT_CHANGED: host-b was restarted during the move (restartCount 1 to 2)'],
    ['a nonce that is stale or used', { isNonceFresh: false }, 'NONCE_UNKNOWN: the nonce in the binding of host-b was not issued here for this move, was used before or has expired'],
    ['a nonce of another verifier', expecting({ verifierNonce: digest(8) }), 'NONCE_UNKNOWN: the nonce in the binding of host-b was not issued here for this move, was used before or has expired'],
    ['evidence of another host', { evidence: destinationEvidenceOf({ hostId: SOURCE }) }, 'BINDING_MISMATCH: the binding of host-b names another hostId: host-a, expected host-b'],
    ['another migration', expecting({ migrationId: migrationId(9) }), `BINDING_MISMATCH: the binding of host-b names another migrationId: ${migrationId(1)}, expected ${migrationId(9)}`],
    ['another order', expecting({ orderDigest: digest(8) }), `BINDING_MISMATCH: the binding of host-b names another orderDigest: ${samples.binding.orderDigest}, expected ${digest(8)}`],
    ['the other role', expecting({ role: 'source' }), 'BINDING_MISMATCH: the binding of host-b names another role: destination, expected source'],
    ['another TLS key', expecting({ tlsSpkiSha256: digest(8) }), `BINDING_MISMATCH: the binding of host-b names another tlsSpkiSha256: ${digest(0xb2)}, expected ${digest(8)}`],
    ['another wrapping key', expecting({ wrappingKeyName: tpmName(8) }), `BINDING_MISMATCH: the binding of host-b names another wrappingKeyName: ${tpmName(0xc1)}, expected ${tpmName(8)}`],
    ['a wrapping key where none belongs', expecting({ wrappingKeyName: null }), `BINDING_MISMATCH: the binding of host-b names another wrappingKeyName: ${tpmName(0xc1)}, expected null`],
    ['too few PCRs in the quote', withQuote({ pcrSelection: [{ hashAlgorithm: 'sha256', pcrs: [0, 4] }] }), 'PCR_SELECTION_WRONG: the quote of host-b selects PCRs sha256:0,4, the policy asks for sha256:0,4,7'],
    ['too many PCRs in the quote', withQuote({ pcrSelection: [{ hashAlgorithm: 'sha256', pcrs: [0, 4, 7, 8] }] }), 'PCR_SELECTION_WRONG: the quote of host-b selects PCRs sha256:0,4,7,8, the policy asks for sha256:0,4,7'],
    ['PCRs of another bank', withQuote({ pcrSelection: [{ hashAlgorithm: 'sha1', pcrs: [0, 4, 7] }] }), 'PCR_SELECTION_WRONG: the quote of host-b selects PCRs sha1:0,4,7, the policy asks for sha256:0,4,7'],
    ['a second bank', withQuote({ pcrSelection: [{ hashAlgorithm: 'sha256', pcrs: [0, 4, 7] }, { hashAlgorithm: 'sha1', pcrs: [0] }] }), 'PCR_SELECTION_WRONG: the quote of host-b selects PCRs sha256:0,4,7+sha1:0, the policy asks for sha256:0,4,7'],
    ['a quote without PCRs', withQuote({ pcrSelection: [] }), 'PCR_SELECTION_WRONG: the quote of host-b selects PCRs , the policy asks for sha256:0,4,7'],
    ['values that are not those signed', { reportedPcrDigest: digest(8) }, 'PCR_DIGEST_MISMATCH: the PCR values that host-b reports are not those that its TPM signed'],
    ['a value more than the policy asks for', reporting({ ...evidence.pcrValues, '9': digest(9) }), 'PCR_DIGEST_MISMATCH: the PCR values that host-b reports are not those that its TPM signed'],
    ['one other PCR', reporting({ ...evidence.pcrValues, '4': digest(9) }), `PCR_NOT_REFERENCE: PCR 4 of host-b is ${digest(9)}; set kernel-6.1 allows ${digest(0x14)}; the host showed no event log`],
    ['a wrapping key that the TPM does not hold', { wrappingKeyProblem: 'it is not fixed' }, 'WRAPPING_KEY_INVALID: the wrapping key of host-b is not one that its TPM holds under the attested PCRs: it is not fixed'],
    ['a suspended host', { host: hostEntryOf({ hostId: DESTINATION, status: 'suspended' }) }, 'HOST_NOT_ACTIVE: host host-b has status suspended in the trust bundle'],
    ['a revoked host', { host: hostEntryOf({ hostId: DESTINATION, status: 'revoked' }) }, 'HOST_NOT_ACTIVE: host host-b has status revoked in the trust bundle'],
  ])('%s is told alone', (_, changes, text) => {
    expect(told(changes)).toEqual([text]);
  });

  it('is told for every member of the binding', () => {
    const other: Binding = { ...evidence.binding, migrationId: migrationId(9), orderDigest: digest(8), role: 'source', verifierNonce: digest(8), tlsSpkiSha256: digest(8), wrappingKeyName: null };
    for (const field of Object.keys(evidence.binding) as (keyof Binding)[]) {
      const value = field === 'protocol' || field === 'purpose' ? ('other' as never) : other[field];
      expect(codes(expecting({ [field]: value }))).toEqual([field === 'verifierNonce' ? 'NONCE_UNKNOWN' : 'BINDING_MISMATCH']);
    }
  });
});

describe('many broken rules', () => {
  it('are all told, each once', () => {
    const changes: Partial<AppraisalInput> = {
      host: hostEntryOf({ hostId: DESTINATION, status: 'revoked' }),
      isSignatureValid: false,
      isNonceFresh: false,
      wrappingKeyProblem: 'it is not fixed',
      reportedPcrDigest: digest(8),
      ...expecting({ role: 'source', orderDigest: digest(8) }),
      ...withQuote({ magic: '0', type: '0', isClockSafe: false, resetCount: 9, restartCount: 9, extraData: '', pcrSelection: [] }),
      ...reporting({ '0': digest(9), '4': digest(9), '7': digest(0x17) }),
    };
    expect(codes(changes)).toEqual([
      'HOST_NOT_ACTIVE', 'QUOTE_SIGNATURE_INVALID', 'QUOTE_MAGIC_WRONG', 'QUOTE_TYPE_WRONG', 'CLOCK_NOT_SAFE',
      'BINDING_MISMATCH', 'BINDING_MISMATCH', 'NONCE_UNKNOWN', 'QUALIFYING_DATA_MISMATCH', 'PCR_SELECTION_WRONG', 'PCR_DIGEST_MISMATCH',
      'PCR_NOT_REFERENCE', 'PCR_NOT_REFERENCE', 'WRAPPING_KEY_INVALID',
    ]);
  });
});

describe('a policy', () => {
  const matching = (status: ReferenceSet['status']): ReferenceSet => ({ ...active, id: status, status });

  it('without PCRs refuses everything', () => {
    const nothing: HostClass = { pcrs: [], firmwareVersions: null, referenceSets: [{ id: 'empty', status: 'active', pcrValues: {}, events: null }] };
    expect(codes({ hostClass: nothing, ...withQuote({ pcrSelection: [{ hashAlgorithm: 'sha256', pcrs: [] }] }), ...reporting({}) })).toEqual(['POLICY_EMPTY']);
  });

  it('without reference sets refuses everything', () => {
    expect(told(withSets())).toEqual(['POLICY_EMPTY: the policy for class rack names no PCR or no active reference set']);
  });

  it('whose matching sets are pending, obsolete or revoked refuses', () => {
    expect(codes(withSets(matching('pending'), matching('obsolete'), matching('revoked')))).toEqual(['POLICY_EMPTY']);
  });

  it('does not count sets that are not active beside one that is', () => {
    const other = { ...active, pcrValues: { ...active.pcrValues, '7': digest(9) } };
    expect(told(withSets(matching('pending'), matching('obsolete'), matching('revoked'), other))).toEqual([
      `PCR_NOT_REFERENCE: PCR 7 of host-b is ${digest(0x17)}; set kernel-6.1 allows ${digest(9)}; the host showed no event log`,
    ]);
  });

  it('shows the active set that differs least', () => {
    const far = { ...active, id: 'far', pcrValues: { '0': digest(1), '4': digest(2), '7': digest(0x17) } };
    const near = { ...active, id: 'near', pcrValues: { ...active.pcrValues, '0': digest(3) } };
    const text = [`PCR_NOT_REFERENCE: PCR 0 of host-b is ${digest(0x10)}; set near allows ${digest(3)}; the host showed no event log`];
    expect(told(withSets(far, near))).toEqual(text);
    expect(told(withSets(near, far))).toEqual(text);
  });

  it('that asks for a PCR which the host does not report shows it as absent', () => {
    const values = { '0': digest(0x10), '4': digest(0x14) };
    expect(told(reporting(values))).toEqual([
      'PCR_DIGEST_MISMATCH: the PCR values that host-b reports are not those that its TPM signed',
      `PCR_NOT_REFERENCE: PCR 7 of host-b is absent; set kernel-6.1 allows ${digest(0x17)}; the host showed no event log`,
    ]);
  });

  it('whose set lacks a PCR of the class matches nothing, not even a host that lacks it too', () => {
    const values = { '0': digest(0x10), '4': digest(0x14) };
    expect(told({ ...withSets({ ...active, pcrValues: values }), ...reporting(values) })).toEqual([
      'PCR_DIGEST_MISMATCH: the PCR values that host-b reports are not those that its TPM signed',
      'PCR_NOT_REFERENCE: PCR 7 of host-b is absent; set kernel-6.1 allows nothing; the host showed no event log',
    ]);
  });
});
