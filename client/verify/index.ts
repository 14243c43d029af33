/**
 * Checks the evidence file of a move offline, with the public keys in a trust bundle and nothing else: no host, no TPM and no Temporal is
 * asked, and the word of none is taken. What nobody signed is said to be unproven.
 *
 *   order, approval, limits, fences   by their operators, whom the bundle lets do that
 *   attestation                       appraised anew (domain/appraisal.ts), but for the age of the nonces
 *   verdict, and by it the manifest   by the destination's AK, in the state and the boot that was attested
 *   receipts, and by them timings     by the AK of each host
 */
import { type OpenedDocument, authorize, openSigned } from '../../domain/authority.js';
import { digestOf } from '../../domain/canonical.js';
import { parseDocument } from '../../domain/documents.js';
import { type PublicKey, keyIdOf } from '../../domain/envelope.js';
import { Evidence, type SaidRecord } from '../../domain/evidence.js';
import { KororaError } from '../../domain/failures.js';
import { ROLES, type Role, assertNever } from '../../domain/ids.js';
import type { Order } from '../../domain/order.js';
import { type HostEntry, type InstalledBundle, classOf, hostIn, installBundle } from '../../domain/trust-bundle.js';
import { createEvidenceVerifier } from '../../tpm/evidence-verifier.js';
import type { EvidenceVerifier } from '../../tpm/port.js';
import { type EvidenceReport, ReportBuilder } from './report.js';

export type { EvidenceReport } from './report.js';

interface Case {
  readonly evidence: Evidence;
  readonly order: Order;
  readonly installed: InstalledBundle;
  readonly verifier: EvidenceVerifier;
  readonly report: ReportBuilder;
}

/**
 * `bundle`: the envelope of the trust bundle that the order names. `signers`: the keys that it must be signed by; null to believe it as it is.
 * EVIDENCE_INVALID, BUNDLE_INVALID, BUNDLE_NOT_SIGNED where there is nothing to check; all else is in the report.
 */
export function verifyEvidence(value: unknown, bundle: unknown, signers: readonly PublicKey[] | null): EvidenceReport {
  const evidence = parseDocument(Evidence, value, 'EVIDENCE_INVALID');
  const installed = installBundle(bundle, 'this verifier', signers ?? 'any signer');
  const report = new ReportBuilder();
  /** What cannot be read is wrong like anything else. */
  const check = (field: string, work: () => void) => {
    try {
      work();
    } catch (error) {
      if (!(error instanceof KororaError)) throw error;
      report.fails(field, error.message);
    }
  };
  check('order', () => {
    const opened = openSigned('korora/order', evidence.order);
    const one: Case = { evidence, order: opened.document, installed, verifier: createEvidenceVerifier(), report };
    checkOrder(one, opened, signers);
    for (const role of ROLES) check(`attestation.${role}`, () => checkAttestation(one, role));
    if (evidence.attestation.source ?? evidence.attestation.destination) report.leaves('nonces', 'whether they were fresh: each host checked its own');
    check('verdict', () => checkVerdict(one));
    for (const role of ROLES) check(`receipts.${role}`, () => checkReceipt(one, role));
    for (const { kind, field, said } of wordsOf(evidence)) check(field, () => checkWord(one, kind, field, said));
    checkOutcome(one);
  });
  return report;
}

/** Of the files of moves, some of one VM: each is to begin where the one before ended. Files of moves that failed are left out. EVIDENCE_INVALID. */
export function chainProblems(values: readonly unknown[]): readonly string[] {
  const moves = values
    .map((value) => parseDocument(Evidence, value, 'EVIDENCE_INVALID'))
    .flatMap(({ manifest, verdict }) => (verdict?.verdict.verdict === 'accepted' ? [{ manifest, verdict: verdict.verdict }] : []))
    .sort(({ verdict: a }, { verdict: b }) => (a.vmId === b.vmId ? a.epoch - b.epoch : a.vmId < b.vmId ? -1 : 1));
  return moves.flatMap(({ verdict: { vmId, epoch }, manifest }, i) => {
    const before = moves[i - 1]?.verdict;
    if (before?.vmId !== vmId) return [];
    const named = manifest?.previousVerdict ?? 'none';
    return named === digestOf(before) ? [] : [`VM ${vmId}: the move to epoch ${epoch} does not follow the one to epoch ${before.epoch}: it names verdict ${named}`];
  });
}

function checkOrder({ evidence, order, installed, report }: Case, opened: OpenedDocument<'korora/order'>, signers: readonly PublicKey[] | null): void {
  const { bundle, digest } = installed;
  if (signers) report.proves('trust bundle', `${digest}, serial ${bundle.serial}`, signers.map(keyIdOf).join(', '));
  else report.leaves('trust bundle', 'no signer was given: it is believed as it is');
  if (report.agrees('order', order, { bundleDigest: digest }) && isSaidBy(report, 'order', opened, null, installed)) {
    report.proves('order', `VM ${order.vmId}, epoch ${order.epoch}, from ${order.source} to ${order.destination}, until ${order.notAfter}`, nameOf(installed, order.by));
  }
  if (digestOf(evidence.vm) === order.vmDigest) report.proves('vm', 'the VM document that was ordered to move', nameOf(installed, order.by));
  else report.fails('vm', 'it is not the document that was ordered to move');
}

