/**
 * A complete evidence file of a move that went well, with its trust bundle: every statement signed, the AKs in software. Or of one in which
 * hosts signed what a test has them sign.
 */
import type { Binding, HostEvidence } from '../../domain/attestation.js';
import { digestOf } from '../../domain/canonical.js';
import { type Envelope, signEnvelope } from '../../domain/envelope.js';
import { Evidence } from '../../domain/evidence.js';
import type { Role } from '../../domain/ids.js';
import { type Manifest, type Receipt, Succession, type Verdict } from '../../domain/manifest.js';
import type { HostEntry } from '../../domain/trust-bundle.js';
import { pcrDigestOf } from '../../tpm/marshal.js';
import { ADA, DESTINATION, GRACE, POLICY_SIGNER, SOURCE, approvalOf, digest, fenceOf, hostClassOf, hostEntryOf, limitsChangeOf, manifestOf, orderOf, samples, trustBundleOf, verdictOf } from './documents.js';
import type { Attest } from '../../tpm/structures.js';
import { type SoftwareKey, certifiedBy, makeSoftwareKey, quoteBy, wrappingKeyUnder } from '../../infra/testbed/software-ak.js';

const PCRS = [0, 4, 7];
const VALUES = hostClassOf().referenceSets[0]?.pcrValues ?? {};

export interface SignedMove {
  readonly bundle: Envelope;
  readonly evidence: Evidence;
}

export type Quoted = 'succession' | 'attestation.source' | 'attestation.destination' | 'verdict' | 'receipts.source' | 'receipts.destination';

export interface OtherwiseSigned {
  /** Of each quote, before the AK signs it. */
  readonly attest?: (what: Quoted, attest: Attest) => Attest;
  readonly manifest?: Partial<Record<keyof Manifest, unknown>>;
  readonly verdict?: Partial<Record<keyof Verdict, unknown>>;
  /** In the place of manifest, verdict and receipts: the destination owned a later epoch since, and no longer knows the move. */
  readonly succession?: Partial<Record<keyof Succession, unknown>>;
  readonly destination?: Partial<Record<keyof HostEntry, unknown>>;
  /** Of either receipt. */
  readonly receipt?: Partial<Record<keyof Receipt, unknown>>;
}

export async function signedMove({ attest = (_, as) => as, ...changes }: OtherwiseSigned = {}): Promise<SignedMove> {
  const aks = { source: makeSoftwareKey(), destination: makeSoftwareKey() };
  /** In the state of the reference values. */
  const quoted = (what: Quoted, ak: SoftwareKey, document: object) =>
    ak.sign(attest(what, quoteBy(ak, { extraData: Buffer.from(digestOf(document), 'hex'), pcrs: PCRS, pcrDigest: Buffer.from(pcrDigestOf(PCRS, VALUES), 'hex') })));
  const entry = (role: Role, hostId: string) => hostEntryOf({ ...(role === 'destination' ? changes.destination : {}),  hostId, attestationKey: { publicArea: aks[role].publicArea, name: aks[role].name }, identity: { proof: 'none' } });
  const bundle = trustBundleOf({ hosts: [entry('source', SOURCE), entry('destination', DESTINATION)] });
  const order = orderOf({ bundleDigest: digestOf(bundle), requiresApproval: true });
  const manifest = manifestOf(changes.manifest);
  const verdict = verdictOf({ manifestDigest: digestOf(manifest), ...changes.verdict });
  const [approval, limitsChange] = [approvalOf({ orderDigest: digestOf(order) }), limitsChangeOf()];
  const { rounds, timings } = samples.evidence;
  const observed = {
    source: { role: 'source', rounds, timings: timings.source, approval: digestOf(approval), limitsChanges: [digestOf(limitsChange)] },
    destination: { role: 'destination', timings: timings.destination },
  };
  const receipt = (role: Role) => {
    const said = {
      protocol: 'korora/1', purpose: 'receipt', role, hostId: role === 'source' ? SOURCE : DESTINATION, migrationId: order.migrationId, vmId: order.vmId, epoch: order.epoch + 1,
      orderDigest: digestOf(order), verdictDigest: digestOf(verdict), observedDigest: digestOf(observed[role]), ...changes.receipt,
    };
    return { receipt: said, quote: quoted(`receipts.${role}`, aks[role], said) };
  };
  const attested = (role: Role): HostEvidence => {
    const wrappingKey = role === 'source' ? null : certifiedBy(aks[role], wrappingKeyUnder(PCRS, VALUES));
    const binding: Binding = {
      protocol: 'korora/1', purpose: 'attest', migrationId: order.migrationId, orderDigest: digestOf(order), role, verifierNonce: digest(0xb1), tlsSpkiSha256: digest(0xa2), wrappingKeyName: wrappingKey?.name ?? null,
    };
    return { hostId: role === 'source' ? SOURCE : DESTINATION, binding, quote: quoted(`attestation.${role}`, aks[role], binding), pcrValues: VALUES, wrappingKey, eventLog: null };
  };
  const succession = changes.succession && Succession.parse({ protocol: 'korora/1', purpose: 'succession', vmId: order.vmId, hostId: DESTINATION, migrationId: order.migrationId, ownedEpoch: 4, ...changes.succession });
  const instead = succession && { manifest: null, verdict: null, receipts: { source: null, destination: null }, succession: { succession, quote: quoted('succession', aks.destination, succession) }, outcome: { ...samples.evidence.outcome, runsOn: null } };
  const evidence = Evidence.parse({
    ...samples.evidence,
    order: await signEnvelope(order, ADA),
    attestation: { ...samples.evidence.attestation, source: attested('source'), destination: attested('destination') },
    manifest,
    verdict: { verdict, quote: quoted('verdict', aks.destination, verdict) },
    receipts: { source: receipt('source'), destination: receipt('destination') },
    fences: [{ envelope: await signEnvelope(fenceOf(), ADA), atMs: 3_095 }],
    approval: { envelope: await signEnvelope(approval, GRACE), atMs: 2_900 },
    limitsChanges: [{ envelope: await signEnvelope(limitsChange, ADA), atMs: 2_000 }],
    ...instead,
  });
  return { bundle: await signEnvelope(bundle, POLICY_SIGNER), evidence };
}

/**
 * What keys stand for in such a file, to be compared: without what `korora verify` calls unproven, and without the signatures in
 * envelopes, of which there may be more than the one that counts.
 */
export function withoutUnproven(value: unknown): unknown {
  const { order, attestation, timings, outcome, fences, approval, limitsChanges, ...rest } = value as Evidence;
  const unsigned = ({ payloadType, payload }: Envelope) => ({ payloadType, payload });
  const withoutLog = (shown: HostEvidence | null) => shown && { ...shown, eventLog: null };
  const said = ({ envelope }: Evidence['fences'][number]) => unsigned(envelope);
  return {
    ...rest,
    order: unsigned(order),
    attestation: { ...attestation, source: withoutLog(attestation.source), destination: withoutLog(attestation.destination) },
    fences: fences.map(said),
    approval: approval && said(approval),
    limitsChanges: limitsChanges.map(said),
    timings: { ...timings, startedAtMs: 0, endedAtMs: 0, phases: {} },
    outcome: { ...outcome, failures: [] },
  };
}
