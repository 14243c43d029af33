/**
 * The appraisal (RFC 9334 §8): given what a verifier parsed and computed from a
 * peer's evidence, every rule that it breaks. Pure; signatures and digests are computed in tpm/.
 */
import type { Binding, HostEvidence, PcrValues, TpmBoot } from './attestation.js';
import { type ShownLog, explainDifference } from './boot-events.js';
import { type Failure, failure } from './failures.js';
import type { HostClass, HostEntry, ReferenceSet } from './trust-bundle.js';

/** TPMS_ATTEST of type quote, in plain words (Part 2 §10.12). Hex is lower-case, big-endian. */
export interface ParsedQuote {
  readonly magic: string;
  readonly type: string;
  /** Qualified name of the key that signed. */
  readonly qualifiedSigner: string;
  readonly extraData: string;
  /** Milliseconds the TPM has been powered, decimal. */
  readonly clock: string;
  readonly resetCount: number;
  readonly restartCount: number;
  readonly isClockSafe: boolean;
  readonly firmwareVersion: string;
  readonly pcrSelection: readonly { readonly hashAlgorithm: string; readonly pcrs: readonly number[] }[];
  readonly pcrDigest: string;
}

export interface AppraisalInput {
  readonly host: HostEntry;
  readonly hostClass: HostClass;
  readonly evidence: HostEvidence;
  readonly quote: ParsedQuote;
  /** By the AK enrolled for this host. */
  readonly isSignatureValid: boolean;
  /** Qualified name of that AK. */
  readonly expectedSigner: string;
  /** What the binding must say; `verifierNonce` is the one issued here. */
  readonly expectedBinding: Binding;
  /** SHA-256 of the canonical form of the binding that came with the evidence, or of another statement that was quoted over. */
  readonly bindingDigest: string;
  /** Digest of the reported PCR values in ascending order. */
  readonly reportedPcrDigest: string;
  readonly isNonceFresh: boolean;
  /** Problem text of the wrapping key's certification, null if it is right or not needed. */
  readonly wrappingKeyProblem: string | null;
  /** Counters in the wrapping key's certification: an earlier statement of the same TPM in this move. */
  readonly earlierCounters: TpmBoot | null;
  /** The event log in the evidence. It explains a refusal, and changes none: no rule reads it. */
  readonly log: ShownLog;
}

/** What is known of a host's state without a move: no binding, no nonce of a peer, no earlier statement. */
export type StateInput = Pick<AppraisalInput, 'host' | 'hostClass' | 'quote' | 'isSignatureValid' | 'expectedSigner' | 'bindingDigest' | 'reportedPcrDigest' | 'log'> & {
  readonly evidence: Pick<HostEvidence, 'pcrValues'>;
};

declare const verified: unique symbol;

/**
 * A peer whose evidence met every rule. Checked: AK signature, magic, type, qualified signer, qualifying data over
 * the recomputed binding, nonce, PCR selection, PCR digest, PCR values against one active
 * reference set, clock, counters, firmware version, wrapping key. Only `appraise` makes one.
 */
export interface AppraisedPeer {
  readonly [verified]: true;
  readonly host: HostEntry;
  readonly evidence: HostEvidence;
  readonly referenceSet: string;
}

export type AppraisalResult = { readonly ok: true; readonly peer: AppraisedPeer } | { readonly ok: false; readonly failures: readonly [Failure, ...Failure[]] };

export const TPM_GENERATED = 'ff544347';
export const TPM_ST_ATTEST_QUOTE = '8018';

/** All rules, all reasons at once. An empty policy refuses. */
export function appraise(input: AppraisalInput): AppraisalResult {
  const { host, evidence } = input;
  const failures = [
    ...policyRules(input),
    ...quoteRules(input),
    ...counterRules(input),
    ...bindingRules(input),
    ...qualifyingDataRule(input),
    ...pcrRules(input),
    ...(input.wrappingKeyProblem === null ? [] : [failure('WRAPPING_KEY_INVALID', { host: host.hostId, problem: input.wrappingKeyProblem })]),
  ];
  const [first, ...rest] = failures;
  if (first) return { ok: false, failures: [first, ...rest] };
  return { ok: true, peer: { host, evidence, referenceSet: matchingSet(input.hostClass, evidence.pcrValues)?.id ?? '' } as AppraisedPeer };
}

