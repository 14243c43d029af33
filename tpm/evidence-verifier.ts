/** The EvidenceVerifier port over verify.ts and wrap.ts; a peer's unreadable bytes become EVIDENCE_MALFORMED. */
import { type ParsedQuote, type StateInput, activeSets, appraise, appraiseState, appraiseStatement } from '../domain/appraisal.js';
import type { SignedAttestation } from '../domain/attestation.js';
import type { ShownLog } from '../domain/boot-events.js';
import { digestOf } from '../domain/canonical.js';
import { problemOf, refuse } from '../domain/failures.js';
import { parseEventLog } from './event-log.js';
import { endorsementNameOf, pcrDigestOf } from './marshal.js';
import type { EvidenceSpec, EvidenceVerifier, StateSpec } from './port.js';
import { StructureError } from './structures.js';
import { certificationCounters, checkWrappingKey, parseQuote, verifyQuoteOver, verifySignature } from './verify.js';
import { wrapSecrets } from './wrap.js';

export function createEvidenceVerifier(): EvidenceVerifier {
  return {
    parseQuote: readQuote,
    quoteProblem(spec) {
      const result = verifyQuoteOver(spec);
      return result.ok ? null : result.problem;
    },
    appraiseStatement: ({ host, hostClass, document, quote, boot }) =>
      appraiseStatement({
        host,
        hostClass,
        boot,
        quote: readQuote(quote, host.hostId),
        isSignatureValid: verifySignature(host.attestationKey, quote),
        expectedSigner: endorsementNameOf(host.attestationKey.name),
        bindingDigest: digestOf(document),
        referenceDigests: activeSets(hostClass).map(({ pcrValues }) => pcrDigestOf(hostClass.pcrs, pcrValues)),
      }),
    readEventLog,
    appraise(spec) {
      const { host, hostClass, evidence, isNonceFresh, role, migrationId, orderDigest, verifierNonce } = spec;
      const { binding, quote, pcrValues, wrappingKey, eventLog } = evidence;
      return appraise({
        ...stateOf({ host, hostClass, quote, pcrValues, eventLog, bindingDigest: digestOf(binding) }),
        evidence,
        expectedBinding: { protocol: 'korora/1', purpose: 'attest', migrationId, orderDigest, role, verifierNonce, tlsSpkiSha256: binding.tlsSpkiSha256, wrappingKeyName: wrappingKey?.name ?? null },
        isNonceFresh,
        wrappingKeyProblem: wrappingKeyProblem(spec),
        earlierCounters: wrappingKey ? countersOf(wrappingKey.certification) : null,
      });
    },
    appraiseState: (spec) => appraiseState(stateOf(spec)),
    wrapSecrets,
  };
}

function stateOf({ host, hostClass, quote, pcrValues, eventLog, bindingDigest }: StateSpec): StateInput {
  return {
    host,
    hostClass,
    evidence: { pcrValues },
    quote: readQuote(quote, host.hostId),
    isSignatureValid: verifySignature(host.attestationKey, quote),
    expectedSigner: endorsementNameOf(host.attestationKey.name),
    bindingDigest,
    reportedPcrDigest: pcrDigestOf(Object.keys(pcrValues).map(Number), pcrValues),
    log: readEventLog(eventLog),
  };
}

function readEventLog(eventLog: string | null): ShownLog {
  if (eventLog === null) return null;
  try {
    return parseEventLog(Buffer.from(eventLog, 'base64'));
  } catch (error) {
    if (error instanceof StructureError) return { problem: problemOf(error) };
    throw error;
  }
}

function readQuote(signed: SignedAttestation, host: string): ParsedQuote {
  try {
    return parseQuote(signed);
  } catch (error) {
    if (error instanceof StructureError) throw refuse('EVIDENCE_MALFORMED', { host, problem: problemOf(error) }, error);
    throw error;
  }
}

function wrappingKeyProblem({ role, host, evidence: { wrappingKey, pcrValues } }: EvidenceSpec): string | null {
  if (role === 'source') return wrappingKey === null ? null : 'a source has none';
  if (wrappingKey === null) return 'there is none';
  return checkWrappingKey({ ak: host.attestationKey, evidence: wrappingKey, pcrs: Object.keys(pcrValues).map(Number), pcrValues });
}

/** Null where it cannot be read. */
function countersOf(certification: SignedAttestation) {
  try {
    return certificationCounters(certification);
  } catch (error) {
    if (error instanceof StructureError) return null;
    throw error;
  }
}
