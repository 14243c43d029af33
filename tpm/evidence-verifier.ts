/** The EvidenceVerifier port over verify.ts and wrap.ts; a peer's unreadable bytes become EVIDENCE_MALFORMED. */
import { problemOf, refuse } from '../domain/failures.js';
import { endorsementNameOf, pcrDigestOf } from './marshal.js';
import type { EvidenceVerifier } from './port.js';
import { StructureError } from './structures.js';
import { certificationCounters, checkWrappingKey, parseQuote, verifyQuoteOver, verifySignature } from './verify.js';
import { wrapSecrets } from './wrap.js';

export function createEvidenceVerifier(): EvidenceVerifier {
  return {
    parseQuote(signed, host) {
      try {
        return parseQuote(signed);
      } catch (error) {
        if (error instanceof StructureError) throw refuse('EVIDENCE_MALFORMED', { host, problem: problemOf(error) }, error);
        throw error;
      }
    },
    signerNameOf: ({ name }) => endorsementNameOf(name),
    isSignedBy: verifySignature,
    quoteProblem(spec) {
      const result = verifyQuoteOver(spec);
      return result.ok ? null : result.problem;
    },
    wrappingKeyProblem: ({ ak, evidence, pcrValues }) => checkWrappingKey({ ak, evidence, pcrs: Object.keys(pcrValues).map(Number), pcrValues }),
    countersOf(signed) {
      try {
        return certificationCounters(signed);
      } catch (error) {
        if (error instanceof StructureError) return null;
        throw error;
      }
    },
    pcrDigest: (values) => pcrDigestOf(Object.keys(values).map(Number), values),
    wrapSecrets,
  };
}