/** The rules about the state of a host alone, for a trial: it lets nobody do anything, and makes no AppraisedPeer. */
export function appraiseState(input: StateInput): { readonly referenceSet: string | null; readonly failures: readonly Failure[] } {
  return {
    referenceSet: matchingSet(input.hostClass, input.evidence.pcrValues)?.id ?? null,
    failures: [...policyRules(input), ...quoteRules(input), ...qualifyingDataRule(input), ...pcrRules(input)],
  };
}

/** A quote that came without the values of its PCRs, over a statement: whether whoever signed it was in a state in which it may be believed. */
export type StatementInput = Pick<StateInput, 'host' | 'hostClass' | 'quote' | 'isSignatureValid' | 'expectedSigner' | 'bindingDigest'> & {
  /** PCR digest of each active reference set of the class. */
  readonly referenceDigests: readonly string[];
  /** In which the host was attested, where the statement is about one move; null else. */
  readonly boot: TpmBoot | null;
};

/** Active, by the AK, over this statement, exactly the PCRs of the class, with the values of an active reference set, since the same boot. */
export function appraiseStatement(input: StatementInput): readonly Failure[] {
  const { host: { hostId }, quote, referenceDigests, boot } = input;
  return [
    ...policyRules(input),
    ...quoteRules(input),
    ...qualifyingDataRule(input),
    ...selectionRule(input),
    ...(referenceDigests.includes(quote.pcrDigest) ? [] : [failure('STATE_NOT_REFERENCE', { host: hostId })]),
    ...bootRules(hostId, quote, boot),
  ];
}

type PolicyInput = Pick<StateInput, 'host' | 'hostClass'>;
type QuoteInput = Pick<StateInput, 'host' | 'hostClass' | 'quote' | 'isSignatureValid' | 'expectedSigner'>;

function policyRules({ host, hostClass }: PolicyInput): Failure[] {
  const failures: Failure[] = [];
  if (hostClass.pcrs.length === 0 || activeSets(hostClass).length === 0) failures.push(failure('POLICY_EMPTY', { class: host.class }));
  if (host.status !== 'active') failures.push(failure('HOST_NOT_ACTIVE', { host: host.hostId, status: host.status }));
  return failures;
}

function quoteRules({ host, hostClass, quote, isSignatureValid, expectedSigner }: QuoteInput): Failure[] {
  const hostId = host.hostId;
  const failures: Failure[] = [];
  if (!isSignatureValid) failures.push(failure('QUOTE_SIGNATURE_INVALID', { host: hostId }));
  if (quote.magic !== TPM_GENERATED) failures.push(failure('QUOTE_MAGIC_WRONG', { host: hostId, magic: quote.magic }));
  if (quote.type !== TPM_ST_ATTEST_QUOTE) failures.push(failure('QUOTE_TYPE_WRONG', { host: hostId, type: quote.type }));
  if (quote.qualifiedSigner !== expectedSigner) failures.push(failure('QUOTE_SIGNER_WRONG', { host: hostId, actual: quote.qualifiedSigner, expected: expectedSigner }));
  const allowed = hostClass.firmwareVersions;
  if (allowed && !allowed.includes(quote.firmwareVersion)) failures.push(failure('FIRMWARE_NOT_ALLOWED', { host: hostId, actual: quote.firmwareVersion, allowed: allowed.join(', ') }));
  if (!quote.isClockSafe) failures.push(failure('CLOCK_NOT_SAFE', { host: hostId }));
  return failures;
}

function counterRules({ host: { hostId }, quote, wrappingKeyProblem, earlierCounters }: AppraisalInput): Failure[] {
  // Those of a certification that is none say nothing.
  return bootRules(hostId, quote, wrappingKeyProblem === null ? earlierCounters : null);
}

/** No restart of the TPM since an earlier statement of it. */
function bootRules(hostId: string, quote: ParsedQuote, earlier: TpmBoot | null): Failure[] {
  if (!earlier) return [];
  const changed = (['resetCount', 'restartCount'] as const).filter((counter) => earlier[counter] !== quote[counter]).map((counter) => failure('RESET_COUNT_CHANGED', { host: hostId, counter, before: earlier[counter], after: quote[counter] }));
  if (BigInt(quote.clock) >= BigInt(earlier.clock)) return changed;
  return [...changed, failure('RESET_COUNT_CHANGED', { host: hostId, counter: 'clock', before: earlier.clock, after: quote.clock })];
}

