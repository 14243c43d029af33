/**
 * What a host shows to whoever is about to sign by it: its record and document of one VM, or its ledger with all its records. It comes
 * under the host's AK, or it is not shown: what hosts are asked for looking alone (status.ts) is nobody's word.
 */
import { z } from 'zod';
import { PcrValues, SignedAttestation, StateQuestion } from './attestation.js';
import { digestOf } from './canonical.js';
import { HostId, type Sha256Hex, VmId, recordOf } from './ids.js';
import { OwnershipRecord } from './ownership.js';
import { VmDocument } from './vm.js';

const Count = z.int().min(0);

/** At one moment; host/ledger.ts says what its members are. */
export const ShownLedger = z.strictObject({
  counter: Count,
  generations: recordOf(VmId, Count),
  doubt: z.string().nullable(),
  /** As they stand on the host's disk, whether or not they are the last ones. */
  records: z.array(OwnershipRecord),
  /** VMs whose records cannot be read. */
  unreadable: z.array(VmId),
});
export type ShownLedger = Readonly<z.infer<typeof ShownLedger>>;

/** What a reinstatement names. */
export function ledgerDigestOf(hostId: HostId, { counter, generations, doubt, records, unreadable }: ShownLedger): Sha256Hex {
  return digestOf({ hostId, counter, generations, doubt, records, unreadable });
}

export const ShownVm = z.strictObject({
  record: OwnershipRecord,
  /** Why the record may not be the last one of its host; null where it is. */
  problem: z.string().nullable(),
  /** Null where none is installed. */
  vm: VmDocument.nullable(),
});
export type ShownVm = Readonly<z.infer<typeof ShownVm>>;

export const ShownSurvey = z.strictObject({ hostId: HostId, vm: ShownVm.nullable(), ledger: ShownLedger.nullable() });
export type ShownSurvey = Readonly<z.infer<typeof ShownSurvey>>;

/** `vmId`: of the VM that is to be shown; null for the ledger. */
export const SurveyQuestion = StateQuestion.extend({ vmId: VmId.nullable() });
export type SurveyQuestion = Readonly<z.infer<typeof SurveyQuestion>>;

/** As it is put to one host. */
export interface SurveyQuestionTo extends SurveyQuestion {
  readonly hostId: HostId;
}

/** What the host quotes over. Its purpose tells it from all other statements of the AK. */
export interface SurveyStatement {
  readonly protocol: 'korora/1';
  readonly purpose: 'survey';
  readonly hostId: HostId;
  readonly nonce: string;
  readonly surveyDigest: Sha256Hex;
}

export function surveyStatementOf(survey: ShownSurvey, nonce: string): SurveyStatement {
  return { protocol: 'korora/1', purpose: 'survey', hostId: survey.hostId, nonce, surveyDigest: digestOf(survey) };
}

/** A survey, and a quote over its SurveyStatement, with the PCR values that it digests. */
export const QuotedSurvey = z.strictObject({ survey: ShownSurvey, quote: SignedAttestation, pcrValues: PcrValues });
export type QuotedSurvey = Readonly<z.infer<typeof QuotedSurvey>>;
