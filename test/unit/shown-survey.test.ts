/**
 * activities/state.ts, by what client/verify/survey.ts makes of it: what a host shows to be signed by is proven as it is, and questions and
 * ledgers that are none are refused. The AK is in software here; every end-to-end test that orders a move does the same with a TPM.
 */
import { describe, expect, it } from 'vitest';
import { HOST_INPUTS } from '../../activities/inputs.js';
import { createStateActivities } from '../../activities/state.js';
import type { HostServices } from '../../activities/services.js';
import { proveLedger, proveVm, surveyQuestionOf } from '../../client/verify/survey.js';
import type { SurveyQuestionTo } from '../../domain/survey.js';
import { VmId } from '../../domain/ids.js';
import { pcrDigestOf } from '../../tpm/marshal.js';
import { DESTINATION, SOURCE, VM, digest, installedVmOf, trustBundleOf, vmDocument } from '../support/documents.js';
import { AKS, HOSTS, ledgerOn, recordOn } from '../support/hostile-temporal.js';
import { refusalOf } from '../support/refusal.js';
import { quoteBy } from '../../infra/testbed/software-ak.js';

const bundle = trustBundleOf({ hosts: HOSTS });
/** As the workflow puts it to the host, and as it travels. */
async function answer({ hostId, ...question }: SurveyQuestionTo, showSurvey = host()): Promise<unknown> {
  expect(hostId).toBe(SOURCE);
  return JSON.parse(JSON.stringify(await showSurvey(question)));
}

const values = { '0': digest(0x10), '4': digest(0x14), '7': digest(0x17) };

function host(ledger = ledgerOn(SOURCE)) {
  const ak = AKS[SOURCE];
  if (!ak) throw new Error('no AK');
  const tpm = {
    ensureAttestationKey: () => Promise.resolve(ak),
    quote: (pcrs: readonly number[], extraData: Buffer) => Promise.resolve({ ...ak.sign(quoteBy(ak, { extraData, pcrs, pcrDigest: Buffer.from(pcrDigestOf(pcrs, values), 'hex') })), pcrValues: values }),
  };
  const ownership = { inspect: (vmId: VmId) => Promise.resolve({ record: recordOn(SOURCE, { vmId }), problem: null }), showLedger: () => Promise.resolve(ledger) };
  const vms = { read: (vmId: VmId) => Promise.resolve(vmId === VM ? installedVmOf() : null) };
  const { showSurvey } = createStateActivities({ hostId: SOURCE, tpm, ownership, vms } as unknown as HostServices);
  return showSurvey;
}

describe('what a host shows', () => {
  it('of a VM is its record and its document', async () => {
    const question = surveyQuestionOf(bundle, SOURCE, VM);
    expect(proveVm(bundle, question, await answer(question))).toEqual({ record: recordOn(SOURCE, {}), problem: null, vm: vmDocument() });
  });

  it('of a VM that is not installed is its record alone', async () => {
    const question = surveyQuestionOf(bundle, SOURCE, VmId.parse('web-2'));
    expect(proveVm(bundle, question, await answer(question))).toEqual({ record: recordOn(SOURCE, { vmId: 'web-2' }), problem: null, vm: null });
  });

  it('of its ledger is all of it, with every record', async () => {
    const question = surveyQuestionOf(bundle, SOURCE, null);
    expect(proveLedger(bundle, question, await answer(question))).toEqual(ledgerOn(SOURCE));
  });

  it('answers one question and no other', async () => {
    const [one, another] = [surveyQuestionOf(bundle, SOURCE, VM), surveyQuestionOf(bundle, SOURCE, VM)];
    const reply = await answer(one);
    expect(() => proveVm(bundle, another, reply)).toThrow('QUALIFYING_DATA_MISMATCH');
    expect(() => proveLedger(bundle, one, reply)).toThrow('it has no ledger');
    expect(() => proveVm(bundle, { ...one, hostId: DESTINATION }, reply)).toThrow('it is of host-a');
  });
});

it('a ledger that is too large for one answer is not shown', async () => {
  const records = Array.from({ length: 12_000 }, (_, i) => recordOn(SOURCE, { vmId: `vm-${i}` }));
  expect(await refusalOf(answer(surveyQuestionOf(bundle, SOURCE, null), host({ ...ledgerOn(SOURCE), records })))).toMatch(/LEDGER_TOO_LARGE.*\d{7} characters/);
});

it.each<[string, object]>([
  ['without a nonce', { pcrs: [0], vmId: null }],
  ['with a nonce that is none', { nonce: 'ab', pcrs: [0], vmId: null }],
  ['about nothing', { nonce: digest(1), pcrs: [0] }],
  ['about what is no VM', { nonce: digest(1), pcrs: [0], vmId: '../host-b' }],
  ['for no PCR', { nonce: digest(1), pcrs: [], vmId: null }],
  ['with more than that', { nonce: digest(1), pcrs: [0], vmId: null, withKeys: true }],
])('a question %s is none that the edge lets through', (_, question) => {
  expect(HOST_INPUTS.showSurvey.safeParse(question).success).toBe(false);
});
