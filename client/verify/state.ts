/**
 * A trial of a trust bundle: which hosts would pass with it, by quotes made for the trial or by those in evidence files. It lets
 * nobody do anything; what a move asks beyond the state of a host (binding, nonces, keys) is not tried.
 */
import { randomBytes } from 'node:crypto';
import { type HostQuestion, HostState, type StateReply, type StateStatement } from '../../domain/attestation.js';
import { digestOf } from '../../domain/canonical.js';
import { describeIssues, parseDocument } from '../../domain/documents.js';
import { Evidence } from '../../domain/evidence.js';
import { type Failure, KororaError, failure } from '../../domain/failures.js';
import { ROLES, type Sha256Hex } from '../../domain/ids.js';
import { type TrustBundle, classOf, hostIn } from '../../domain/trust-bundle.js';
import { createEvidenceVerifier } from '../../tpm/evidence-verifier.js';

export interface HostTrial {
  readonly hostId: string;
  /** Whose quote it was: `live`, or the move of an evidence file. */
  readonly by: string;
  /** That the values match; null where none. */
  readonly referenceSet: string | null;
  /** Empty where the host would pass. */
  readonly failures: readonly Failure[];
}

/** One for each active host, with a new nonce. */
export function questionsOf(bundle: TrustBundle): readonly HostQuestion[] {
  return bundle.hosts.filter(({ status }) => status === 'active').map((host) => ({ hostId: host.hostId, nonce: randomBytes(32).toString('hex'), pcrs: classOf(bundle, host).pcrs }));
}

export function tryReply(bundle: TrustBundle, { hostId, nonce }: Pick<HostQuestion, 'hostId' | 'nonce'>, reply: StateReply): HostTrial {
  const said = { hostId, by: 'live' };
  if ('failures' in reply) return { ...said, referenceSet: null, failures: reply.failures };
  const parsed = HostState.safeParse(reply);
  if (!parsed.success) return { ...said, referenceSet: null, failures: [failure('EVIDENCE_MALFORMED', { host: hostId, problem: describeIssues(parsed.error) })] };
  const statement: StateStatement = { protocol: 'korora/1', purpose: 'state', hostId, nonce };
  return { ...said, ...tryState(bundle, hostId, parsed.data, digestOf(statement)) };
}

/** Both hosts of a move, as far as they quoted. EVIDENCE_INVALID. */
export function tryEvidence(bundle: TrustBundle, value: unknown): readonly HostTrial[] {
  const { attestation } = parseDocument(Evidence, value, 'EVIDENCE_INVALID');
  return ROLES.flatMap((role) => {
    const shown = attestation[role];
    return shown ? [{ hostId: shown.hostId, by: shown.binding.migrationId, ...tryState(bundle, shown.hostId, shown, digestOf(shown.binding)) }] : [];
  });
}

export function tryState(bundle: TrustBundle, hostId: string, state: Pick<HostState, 'quote' | 'pcrValues' | 'eventLog'>, qualifyingDigest: Sha256Hex): Pick<HostTrial, 'referenceSet' | 'failures'> {
  try {
    const host = hostIn(bundle, hostId);
    return createEvidenceVerifier().appraiseState({ host, hostClass: classOf(bundle, host), ...state, bindingDigest: qualifyingDigest });
  } catch (error) {
    if (!(error instanceof KororaError)) throw error;
    return { referenceSet: null, failures: error.failures };
  }
}
