/** What is refused of what a host is said to show, and why: whoever is about to sign reads it. The AK is in software, and each survey under it genuine. */
import { describe, expect, it } from 'vitest';
import { proveLedger, proveVm, surveyQuestionOf } from '../../client/verify/survey.js';
import { DESTINATION, SOURCE, VM, digest, hostEntryOf, trustBundleOf } from '../support/documents.js';
import { AKS, HOSTS, ledgerOn, quoted, recordOn, shownVmOn } from '../support/hostile-temporal.js';
import { makeSoftwareKey } from '../../infra/testbed/software-ak.js';

const bundle = () => trustBundleOf({ hosts: HOSTS });
const ofVm = () => surveyQuestionOf(bundle(), SOURCE, VM);
const unproven = (problem: string) => `SURVEY_UNPROVEN: what host-a is said to hold is not shown by its TPM: ${problem}`;

it.each(['suspended', 'revoked'])('a host that the bundle has as %s is asked nothing', (status) => {
  expect(() => surveyQuestionOf(trustBundleOf({ hosts: [hostEntryOf({ status })] }), SOURCE, VM)).toThrow(`HOST_NOT_ACTIVE: host host-a has status ${status} in the trust bundle`);
});

describe('what a host shows of a VM', () => {
  it('is taken where it is of that VM on that host', () => {
    const question = ofVm();
    expect(proveVm(bundle(), question, quoted({ hostId: SOURCE, vm: shownVmOn(SOURCE), ledger: null }, question))).toEqual(shownVmOn(SOURCE));
  });

  it.each<[string, Parameters<typeof quoted>[0]['vm']]>([
    ['it shows none', null],
    ['its record is of another VM', { record: recordOn(SOURCE, { vmId: 'web-2' }), problem: null, vm: null }],
    ['its record is of another host', { record: recordOn(DESTINATION, {}), problem: null, vm: null }],
  ])('is refused where %s', (_, vm) => {
    const question = ofVm();
    expect(() => proveVm(bundle(), question, quoted({ hostId: SOURCE, vm, ledger: ledgerOn(SOURCE) }, question))).toThrow(expect.objectContaining({ message: unproven('it is of another VM') }));
  });
});

it.each([proveVm, proveLedger])('what is no survey is refused with what is wrong with it', (prove) => {
  const question = ofVm();
  const { quote, pcrValues } = quoted({ hostId: SOURCE, vm: null, ledger: null }, question);
  expect(() => prove(bundle(), question, { quote, pcrValues })).toThrow(expect.objectContaining({ message: unproven('survey: Invalid input: expected object, received undefined') }));
});

it('a survey by another key than the AK of its host, in another state than its reference, is refused with all that is wrong with it', () => {
  const question = ofVm();
  const thief = makeSoftwareKey();
  const pcrValues = { '0': digest(0x10), '4': digest(0x14), '7': digest(0x99) };
  const survey = quoted({ hostId: SOURCE, vm: shownVmOn(SOURCE), ledger: null }, question, { by: { ...thief, name: AKS[SOURCE]?.name ?? '' }, pcrValues });
  const problem = `QUOTE_SIGNATURE_INVALID: the quote of host-a is not signed by its enrolled AK; PCR_NOT_REFERENCE: PCR 7 of host-a is ${digest(0x99)}; set kernel-6.1 allows ${digest(0x17)}; the host showed no event log`;
  expect(() => proveVm(bundle(), question, survey)).toThrow(expect.objectContaining({ message: unproven(problem) }));
});
