/** How a host is and what it holds, for whoever asks: quotes over statements that open nothing. Reads only; asks for nobody's word. */
import type { HostState, StateStatement } from '../domain/attestation.js';
import { canonicalJson, digestOf } from '../domain/canonical.js';
import { refuse } from '../domain/failures.js';
import type { VmId } from '../domain/ids.js';
import { type QuotedSurvey, type ShownLedger, type ShownSurvey, type ShownVm, surveyStatementOf } from '../domain/survey.js';
import { shownEventLog } from './event-log.js';
import type { HostInput } from './inputs.js';
import type { HostServices } from './services.js';

/** Below what Temporal carries in one payload (2 MiB). */
const LEDGER_MAX_CHARACTERS = 1024 * 1024;

export function createStateActivities(services: HostServices) {
  const { hostId, tpm, ownership, vms } = services;

  async function quoteOver(statement: object, pcrs: readonly number[]) {
    await tpm.ensureAttestationKey();
    const { pcrValues, ...quote } = await tpm.quote(pcrs, Buffer.from(digestOf(statement), 'hex'));
    return { quote, pcrValues };
  }

  async function showState({ nonce, pcrs }: HostInput<'showState'>): Promise<HostState> {
    const statement: StateStatement = { protocol: 'korora/1', purpose: 'state', hostId, nonce };
    return { statement, ...(await quoteOver(statement, pcrs)), eventLog: await shownEventLog(services) };
  }

  /** What somebody is about to sign by. RECORD_UNREADABLE, LEDGER_TOO_LARGE. */
  async function showSurvey({ nonce, pcrs, vmId }: HostInput<'showSurvey'>): Promise<QuotedSurvey> {
    const survey: ShownSurvey = { hostId, vm: vmId && (await shownVm(vmId)), ledger: vmId === null ? await shownLedger() : null };
    return { survey, ...(await quoteOver(surveyStatementOf(survey, nonce), pcrs)) };
  }

  async function shownVm(vmId: VmId): Promise<ShownVm> {
    const [inspected, installed] = await Promise.all([ownership.inspect(vmId), vms.read(vmId)]);
    return { ...inspected, vm: installed?.vm ?? null };
  }

  async function shownLedger(): Promise<ShownLedger> {
    const ledger = await ownership.showLedger();
    const { length } = canonicalJson(ledger);
    if (length > LEDGER_MAX_CHARACTERS) throw refuse('LEDGER_TOO_LARGE', { host: hostId, characters: length });
    return ledger;
  }

  return { showState, showSurvey };
}
