/**
 * Checks the evidence file of a move offline, with the public keys in a trust bundle and nothing else: no host, no TPM and no Temporal is
 * asked, and the word of none is taken. What nobody signed is said to be so; what only the control plane says stands apart.
 *
 *   order, approval, limits, fences   by their operators, whom the bundle lets do that
 *   attestation                       appraised anew (domain/appraisal.ts), but for the age of the nonces
 *   verdict, and by it the manifest   by the destination's AK, in an allowed state and the boot that was attested
 *   receipts, and by them timings     by the AK of each host, likewise
 */
import { type OpenedDocument, openSigned } from '../../domain/authority.js';
import { digestOf } from '../../domain/canonical.js';
import { parseDocument } from '../../domain/documents.js';
import { type PublicKey, keyIdOf } from '../../domain/envelope.js';
import { Evidence } from '../../domain/evidence.js';
import { KororaError } from '../../domain/failures.js';
import { ROLES } from '../../domain/ids.js';
import { installBundle } from '../../domain/trust-bundle.js';
import { createEvidenceVerifier } from '../../tpm/evidence-verifier.js';
import { type Case, nameOf } from './case.js';
import { type EvidenceReport, ReportBuilder } from './report.js';
import { checkAttestation, checkCompleteness, checkReceipt, checkSuccession, checkVerdict } from './statements.js';
import { checkWord, isSaidBy, wordsOf } from './words.js';

export { type ChainReport, checkChain } from './chain.js';
export type { EvidenceReport } from './report.js';

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
    checkOrder(one, opened, signers && installed.signedBy);
    for (const role of ROLES) check(`attestation.${role}`, () => checkAttestation(one, role));
    if (evidence.attestation.source ?? evidence.attestation.destination) report.leaves('nonces', 'whether they were fresh: each host checked its own');
    check('verdict', () => checkVerdict(one));
    check('succession', () => checkSuccession(one));
    for (const role of ROLES) check(`receipts.${role}`, () => checkReceipt(one, role));
    for (const word of wordsOf(evidence)) check(word.field, () => checkWord(one, word));
    checkOutcome(one);
    checkCompleteness(one);
  });
  return report.finished();
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

function checkOutcome({ evidence, order, report }: Case): void {
  const { outcome, verdict, succession, receipts, timings } = evidence;
  const isAccepted = verdict?.verdict.verdict === 'accepted';
  if ((outcome.kind === 'moved') !== (isAccepted || succession !== null)) report.fails('outcome.kind', `${outcome.kind}, and the destination ${isAccepted ? 'accepted' : 'did not accept'}`);
  const place = isAccepted || succession ? order.destination : order.source;
  if (outcome.runsOn !== null && outcome.runsOn !== place) report.fails('outcome.runsOn', `${outcome.runsOn} instead of ${place}`);
  if (!verdict) report.tells('outcome', `${outcome.kind}, VM on ${outcome.runsOn ?? 'a host that nobody named'}`);
  else if (!isAccepted || !receipts.destination || outcome.runsOn === null) report.leaves('outcome.runsOn', 'no host signed that the VM runs');
  if (outcome.failures.length > 0) report.tells('outcome.failures', outcome.failures.map(({ code, message }) => `${code}: ${message}`).join('; '));
  report.tells('timings.startedAtMs', String(timings.startedAtMs));
  report.tells('timings.endedAtMs', String(timings.endedAtMs));
  report.tells('timings.phases', Object.entries(timings.phases).map(([phase, atMs]) => `${phase} ${atMs} ms`).join(', '));
  if (order.requiresApproval && isAccepted && !evidence.approval) report.fails('approval', 'the order asks for one');
}
