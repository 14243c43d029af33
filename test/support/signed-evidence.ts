/**
 * A complete evidence file of a move that went well, with its trust bundle: every statement signed, the AKs in software.
 */
import type { Binding, HostEvidence } from '../../domain/attestation.js';
import { digestOf } from '../../domain/canonical.js';
import { type Envelope, signEnvelope } from '../../domain/envelope.js';
import { Evidence } from '../../domain/evidence.js';
import type { Role } from '../../domain/ids.js';
import { pcrDigestOf } from '../../tpm/marshal.js';
import { ADA, DESTINATION, GRACE, POLICY_SIGNER, SOURCE, approvalOf, digest, fenceOf, hostClassOf, hostEntryOf, limitsChangeOf, manifestOf, orderOf, samples, trustBundleOf, verdictOf } from './documents.js';
import { type SoftwareKey, certifiedBy, makeSoftwareKey, quoteBy, wrappingKeyUnder } from '../../infra/testbed/software-ak.js';

const PCRS = [0, 4, 7];
const VALUES = hostClassOf().referenceSets[0]?.pcrValues ?? {};

export interface SignedMove {
  readonly bundle: Envelope;
  readonly evidence: Evidence;
}

export async function signedMove(): Promise<SignedMove> {
  const aks = { source: makeSoftwareKey(), destination: makeSoftwareKey() };
  const entry = (role: Role, hostId: string) => hostEntryOf({ hostId, attestationKey: { publicArea: aks[role].publicArea, name: aks[role].name }, identity: { proof: 'none' } });
  const bundle = trustBundleOf({ hosts: [entry('source', SOURCE), entry('destination', DESTINATION)] });
  const order = orderOf({ bundleDigest: digestOf(bundle), requiresApproval: true });
  const manifest = manifestOf();
  const verdict = verdictOf({ manifestDigest: digestOf(manifest) });
  const [approval, limitsChange] = [approvalOf({ orderDigest: digestOf(order) }), limitsChangeOf()];
  const { rounds, timings } = samples.evidence;
  const observed = {
    source: { role: 'source', rounds, timings: timings.source, approval: digestOf(approval), limitsChanges: [digestOf(limitsChange)] },
    destination: { role: 'destination', timings: timings.destination },
  };
  const receipt = (role: Role) => {
    const said = {
      protocol: 'korora/1', purpose: 'receipt', role, hostId: role === 'source' ? SOURCE : DESTINATION, migrationId: order.migrationId, vmId: order.vmId, epoch: order.epoch + 1,
      orderDigest: digestOf(order), verdictDigest: digestOf(verdict), observedDigest: digestOf(observed[role]),
    };
    return { receipt: said, quote: quoted(aks[role], said) };
  };
  const evidence = Evidence.parse({
    ...samples.evidence,
    order: await signEnvelope(order, ADA),
    attestation: { ...samples.evidence.attestation, source: attested('source', aks.source, digestOf(order)), destination: attested('destination', aks.destination, digestOf(order)) },
    manifest,
    verdict: { verdict, quote: quoted(aks.destination, verdict) },
    receipts: { source: receipt('source'), destination: receipt('destination') },
    fences: [{ envelope: await signEnvelope(fenceOf(), ADA), atMs: 3_095 }],
    approval: { envelope: await signEnvelope(approval, GRACE), atMs: 2_900 },
    limitsChanges: [{ envelope: await signEnvelope(limitsChange, ADA), atMs: 2_000 }],
  });
  return { bundle: await signEnvelope(bundle, POLICY_SIGNER), evidence };
}

/** A quote over a document, in the state of the reference values. */
function quoted(ak: SoftwareKey, document: object) {
  return ak.sign(quoteBy(ak, { extraData: Buffer.from(digestOf(document), 'hex'), pcrs: PCRS, pcrDigest: Buffer.from(pcrDigestOf(PCRS, VALUES), 'hex') }));
}

function attested(role: Role, ak: SoftwareKey, orderDigest: string): HostEvidence {
  const wrappingKey = role === 'source' ? null : certifiedBy(ak, wrappingKeyUnder(PCRS, VALUES));
  const binding: Binding = {
    protocol: 'korora/1', purpose: 'attest', migrationId: orderOf().migrationId, orderDigest, role, verifierNonce: digest(0xb1), tlsSpkiSha256: digest(0xa2), wrappingKeyName: wrappingKey?.name ?? null,
  };
  return { hostId: role === 'source' ? SOURCE : DESTINATION, binding, quote: quoted(ak, binding), pcrValues: VALUES, wrappingKey, eventLog: null };
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
