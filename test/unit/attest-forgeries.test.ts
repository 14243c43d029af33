/**
 * Evidence that is genuine but for one field, given to the activities by which a host appraises its peer. The forger holds the enrolled AK and signs
 * what he likes: only the rule that looks at the field can refuse it. Each forgery has its own code; nothing of it opens the session.
 */
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createAttestation } from '../../activities/attest.js';
import type { HostServices } from '../../activities/services.js';
import { createSessions } from '../../activities/session.js';
import { createChannels } from '../../channel/relay.js';
import type { Binding, HostEvidence, PcrValues, SessionOffer } from '../../domain/attestation.js';
import { digestOf } from '../../domain/canonical.js';
import { type Envelope, signEnvelope } from '../../domain/envelope.js';
import { type FailureCode, KororaError } from '../../domain/failures.js';
import { noRecord } from '../../domain/ownership.js';
import { createEvidenceVerifier } from '../../tpm/evidence-verifier.js';
import { pcrDigestOf } from '../../tpm/marshal.js';
import { type Attest, TPM_ST_ATTEST_CERTIFY } from '../../tpm/structures.js';
import { ADA, DESTINATION, SOURCE, VM, digest, hostClassOf, hostEntryOf, migrationId, orderOf, trustBundleOf } from '../support/documents.js';
import { certifiedBy, makeSoftwareKey, quoteBy, wrappingKeyUnder } from '../../infra/testbed/software-ak.js';

const PCRS = [0, 4, 7];
const VALUES: PcrValues = hostClassOf().referenceSets[0]?.pcrValues ?? {};
const ak = makeSoftwareKey();
const { publicArea, name } = ak;
const bundle = trustBundleOf({ hosts: [hostEntryOf({ hostId: SOURCE }), hostEntryOf({ hostId: DESTINATION, attestationKey: { publicArea, name }, identity: { proof: 'none' } })] });
const order = orderOf({ bundleDigest: digestOf(bundle) });

let host: ReturnType<typeof createAttestation>;
let signed: Envelope;
let offer: SessionOffer;
/** Migrations that were settled here. */
let settled: string[];

beforeEach(async () => {
  settled = [];
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-06-01T00:00:00Z') });
  const services = {
    hostId: SOURCE, clock: { now: () => Date.now() }, verifier: createEvidenceVerifier(), channels: createChannels(), sessions: createSessions(SOURCE), ownership: { read: () => Promise.resolve({ ...noRecord(VM, SOURCE), state: 'owner', epoch: 1 }), hold: async () => undefined }, installedBundle: () => Promise.resolve({ bundle, digest: digestOf(bundle) }),
  } as unknown as HostServices;
  host = createAttestation(services, { settleHere: async ({ order: { migrationId } }) => void settled.push(migrationId) }, { gatherAhead: () => undefined });
  signed = await signEnvelope(order, ADA);
  offer = await host.openSession({ order: signed, role: 'source' });
});
afterEach(() => {
  vi.useRealTimers();
});

interface Forgery {
  readonly binding?: Partial<Binding>;
  readonly attest?: Partial<Attest>;
  readonly clockInfo?: Partial<Attest['clockInfo']>;
  readonly quoted?: { readonly pcrs?: readonly number[]; readonly bank?: number; readonly values?: PcrValues };
  readonly reported?: PcrValues;
  readonly signer?: ReturnType<typeof makeSoftwareKey>;
  readonly signature?: 'flipped';
  readonly evidence?: Partial<HostEvidence>;
}

/** All that a genuine destination would show, but for what is forged; digests and signatures are made to fit. */
function evidence({ binding: bindingChanges, attest, clockInfo, quoted, reported, signer = ak, signature, evidence: changes }: Forgery = {}): HostEvidence {
  const values = quoted?.values ?? VALUES;
  const wrappingKey = certifiedBy(ak, wrappingKeyUnder(PCRS, VALUES));
  const binding: Binding = {
    protocol: 'korora/1', purpose: 'attest', migrationId: order.migrationId, orderDigest: digestOf(order), role: 'destination', verifierNonce: offer.nonce, tlsSpkiSha256: digest(0x77), wrappingKeyName: wrappingKey.name,
    ...bindingChanges,
  };
  const pcrs = quoted?.pcrs ?? PCRS;
  const genuine = quoteBy(ak, { extraData: Buffer.from(digestOf(binding), 'hex'), pcrs, pcrDigest: Buffer.from(pcrDigestOf(pcrs, values), 'hex') });
  const attested = quoted?.bank === undefined || genuine.attested.kind !== 'quote' ? genuine.attested : { ...genuine.attested, pcrSelection: [{ hashAlgorithm: quoted.bank, pcrs }] };
  const quote = signer.sign({ ...genuine, attested, clockInfo: { ...genuine.clockInfo, ...clockInfo }, ...attest });
  return { hostId: DESTINATION, binding, quote: signature ? { ...quote, signature: flipped(quote.signature) } : quote, pcrValues: reported ?? values, wrappingKey, eventLog: null, ...changes };
}

function flipped(base64: string): string {
  const bytes = Buffer.from(base64, 'base64');
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  return bytes.toString('base64');
}

async function codesOf(shown: HostEvidence): Promise<readonly FailureCode[]> {
  const error: unknown = await host.appraisePeer({ order: signed, role: 'source', evidence: shown }).then(() => null, (reason: unknown) => reason);
  if (error === null) return [];
  if (!(error instanceof KororaError)) throw error;
  return error.failures.map(({ code }) => code);
}

