/** Whether what a host is said to hold is what its AK signed, now and for whoever asked: only that is signed by. */
import { randomBytes } from 'node:crypto';
import { digestOf } from '../../domain/canonical.js';
import { describeIssues } from '../../domain/documents.js';
import { refuse } from '../../domain/failures.js';
import type { VmId } from '../../domain/ids.js';
import { QuotedSurvey, type ShownLedger, type ShownSurvey, type ShownVm, type SurveyQuestionTo, surveyStatementOf } from '../../domain/survey.js';
import { type TrustBundle, classOf, hostIn } from '../../domain/trust-bundle.js';
import { tryState } from './state.js';

declare const proven: unique symbol;

/** Only `proveVm` and `proveLedger` make one. */
export type Proven<T> = T & { readonly [proven]: true };

/** With a new nonce; `vmId`: null for the ledger. HOST_UNKNOWN, HOST_NOT_ACTIVE. */
export function surveyQuestionOf(bundle: TrustBundle, hostId: string, vmId: VmId | null): SurveyQuestionTo {
  const host = hostIn(bundle, hostId);
  if (host.status !== 'active') throw refuse('HOST_NOT_ACTIVE', { host: hostId, status: host.status });
  return { hostId: host.hostId, nonce: randomBytes(32).toString('hex'), pcrs: classOf(bundle, host).pcrs, vmId };
}

/** SURVEY_UNPROVEN. */
export function proveVm(bundle: TrustBundle, question: SurveyQuestionTo, reply: unknown): Proven<ShownVm> {
  const { vm } = prove(bundle, question, reply);
  if (!vm || vm.record.vmId !== question.vmId || vm.record.hostId !== question.hostId) throw refuse('SURVEY_UNPROVEN', { host: question.hostId, problem: 'it is of another VM' });
  return vm as Proven<ShownVm>;
}

/** SURVEY_UNPROVEN. */
export function proveLedger(bundle: TrustBundle, question: SurveyQuestionTo, reply: unknown): Proven<ShownLedger> {
  const { ledger } = prove(bundle, question, reply);
  if (!ledger) throw refuse('SURVEY_UNPROVEN', { host: question.hostId, problem: 'it has no ledger' });
  return ledger as Proven<ShownLedger>;
}

/** By the host's AK, for this nonce, in a state that the bundle has as a reference. */
function prove(bundle: TrustBundle, { hostId, nonce }: SurveyQuestionTo, reply: unknown): ShownSurvey {
  const parsed = QuotedSurvey.safeParse(reply);
  if (!parsed.success) throw refuse('SURVEY_UNPROVEN', { host: hostId, problem: describeIssues(parsed.error) });
  const { survey, quote, pcrValues } = parsed.data;
  if (survey.hostId !== hostId) throw refuse('SURVEY_UNPROVEN', { host: hostId, problem: `it is of ${survey.hostId}` });
  const { failures } = tryState(bundle, hostId, { quote, pcrValues, eventLog: null }, digestOf(surveyStatementOf(survey, nonce)));
  if (failures.length > 0) throw refuse('SURVEY_UNPROVEN', { host: hostId, problem: failures.map(({ code, message }) => `${code}: ${message}`).join('; ') });
  return survey;
}
