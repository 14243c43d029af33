/** What the offline verifier says of evidence, as lines that a test compares whole. */
import { verifyEvidence } from '../../client/index.js';
import type { Evidence } from '../../domain/evidence.js';
import { POLICY_SIGNER } from './documents.js';
import { type OtherwiseSigned, signedMove } from './signed-evidence.js';

export interface Said {
  /** "field: what [by]", with the names of AKs shortened to "AK". */
  readonly proven: readonly string[];
  readonly problems: readonly string[];
  readonly missing: readonly string[];
  readonly unproven: readonly string[];
  readonly told: readonly string[];
}

/** Of a move of which hosts signed what the test says, and which is told with `changes`. */
export async function saidOfMove(signed: OtherwiseSigned = {}, changes: Partial<Evidence> | ((evidence: Evidence) => Partial<Evidence>) = {}): Promise<Said> {
  const { evidence, bundle } = await signedMove(signed);
  const report = verifyEvidence({ ...evidence, ...(typeof changes === 'function' ? changes(evidence) : changes) }, bundle, [POLICY_SIGNER.publicKey]);
  return {
    proven: report.proven.map(({ field, what, by }) => `${field}: ${what} [${by.replace(/AK 000b[0-9a-f]{64}$/, 'AK')}]`),
    problems: report.problems.map(({ field, problem }) => `${field}: ${problem}`),
    missing: report.missing.map(({ field, why }) => `${field}: ${why}`),
    unproven: report.unproven.map(({ field, why }) => `${field}: ${why}`),
    told: report.told.map(({ field, what }) => `${field}: ${what}`),
  };
}

/** The fields that are proven. */
export const fieldsOf = ({ proven }: Said): readonly string[] => proven.map((line) => line.slice(0, line.indexOf(': ')));