it('evidence in which nothing is forged is believed', async () => {
  expect(await codesOf(evidence())).toEqual([]);
});

const OTHER = digest(0x5a);
const otherKey = makeSoftwareKey();
const sha384 = 0x000c;

describe('refused, with this code alone: a forged', () => {
  it.each<[string, Forgery, readonly FailureCode[]]>([
    ['magic', { attest: { magic: 0xff544346 } }, ['QUOTE_MAGIC_WRONG']],
    ['qualified signer', { attest: { qualifiedSigner: createHash('sha256').update('another').digest() } }, ['QUOTE_SIGNER_WRONG']],
    ['extraData', { attest: { extraData: Buffer.alloc(32, 1) } }, ['QUALIFYING_DATA_MISMATCH']],
    ['clock, not safe', { clockInfo: { isSafe: false } }, ['CLOCK_NOT_SAFE']],
    ['clock, of before the wrapping key', { clockInfo: { clockMs: 12_344n } }, ['RESET_COUNT_CHANGED']],
    ['reset count', { clockInfo: { resetCount: 4 } }, ['RESET_COUNT_CHANGED']],
    ['restart count', { clockInfo: { restartCount: 2 } }, ['RESET_COUNT_CHANGED']],
    ['firmware version', { attest: { firmwareVersion: 0x2019102300163635n } }, ['FIRMWARE_NOT_ALLOWED']],
    ['PCR selection, of another bank', { quoted: { bank: sha384 } }, ['PCR_SELECTION_WRONG']],
    ['PCR digest', { attest: { attested: { kind: 'quote', pcrSelection: [{ hashAlgorithm: 0x000b, pcrs: PCRS }], pcrDigest: Buffer.alloc(32, 2) } } }, ['PCR_DIGEST_MISMATCH']],
    ['signature', { signature: 'flipped' }, ['QUOTE_SIGNATURE_INVALID']],
    ['AK', { signer: otherKey }, ['QUOTE_SIGNATURE_INVALID']],
    ['nonce, of another verifier', { binding: { verifierNonce: OTHER } }, ['NONCE_UNKNOWN']],
    ['migration', { binding: { migrationId: migrationId(9) } }, ['BINDING_MISMATCH']],
    ['order', { binding: { orderDigest: OTHER } }, ['BINDING_MISMATCH']],
    ['role', { binding: { role: 'source' } }, ['BINDING_MISMATCH']],
    ['wrapping key in the binding', { binding: { wrappingKeyName: `000b${OTHER}` } }, ['BINDING_MISMATCH']],
    ['name of the host', { evidence: { hostId: SOURCE } }, ['BINDING_MISMATCH']],
    ['wrapping key, which another AK certifies', { evidence: { wrappingKey: null } }, ['BINDING_MISMATCH', 'WRAPPING_KEY_INVALID']],
  ])('%s', async (_, forgery, codes) => {
    expect(await codesOf(evidence(forgery))).toEqual(codes);
    // Nor is the nonce good any more.
    expect(await codesOf(evidence())).toEqual(['NONCE_UNKNOWN']);
  });

  it('type, by which the body is another, too', async () => {
    const certification = { type: TPM_ST_ATTEST_CERTIFY, attested: { kind: 'certify' as const, name: Buffer.from(name, 'hex'), qualifiedName: Buffer.alloc(34) } };
    expect(await codesOf(evidence({ attest: certification }))).toEqual(['QUOTE_TYPE_WRONG', 'PCR_SELECTION_WRONG', 'PCR_DIGEST_MISMATCH']);
    expect(await codesOf({ ...evidence(), quote: { attest: 'AAAA', signature: 'AAAA' } })).toEqual(['EVIDENCE_MALFORMED']);
  });

  it.each<[string, Forgery, readonly FailureCode[]]>([
    ['fewer PCRs', { quoted: { pcrs: [0, 4], values: { '0': VALUES['0'] ?? '', '4': VALUES['4'] ?? '' } } }, ['PCR_SELECTION_WRONG', 'PCR_DIGEST_MISMATCH', 'PCR_NOT_REFERENCE', 'WRAPPING_KEY_INVALID']],
    ['another value, quoted as it is', { quoted: { values: { ...VALUES, '4': OTHER } } }, ['PCR_NOT_REFERENCE', 'WRAPPING_KEY_INVALID']],
    ['another value, reported as it should be', { quoted: { values: { ...VALUES, '4': OTHER } }, reported: VALUES }, ['PCR_DIGEST_MISMATCH']],
  ])('state: %s', async (_, forgery, codes) => {
    expect(await codesOf(evidence(forgery))).toEqual(codes);
  });
});

describe('a nonce', () => {
  it('is good once, and for the same evidence ever after', async () => {
    const first = evidence();
    expect(await codesOf(first)).toEqual([]);
    expect(await codesOf(first)).toEqual([]);
    expect(await codesOf(evidence())).toEqual(['NONCE_UNKNOWN']);
  });

  it.each([[0, []], [1, ['NONCE_UNKNOWN']]] as const)('is good for as long as the bundle says, and %i ms', async (moreMs, codes) => {
    vi.setSystemTime(Date.now() + bundle.parameters.nonceLifetimeMs + moreMs);
    expect(await codesOf(evidence())).toEqual(codes);
  });

  it('of one session is not good in another', async () => {
    const yesterdays = evidence();
    await host.closeSession({ order: signed, reason: 'the move has ended' });
    offer = await host.openSession({ order: signed, role: 'source' });
    expect(await codesOf(yesterdays)).toEqual(['NONCE_UNKNOWN']);
  });
});