function checkAttestation({ evidence, order, installed, verifier, report }: Case, role: Role): void {
  const field = `attestation.${role}`;
  const shown = evidence.attestation[role];
  const named = evidence.attestation.referenceSets[role];
  if (!shown) {
    if (named !== null) report.fails('attestation.referenceSets', `${role}: of a host that proved nothing`);
    if (evidence.outcome.kind === 'moved') report.fails(field, 'it is missing');
    else report.leaves(field, 'the move ended before it');
    return;
  }
  const host = hostIn(installed.bundle, order[role]);
  const hostClass = classOf(installed.bundle, host);
  const { verifierNonce } = shown.binding;
  if (shown.eventLog !== null) report.leaves(`${field}.eventLog`, 'nobody signed it: it explains PCR values as far as it adds up to them, and decides nothing');
  const result = verifier.appraise({ host, hostClass, evidence: shown, role, migrationId: order.migrationId, orderDigest: digestOf(order), verifierNonce, isNonceFresh: true });
  if (!result.ok) return result.failures.forEach(({ code, message }) => report.fails(field, `${code}: ${message}`));
  report.proves(field, `PCRs ${hostClass.pcrs.join(', ')} as in reference set ${result.peer.referenceSet}; its TLS key${role === 'destination' ? ' and wrapping key' : ''}`, akOf(host));
  if (named === null) return report.leaves('attestation.referenceSets', `${role}: the peer has not said that it appraised it`);
  if (named !== result.peer.referenceSet) report.fails('attestation.referenceSets', `${role}: ${named} instead of ${result.peer.referenceSet}`);
}

function checkVerdict({ evidence, order, installed, verifier, report }: Case): void {
  const { verdict: statement, manifest } = evidence;
  if (!statement) {
    if (manifest) report.leaves('manifest', 'no verdict names it');
    return;
  }
  const { verdict, quote } = statement;
  const host = hostIn(installed.bundle, order.destination);
  const epoch = order.epoch + 1;
  const isOfTheOrder = report.agrees('verdict.verdict', verdict, { migrationId: order.migrationId, vmId: order.vmId, destination: order.destination, epoch });
  const problem = verifier.quoteProblem({ ak: host.attestationKey, signed: quote, qualifyingData: Buffer.from(digestOf(verdict), 'hex') });
  if (problem) return report.fails('verdict', problem);
  if (isOfTheOrder) report.proves('verdict', `${verdict.verdict}${verdict.reason === null ? '' : `: ${verdict.reason}`}`, akOf(host));
  if (verdict.verdict === 'rejected') return manifest ? report.leaves('manifest', 'it was rejected') : undefined;
  checkSameState(evidence, verifier, report);
  if (!manifest) return report.leaves('manifest', `it is not here; the verdict names ${verdict.manifestDigest ?? 'none'}`);
  if (digestOf(manifest) !== verdict.manifestDigest) report.fails('manifest', 'it is not the one that was accepted');
  else if (report.agrees('manifest', manifest, { migrationId: order.migrationId, vmId: order.vmId, epoch })) {
    const since = manifest.previousVerdict ? `after verdict ${manifest.previousVerdict}` : 'its first move, or since a fence';
    report.proves('manifest', `image of ${manifest.streamBytes} bytes, SHA-256 ${manifest.streamSha256}, vTPM ${manifest.vtpmIdentity}; ${since}`, akOf(host));
  }
}

/** Nobody changed or restarted the destination between its attestation and its verdict. */
function checkSameState({ attestation, verdict }: Evidence, verifier: EvidenceVerifier, report: ReportBuilder): void {
  if (!attestation.destination || !verdict) return;
  const [then, now] = [verifier.parseQuote(attestation.destination.quote, 'the destination'), verifier.parseQuote(verdict.quote, 'the destination')];
  if (now.pcrDigest !== then.pcrDigest) report.fails('verdict.quote', 'its PCRs are not those that were attested');
  if (now.resetCount !== then.resetCount || now.restartCount !== then.restartCount) report.fails('verdict.quote', 'its TPM was restarted since it attested');
  if (BigInt(now.clock) < BigInt(then.clock)) report.fails('verdict.quote', 'its TPM made it before it attested');
}

