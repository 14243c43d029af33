/**
 * A Temporal that lies to a client, and the hosts that it can ask: their AKs are in software, what they quote is genuine, and what is
 * told in their name is as a test wants it.
 */
import type { Client } from '@temporalio/client';
import { digestOf } from '../../domain/canonical.js';
import type { Envelope } from '../../domain/envelope.js';
import type { HostId } from '../../domain/ids.js';
import { OwnershipRecord } from '../../domain/ownership.js';
import type { HostSurvey } from '../../domain/status.js';
import { type QuotedSurvey, type ShownLedger, type ShownSurvey, type ShownVm, type SurveyQuestionTo, surveyStatementOf } from '../../domain/survey.js';
import { pcrDigestOf } from '../../tpm/marshal.js';
import { DESTINATION, SOURCE, VM, digest, hostEntryOf, vmDocument } from './documents.js';
import { type SoftwareKey, makeSoftwareKey, quoteBy } from '../../infra/testbed/software-ak.js';

const VALUES = { '0': digest(0x10), '4': digest(0x14), '7': digest(0x17) };

export const AKS: Readonly<Record<string, SoftwareKey>> = { [SOURCE]: makeSoftwareKey(), [DESTINATION]: makeSoftwareKey() };
export const HOSTS = [SOURCE, DESTINATION].map((hostId) => hostEntryOf({ hostId, attestationKey: { publicArea: AKS[hostId]?.publicArea, name: AKS[hostId]?.name }, identity: { proof: 'none' } }));

export const recordOn = (hostId: HostId, changes: object): OwnershipRecord => OwnershipRecord.parse({ version: 3, vmId: VM, hostId, generation: 1, settled: [], state: 'owner', epoch: 1, ...changes });
export const shownVmOn = (hostId: HostId, changes: object = {}): ShownVm => ({ record: recordOn(hostId, changes), problem: null, vm: vmDocument() });
export const ledgerOn = (hostId: HostId, counter = 5): ShownLedger => ({ counter, generations: { [VM]: 1 }, doubt: 'the counter of the TPM is at 5, and their ledger is of 3', unreadable: [], records: [recordOn(hostId, {})] });

interface Quoting {
  readonly by?: SoftwareKey | undefined;
  readonly nonce?: string;
  readonly purpose?: string;
  readonly pcrValues?: Readonly<Record<string, string>>;
}

/** What a host shows, under its AK. */
export function quoted(survey: ShownSurvey, question: SurveyQuestionTo, { by = AKS[survey.hostId], nonce = question.nonce, purpose = 'survey', pcrValues = VALUES }: Quoting = {}): QuotedSurvey {
  if (!by) throw new Error(`${survey.hostId} has no AK`);
  const pcrs = Object.keys(pcrValues).map(Number);
  const extraData = Buffer.from(digestOf({ ...surveyStatementOf(survey, nonce), purpose }), 'hex');
  return { survey, quote: by.sign(quoteBy(by, { extraData, pcrs, pcrDigest: Buffer.from(pcrDigestOf(pcrs, pcrValues), 'hex') })), pcrValues };
}

export interface Told {
  /** To the query `status`. */
  readonly status?: object;
  /** Whether a workflow moves the VM. */
  readonly isMoving?: boolean;
  readonly surveys?: readonly HostSurvey[];
  readonly survey?: (question: SurveyQuestionTo) => unknown;
}

export interface Heard {
  readonly what: string;
  readonly argument: unknown;
}

/** Answers what it was told to, and keeps what is said to it. */
export function hostileTemporal({ status = {}, isMoving = true, surveys = [], survey = () => null }: Told): { readonly client: Client; readonly heard: readonly Heard[] } {
  const heard: Heard[] = [];
  const hears = (what: string, [argument]: readonly unknown[], answer: unknown) => {
    heard.push({ what, argument });
    return Promise.resolve(answer);
  };
  const workflow = {
    getHandle: () => ({
      describe: () => Promise.resolve({ status: { name: isMoving ? 'RUNNING' : 'COMPLETED' } }),
      query: () => Promise.resolve(status),
      executeUpdate: (name: string, { args }: { readonly args: readonly unknown[] }) => hears(name, args, null),
    }),
    start: (name: string, { args }: { readonly args: readonly unknown[] }) => hears(name, args, { workflowId: 'a move', firstExecutionRunId: 'a run' }),
    execute: (name: string, { args }: { readonly args: readonly unknown[] }) => {
      if (name === 'surveyHosts') return Promise.resolve(surveys);
      if (name === 'showSurvey') return Promise.resolve(survey(args[0] as SurveyQuestionTo));
      return hears(name, args, name === 'reinstateHost' ? [] : {});
    },
  };
  return { client: { workflow } as unknown as Client, heard };
}

/** As the envelopes are found in what was said. */
export function envelopesIn(value: unknown): readonly Envelope[] {
  if (typeof value !== 'object' || value === null) return [];
  return 'payloadType' in value ? [value as Envelope] : Object.values(value).flatMap(envelopesIn);
}
