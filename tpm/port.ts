/**
 * What Kororā asks of a host's TPM 2.0 and of the vTPMs on that host.
 *
 * Binary TPM structures travel as base64 of their marshalled bytes under the names of the TPM 2.0
 * library specification, Part 2 (TPMS_ATTEST, TPMT_SIGNATURE, TPMT_PUBLIC). All PCRs are of the
 * SHA-256 bank; all keys are ECC NIST P-256.
 */
import type { AppraisalResult, ParsedQuote, StateInput, StatementInput, appraiseState } from '../domain/appraisal.js';
import type { AttestationKeyPublic, Binding, HostEvidence, HostState, PcrValues, SignedAttestation, WrappedSecrets, WrappingKeyEvidence } from '../domain/attestation.js';
import type { ShownLog } from '../domain/boot-events.js';
import type { Failure } from '../domain/failures.js';
import type { HostClass, HostEntry } from '../domain/trust-bundle.js';

export interface HostTpm {
  /** Removes the key contexts that a worker left when it died, and unloads what it had loaded. For the one worker of a host, before it works. */
  removeLeftovers(): Promise<void>;
  /** Creates and persists the AK on the first call; the same key ever after. TPM_UNREACHABLE, TPM_COMMAND_FAILED. */
  ensureAttestationKey(): Promise<AttestationKeyPublic>;
  readPcrs(pcrs: readonly number[]): Promise<PcrValues>;
  /** TPMS_CLOCK_INFO.clock: ms that the TPM was powered, which a reset does not set back (Part 1 §36.3). */
  readClock(): Promise<number>;
  /** TPM2_Quote (Part 3 §18.4) by the AK. `qualifyingData`: 32 bytes. */
  quote(pcrs: readonly number[], qualifyingData: Buffer): Promise<SignedAttestation & { readonly pcrValues: PcrValues }>;
  /**
   * A fresh ECDH key, fixed to this TPM, usable only while the named PCRs have the values they
   * have now (TPM2_PolicyPCR, Part 3 §23.7), certified by the AK (TPM2_Certify, §18.2).
   */
  createWrappingKey(pcrs: readonly number[]): Promise<WrappingKeyHandle>;
  /** Random bytes sealed to this TPM for storage on its host; survives restarts of host and worker. */
  sealAtRest(secret: Buffer): Promise<SealedBlob>;
  unsealAtRest(blob: SealedBlob): Promise<Buffer>;
  /** Of the ownership records. Source: tpm/nv.ts. */
  readonly ownershipCounter: MonotonicCounter;
  /** Of the newest trust bundle that was seen: its serial, 8 bytes, and its digest, 32. */
  readonly newestBundle: NvMemory;
}

/** A number in the TPM's NV memory that only goes up. TPM_UNREACHABLE, TPM_COMMAND_FAILED. */
export interface MonotonicCounter {
  /** Null where it was never raised. */
  read(): Promise<number | null>;
  /** Resolves with the value that it has then. */
  raise(): Promise<number>;
}

/** A few bytes in the TPM's NV memory. TPM_UNREACHABLE, TPM_COMMAND_FAILED. */
export interface NvMemory {
  /** Null where nothing was ever written. */
  read(): Promise<Buffer | null>;
  write(content: Buffer): Promise<void>;
}

export interface WrappingKeyHandle {
  readonly evidence: WrappingKeyEvidence;
  /** UNSEAL_REFUSED when the TPM refuses the policy; SECRETS_INVALID when the ciphertext does not authenticate. */
  unwrap(wrapped: WrappedSecrets, context: Buffer): Promise<Buffer>;
  /** Forgets the key; no error the second time. */
  forget(): Promise<void>;
}

/** TPM2B_PUBLIC and TPM2B_PRIVATE of a sealed object, base64. Useless on any other TPM. */
export interface SealedBlob {
  readonly publicArea: string;
  readonly privateArea: string;
}

/** The vTPMs (swtpm) of one host. A vTPM's folder is named by its owner; keys are held by the caller. */
export interface VtpmManager {
  /** "0.7.1"; null where swtpm is not installed. */
  version(): Promise<string | null>;
  /** Manufactures a vTPM (EK, EK certificate) in `stateDir`, state encrypted under `stateKey` (32 bytes). Returns SHA-256 of its EK certificates. */
  manufacture(spec: { readonly stateDir: string; readonly stateKey: Buffer; readonly name: string }): Promise<{ readonly ekCertificateSha256: string }>;
  /** Starts swtpm for a hypervisor to connect to; idempotent while it runs. `stateKey` and `migrationKey`: 32 bytes each. */
  ensureRunning(spec: {
    readonly stateDir: string;
    readonly runDir: string;
    readonly stateKey: Buffer;
    readonly migrationKey: Buffer;
  }): Promise<{ readonly controlSocketPath: string }>;
  isRunning(runDir: string): Promise<boolean>;
  /** Ends the process; no error where there is none. The state stays. */
  ensureStopped(runDir: string): Promise<void>;
}

/** Evidence, and what it must be of: this role in this move, for a verifier who issued this nonce. */
export interface EvidenceSpec extends Pick<Binding, 'role' | 'migrationId' | 'orderDigest' | 'verifierNonce'> {
  readonly host: HostEntry;
  readonly hostClass: HostClass;
  readonly evidence: HostEvidence;
  readonly isNonceFresh: boolean;
}

/** A quote of a host's state, made for whatever `bindingDigest` is of. */
export interface StateSpec extends Pick<HostState, 'quote' | 'pcrValues' | 'eventLog'>, Pick<StateInput, 'host' | 'hostClass' | 'bindingDigest'> {}

/** A quote over a statement; `document` is what it is to be about. */
export interface StatementSpec extends Pick<StatementInput, 'host' | 'hostClass' | 'boot'> {
  readonly document: unknown;
  readonly quote: SignedAttestation;
}

/** Checks of evidence that need public keys only; no TPM is asked. Source: tpm/verify.ts, tpm/wrap.ts. */
export interface EvidenceVerifier {
  /** EVIDENCE_MALFORMED where the bytes are not exactly one TPMS_ATTEST. */
  parseQuote(signed: SignedAttestation, host: string): ParsedQuote;
  /** Null where this is a quote by `ak` over exactly these bytes; else what is wrong. */
  quoteProblem(spec: { readonly ak: AttestationKeyPublic; readonly signed: SignedAttestation; readonly qualifyingData: Buffer }): string | null;
  /** All rules of domain/appraisal.ts for a statement: none broken where it may be believed. EVIDENCE_MALFORMED. */
  appraiseStatement(spec: StatementSpec): readonly Failure[];
  /** A boot event log, base64, as far as it can be read. */
  readEventLog(eventLog: string | null): ShownLog;
  /** All rules of domain/appraisal.ts, over what these bytes say. EVIDENCE_MALFORMED. */
  appraise(spec: EvidenceSpec): AppraisalResult;
  /** The rules about a host's state alone, over a quote of which `bindingDigest` is to be the qualifying data. EVIDENCE_MALFORMED. */
  appraiseState(spec: StateSpec): ReturnType<typeof appraiseState>;
  /** Encrypts to a verified wrapping key; `context` must be given again to open it. */
  wrapSecrets(publicArea: string, secret: Buffer, context: Buffer): WrappedSecrets;
}