function checkReceipt({ evidence, order, installed, verifier, report }: Case, role: Role): void {
  const { rounds, timings, verdict } = evidence;
  const given = evidence.receipts[role];
  const fields = role === 'source' ? ['rounds', 'timings.source', 'approval', 'limitsChanges'] : ['timings.destination'];
  if (!given) return fields.forEach((field) => report.leaves(field, `${order[role]} gave no receipt`));
  if (!verdict) return report.fails(`receipts.${role}`, 'of a move without a verdict');
  const host = hostIn(installed.bundle, order[role]);
  const { receipt, quote } = given;
  const named = {
    role, hostId: order[role], migrationId: order.migrationId, vmId: order.vmId, epoch: order.epoch + 1, orderDigest: digestOf(order), verdictDigest: digestOf(verdict.verdict),
  };
  const isOfTheMove = report.agrees(`receipts.${role}.receipt`, receipt, named);
  const problem = verifier.quoteProblem({ ak: host.attestationKey, signed: quote, qualifyingData: Buffer.from(digestOf(receipt), 'hex') });
  if (problem) return report.fails(`receipts.${role}`, problem);
  const observed = role === 'source' ? { role, rounds, timings: timings.source, ...wordsIn(evidence) } : { role, timings: timings.destination };
  if (digestOf(observed) !== receipt.observedDigest) return report.fails(fields.join(', '), `${order[role]} signed that it saw something else`);
  if (isOfTheMove) report.proves(`receipts.${role}`, role === 'source' ? 'it gave the VM up, and what it saw: rounds, timings, what operators said' : 'the VM runs, and what it saw: timings', akOf(host));
}

function wordsIn({ approval, limitsChanges }: Evidence) {
  return {
    approval: approval && digestOf(openSigned('korora/approval', approval.envelope).document),
    limitsChanges: limitsChanges.map(({ envelope }) => digestOf(openSigned('korora/limits', envelope).document)),
  };
}

type WordKind = 'korora/approval' | 'korora/limits' | 'korora/fence';

interface Word {
  readonly kind: WordKind;
  readonly field: string;
  readonly said: SaidRecord;
}

function wordsOf({ fences, limitsChanges, approval }: Evidence): readonly Word[] {
  return [
    ...fences.map((said, i): Word => ({ kind: 'korora/fence', field: `fences.${i}`, said })),
    ...limitsChanges.map((said, i): Word => ({ kind: 'korora/limits', field: `limitsChanges.${i}`, said })),
    ...(approval ? [{ kind: 'korora/approval', field: 'approval', said: approval } as const] : []),
  ];
}

function checkWord({ order, installed, report }: Case, kind: WordKind, field: string, { envelope }: SaidRecord): void {
  report.leaves(`${field}.atMs`, 'by the clock of the control plane');
  const opened = openSigned(kind, envelope);
  const { document } = opened;
  const isOfTheMove = report.agrees(field, document, { migrationId: order.migrationId, vmId: order.vmId });
  if (!isSaidBy(report, field, opened, order, installed) || !isOfTheMove) return;
  report.proves(field, whatIsSaid(document), nameOf(installed, document.by));
  if (document.kind !== 'korora/approval') return;
  report.agrees(field, document, { orderDigest: digestOf(order) });
  if (installed.bundle.parameters.approverMustDiffer && document.by === order.by) report.fails(field, `${document.by} ordered the move`);
}

function whatIsSaid(document: OpenedDocument<WordKind>['document']): string {
  switch (document.kind) {
    case 'korora/approval':
      return 'the move may stop the source';
    case 'korora/limits':
      return `other limits: ${JSON.stringify(document.limits)}`;
    case 'korora/fence':
      return `${document.host} is powered off: ${document.reason}`;
    default:
      return assertNever(document);
  }
}

function checkOutcome({ evidence, order, report }: Case): void {
  const { outcome, verdict, receipts } = evidence;
  const isAccepted = verdict?.verdict.verdict === 'accepted';
  if ((outcome.kind === 'moved') !== isAccepted) report.fails('outcome.kind', `${outcome.kind}, and the destination ${isAccepted ? 'accepted' : 'did not accept'}`);
  const place = isAccepted ? order.destination : order.source;
  if (outcome.runsOn !== null && outcome.runsOn !== place) report.fails('outcome.runsOn', `${outcome.runsOn} instead of ${place}`);
  if (!verdict) report.leaves('outcome', 'no host signed how the move ended');
  else if (!isAccepted || !receipts.destination || outcome.runsOn === null) report.leaves('outcome.runsOn', 'no host signed that the VM runs');
  if (outcome.failures.length > 0) report.leaves('outcome.failures', 'told by the control plane');
  for (const field of ['timings.startedAtMs', 'timings.endedAtMs', 'timings.phases']) report.leaves(field, 'by the clock of the control plane');
  if (order.requiresApproval && isAccepted && !evidence.approval) report.fails('approval', 'the order asks for one');
}

function isSaidBy(report: ReportBuilder, field: string, opened: Parameters<typeof authorize>[0], order: Order | null, { bundle }: InstalledBundle): boolean {
  const authority = authorize(opened, order, bundle, 'this verifier' as HostEntry['hostId']);
  if (!authority.ok) report.fails(field, `${authority.failure.code}: ${authority.failure.message}`);
  return authority.ok;
}

function nameOf({ bundle }: InstalledBundle, by: string): string {
  const operator = bundle.operators.find(({ name }) => name === by);
  return operator ? `${by}, key ${keyIdOf(operator.publicKey)}` : by;
}

function akOf({ hostId, attestationKey }: HostEntry): string {
  return `${hostId}, AK ${attestationKey.name}`;
}