function bindingRules({ host, evidence, expectedBinding, isNonceFresh }: AppraisalInput): Failure[] {
  const hostId = host.hostId;
  const failures: Failure[] = [];
  if (evidence.hostId !== hostId) failures.push(failure('BINDING_MISMATCH', { host: hostId, field: 'hostId', actual: evidence.hostId, expected: hostId }));
  for (const field of Object.keys(expectedBinding) as (keyof Binding)[]) {
    if (field === 'verifierNonce' || evidence.binding[field] === expectedBinding[field]) continue;
    failures.push(failure('BINDING_MISMATCH', { host: hostId, field, actual: String(evidence.binding[field]), expected: String(expectedBinding[field]) }));
  }
  if (!isNonceFresh || evidence.binding.verifierNonce !== expectedBinding.verifierNonce) failures.push(failure('NONCE_UNKNOWN', { host: hostId }));
  return failures;
}

function qualifyingDataRule({ host, quote, bindingDigest }: Pick<StateInput, 'host' | 'quote' | 'bindingDigest'>): Failure[] {
  return quote.extraData === bindingDigest ? [] : [failure('QUALIFYING_DATA_MISMATCH', { host: host.hostId, actual: quote.extraData, expected: bindingDigest })];
}

function pcrRules(input: StateInput): Failure[] {
  const { host, hostClass, quote, evidence } = input;
  const hostId = host.hostId;
  const failures = selectionRule(input);
  if (ascending(Object.keys(evidence.pcrValues).map(Number)) !== ascending(hostClass.pcrs) || quote.pcrDigest !== input.reportedPcrDigest) {
    failures.push(failure('PCR_DIGEST_MISMATCH', { host: hostId }));
  }
  return [...failures, ...pcrDifferences(hostId, hostClass, evidence.pcrValues, input.log)];
}

function selectionRule({ host: { hostId }, hostClass, quote }: Pick<StateInput, 'host' | 'hostClass' | 'quote'>): Failure[] {
  const expected = `sha256:${ascending(hostClass.pcrs)}`;
  const selection = quote.pcrSelection.map((bank) => `${bank.hashAlgorithm}:${ascending(bank.pcrs)}`).join('+');
  return selection === expected ? [] : [failure('PCR_SELECTION_WRONG', { host: hostId, actual: selection, expected })];
}

/** The active set whose values these are. */
export function matchingSet(hostClass: HostClass, values: PcrValues): ReferenceSet | undefined {
  return activeSets(hostClass).find((set) => differences(set, values, hostClass.pcrs).length === 0);
}

/** None where an active set matches; else against the one that differs in the fewest PCRs: the one a person would compare with. */
export function pcrDifferences(host: string, hostClass: HostClass, values: PcrValues, log: ShownLog): Failure[] {
  const [nearest] = activeSets(hostClass)
    .map((set) => ({ set, pcrs: differences(set, values, hostClass.pcrs) }))
    .sort((a, b) => a.pcrs.length - b.pcrs.length);
  if (!nearest) return [];
  const { id, pcrValues, events } = nearest.set;
  return nearest.pcrs.map((pcr) => {
    const [value, expected] = [values[pcr], pcrValues[pcr]];
    const explanation = explainDifference({ pcr, value, log, reference: { value: expected, events } });
    return failure('PCR_NOT_REFERENCE', { host, pcr, set: id, actual: value ?? 'absent', expected: expected ?? 'nothing', explanation });
  });
}

export function activeSets({ referenceSets }: HostClass): readonly ReferenceSet[] {
  return referenceSets.filter((set) => set.status === 'active');
}

function differences(set: ReferenceSet, values: PcrValues, pcrs: readonly number[]): number[] {
  return pcrs.filter((pcr) => values[pcr] === undefined || values[pcr] !== set.pcrValues[pcr]);
}

function ascending(numbers: readonly number[]): string {
  return [...numbers].sort((a, b) => a - b).join(',');
}
