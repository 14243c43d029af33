/**
 * What hosts signed of a move. A statement counts where the host that signed it was active, in a state of the reference values, and in
 * the boot that it attested in this move; a signature alone makes nobody right.
 */
import type { SignedAttestation } from '../../domain/attestation.js';
import { openSigned } from '../../domain/authority.js';
import { digestOf } from '../../domain/canonical.js';
import type { Evidence } from '../../domain/evidence.js';
import { ROLES, type Role } from '../../domain/ids.js';
import { classOf, hostIn } from '../../domain/trust-bundle.js';
import { type Case, akOf } from './case.js';

export function checkAttestation({ evidence, order, installed, verifier, report }: Case, role: Role): void {
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

export function checkVerdict(one: Case): void {
  const { evidence, order, installed, report } = one;
  const { verdict: statement, manifest } = evidence;
  if (!statement) {
    if (manifest) report.leaves('manifest', 'no verdict names it');
    return;
  }
  const { verdict, quote } = statement;
  const host = hostIn(installed.bundle, order.destination);
  const epoch = order.epoch + 1;
  const isOfTheOrder = report.agrees('verdict.verdict', verdict, { migrationId: order.migrationId, vmId: order.vmId, destination: order.destination, epoch });
  if (!isStatementOf(one, 'verdict', 'destination', verdict, quote)) return;
  if (isOfTheOrder) report.proves('verdict', `${verdict.verdict}${verdict.reason === null ? '' : `: ${verdict.reason}`}`, akOf(host));
  if (verdict.verdict === 'rejected') return manifest ? report.leaves('manifest', 'it was rejected') : undefined;
  if (!manifest) return report.fails('manifest', `it is missing: what was accepted is not shown; the verdict names ${verdict.manifestDigest ?? 'none'}`);
  if (digestOf(manifest) !== verdict.manifestDigest) report.fails('manifest', 'it is not the one that was accepted');
  else if (report.agrees('manifest', manifest, { migrationId: order.migrationId, vmId: order.vmId, epoch })) {
    const since = manifest.previousVerdict ? `after verdict ${manifest.previousVerdict}` : 'its first move, or since a fence';
    report.proves('manifest', `image of ${manifest.streamBytes} bytes, SHA-256 ${manifest.streamSha256}, vTPM ${manifest.vtpmIdentity}; ${since}`, akOf(host));
  }
}

export function checkReceipt(one: Case, role: Role): void {
  const { evidence, order, installed, report } = one;
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
  if (!isStatementOf(one, `receipts.${role}`, role, receipt, quote)) return;
  const observed = role === 'source' ? { role, rounds, timings: timings.source, ...wordsIn(evidence) } : { role, timings: timings.destination };
  if (digestOf(observed) !== receipt.observedDigest) return report.fails(fields.join(', '), `${order[role]} signed that it saw something else`);
  if (isOfTheMove) report.proves(`receipts.${role}`, role === 'source' ? 'it gave the VM up, and what it saw: rounds, timings, what operators said' : 'the VM runs, and what it saw: timings', akOf(host));
}

/** What the claimed outcome rests on and nobody signed: that is no lie by itself, and no proof. */
export function checkCompleteness({ evidence: { outcome, verdict, succession, receipts }, order, report }: Case): void {
  if (succession) return report.lacks('verdict', `${order.destination} owned the VM later, and signed no more of this move`);
  if (outcome.kind !== 'moved') return verdict ? undefined : report.lacks('verdict', 'no host signed how the move ended');
  const unsaid = { source: 'gave the VM up', destination: 'runs the VM' };
  for (const role of ROLES) if (!receipts[role]) report.lacks(`receipts.${role}`, `${order[role]} did not sign that it ${unsaid[role]}`);
}

/** In the place of a verdict: the destination took the VM, and owned it later; of the move itself nothing more is signed. */
export function checkSuccession(one: Case): void {
  const { evidence: { succession: statement, verdict }, order, installed, verifier, report } = one;
  if (!statement) return;
  const { succession, quote } = statement;
  if (verdict) report.fails('succession', 'of a move that has a verdict');
  const host = hostIn(installed.bundle, order.destination);
  const isOfTheMove = report.agrees('succession.succession', succession, { vmId: order.vmId, hostId: order.destination, migrationId: order.migrationId });
  if (succession.ownedEpoch <= order.epoch) return report.fails('succession.succession.ownedEpoch', `${succession.ownedEpoch} is no later epoch than the order’s`);
  // It holds in any boot: it is said long after the move.
  const problems = verifier.appraiseStatement({ host, hostClass: classOf(installed.bundle, host), document: succession, quote, boot: null });
  for (const { code, message } of problems) report.fails('succession', `${code}: ${message}`);
  if (problems.length === 0 && isOfTheMove) report.proves('succession', `${order.destination} owned epoch ${succession.ownedEpoch}`, akOf(host));
}

/** Says all that speaks against it, and is false then. */
function isStatementOf({ evidence, order, installed, verifier, report }: Case, field: string, role: Role, document: object, quote: SignedAttestation): boolean {
  const host = hostIn(installed.bundle, order[role]);
  const attested = evidence.attestation[role];
  if (!attested) report.fails(field, 'by a host that attested nothing in this move');
  const boot = attested && verifier.parseQuote(attested.quote, host.hostId);
  const failures = verifier.appraiseStatement({ host, hostClass: classOf(installed.bundle, host), document, quote, boot });
  for (const { code, message } of failures) report.fails(field, `${code}: ${message}`);
  const isSameState = !boot || verifier.parseQuote(quote, host.hostId).pcrDigest === boot.pcrDigest;
  if (!isSameState) report.fails(field, 'its PCRs are not those that were attested');
  return attested !== null && failures.length === 0 && isSameState;
}

function wordsIn({ approval, limitsChanges }: Evidence) {
  return {
    approval: approval && digestOf(openSigned('korora/approval', approval.envelope).document),
    limitsChanges: limitsChanges.map(({ envelope }) => digestOf(openSigned('korora/limits', envelope).document)),
  };
}
