/**
 * The event log in evidence, through the activities by which a host quotes itself and appraises its peer: shown where the values need explaining and
 * only there, told in the refusal, and never a reason to accept or to refuse.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { createAttestation } from '../../activities/attest.js';
import type { HostServices } from '../../activities/services.js';
import { createSessions } from '../../activities/session.js';
import { createVmActivities } from '../../activities/vm.js';
import { createChannels } from '../../channel/relay.js';
import { verifyEvidence } from '../../client/verify/index.js';
import type { HostEvidence, PcrValues, SessionOffer } from '../../domain/attestation.js';
import { eventsBehind, replay } from '../../domain/boot-events.js';
import { digestOf } from '../../domain/canonical.js';
import { type Envelope, signEnvelope } from '../../domain/envelope.js';
import { KororaError, refuse } from '../../domain/failures.js';
import { noRecord } from '../../domain/ownership.js';
import type { OwnershipStore } from '../../host/ownership-store.js';
import { createEvidenceVerifier } from '../../tpm/evidence-verifier.js';
import { parseEventLog } from '../../tpm/event-log.js';
import { pcrDigestOf } from '../../tpm/marshal.js';
import { ADA, DESTINATION, POLICY_SIGNER, SOURCE, VM, hostClassOf, hostEntryOf, orderOf, samples, trustBundleOf } from '../support/documents.js';
import { bootOf, eventLog } from '../support/event-log.js';
import { certifiedBy, makeSoftwareKey, quoteBy, wrappingKeyUnder } from '../../infra/testbed/software-ak.js';
import { textsOf } from '../support/refusal.js';

const PCRS = [0, 4, 7];
const rightLog = eventLog(bootOf('\\EFI\\shim.efi'));
const otherLog = eventLog(bootOf('\\EFI\\shim.efi', '\\EFI\\evil.efi'));
const valuesOf = (log: Buffer): PcrValues => Object.fromEntries(PCRS.map((pcr) => [pcr, replay(parseEventLog(log), pcr)]));
const [RIGHT, OTHER] = [valuesOf(rightLog), valuesOf(otherLog)];
const NEW = /^PCR_NOT_REFERENCE: PCR 4 of host-b is \w{64}; set right allows \w{64}; event 4 of PCR 4 is new: EV_EFI_BOOT_SERVICES_APPLICATION, image \\EFI\\evil\.efi \(by the log’s word; SHA-256 \w{16}…\)$/;
const WRAPPING = expect.stringMatching(/^WRAPPING_KEY_INVALID/) as string;

const ak = makeSoftwareKey();
const attestationKey = { publicArea: ak.publicArea, name: ak.name };
const hostClass = hostClassOf({ referenceSets: [{ id: 'right', status: 'active', pcrValues: RIGHT, events: eventsBehind(parseEventLog(rightLog), RIGHT) }] });
const bundle = trustBundleOf({ hosts: [hostEntryOf({ hostId: SOURCE }), hostEntryOf({ hostId: DESTINATION, attestationKey, identity: { proof: 'none' } })], classes: { rack: hostClass } });
const order = orderOf({ bundleDigest: digestOf(bundle) });

let signed: Envelope;
let readings: number;
/** What is settled, and how, is another test's. */
const NO_SETTLEMENT = { settleHere: () => Promise.resolve() };
const common = { clock: { now: () => Date.now() }, ownership: { read: () => Promise.resolve({ ...noRecord(VM, SOURCE), state: 'owner', epoch: 1 }) } as Partial<OwnershipStore> as OwnershipStore, verifier: createEvidenceVerifier(), channels: createChannels(), installedBundle: () => Promise.resolve({ bundle, digest: digestOf(bundle) }) };

/** host-b with these values in its TPM, and this log, or a log that cannot be read. */
function partsOfB(values: PcrValues, log: Buffer | null | 'unreadable'): HostServices {
  const tpm = {
    quote: (pcrs: readonly number[], extraData: Buffer) => Promise.resolve({ ...ak.sign(quoteBy(ak, { extraData, pcrs, pcrDigest: Buffer.from(pcrDigestOf(pcrs, values), 'hex') })), pcrValues: values }),
    createWrappingKey: () => Promise.resolve({ evidence: certifiedBy(ak, wrappingKeyUnder(PCRS, values)) }),
    readPcrs: () => Promise.resolve(values),
  };
  const read = () => {
    readings += 1;
    return log === 'unreadable' ? Promise.reject(refuse('HOST_COMMAND_FAILED', { command: 'read', host: DESTINATION, problem: 'permission denied' })) : Promise.resolve(log);
  };
  return { ...common, hostId: DESTINATION, sessions: createSessions('this host'), tpm, eventLog: read } as Partial<Record<keyof HostServices, unknown>> as unknown as HostServices;
}

/** What host-a makes of it: all failures, as told, or none. */
async function judged(change: (evidence: HostEvidence) => HostEvidence, ...parts: Parameters<typeof partsOfB>): Promise<readonly string[]> {
  const { judge, evidence } = await shown(...parts);
  return judge(change(evidence));
}

async function shown(...parts: Parameters<typeof partsOfB>) {
  const source = createAttestation({ ...common, hostId: SOURCE, sessions: createSessions('this host') } as Partial<HostServices> as HostServices, NO_SETTLEMENT, { gatherAhead: () => undefined });
  const destination = createAttestation(partsOfB(...parts), NO_SETTLEMENT, { gatherAhead: () => undefined });
  const peer: SessionOffer = await source.openSession({ order: signed, role: 'source' });
  await destination.openSession({ order: signed, role: 'destination' });
  const evidence = await destination.quoteHost({ order: signed, role: 'destination', peer });
  const judge = (given: HostEvidence): Promise<readonly string[]> =>
    source.appraisePeer({ order: signed, role: 'source', evidence: given }).then(() => [], (error: unknown) => {
      if (!(error instanceof KororaError)) throw error;
      return textsOf(error.failures);
    });
  return { evidence, judge };
}

beforeEach(async () => {
  readings = 0;
  signed = await signEnvelope(order, ADA);
});
const asIs = (evidence: HostEvidence) => evidence;
const showing = (log: Buffer | null) => (evidence: HostEvidence): HostEvidence => ({ ...evidence, eventLog: log && log.toString('base64') });

describe('a host whose values are right', () => {
  it('shows no log, and reads none', async () => {
    expect((await shown(RIGHT, rightLog)).evidence.eventLog).toBeNull();
    expect(readings).toBe(0);
  });

  it.each<[string, Buffer]>([['of another boot', otherLog], ['that cannot be read', Buffer.from('no log')], ['that is its own', rightLog]])('is accepted though somebody put a log into its evidence, one %s', async (_, log) => {
    expect(await judged(showing(log), RIGHT, null)).toEqual([]);
  });
});

describe('a host whose values differ', () => {
  it('shows its log, which names what is new', async () => {
    expect((await shown(OTHER, otherLog)).evidence.eventLog).toBe(otherLog.toString('base64'));
    expect(await judged(asIs, OTHER, otherLog)).toEqual([expect.stringMatching(NEW)]);
  });

  it.each<[string, Buffer | null | 'unreadable']>([['has none', null], ['may not be read', 'unreadable']])('is refused without an explanation where its log %s', async (_, log) => {
    expect(await judged(asIs, OTHER, log)).toEqual([expect.stringMatching(/; the host showed no event log$/)]);
  });

  it.each<[string, Buffer, RegExp]>([
    ['that of the right boot', rightLog, /; the host’s event log does not add up to its value$/],
    ['one that is cut', otherLog.subarray(0, -1), /; the host’s event log cannot be read: event at byte \d+: \d+ bytes wanted, \d+ left$/],
    ['one that lacks its last event', eventLog(bootOf('\\EFI\\shim.efi', '\\EFI\\evil.efi').slice(0, -1)), /; the host’s event log does not add up to its value$/],
    ['no log', Buffer.from('no log'), /; the host’s event log cannot be read: eventType at byte 4: 4 bytes wanted, 2 left$/],
    ['its own, and an event behind it that extends nothing', Buffer.concat([otherLog, eventLog([{ pcr: 4, type: 3, data: Buffer.from('all is well') }]).subarray(eventLog([]).length)]), NEW],
  ])('is refused whatever log is put in the place of its own: %s', async (_, log, text) => {
    expect(await judged(showing(log), OTHER, otherLog)).toEqual([expect.stringMatching(text)]);
  });

  it('is refused with a log that would explain the right values, if it claims these: its TPM signed others', async () => {
    const claimed = (evidence: HostEvidence): HostEvidence => ({ ...showing(rightLog)(evidence), pcrValues: RIGHT });
    expect(await judged(claimed, OTHER, otherLog)).toEqual([expect.stringMatching(/^PCR_DIGEST_MISMATCH/), WRAPPING]);
  });

  it('says the same of itself', async () => {
    const parts = { ...partsOfB(OTHER, otherLog), hypervisor: { facts: () => Promise.resolve(null) }, vtpms: { version: () => Promise.resolve(null) }, access: { availableMemoryBytes: () => Promise.resolve(0) },
      ownership: { list: () => Promise.resolve([]), doubt: () => Promise.resolve(null) }, findings: [] } as Partial<Record<keyof HostServices, unknown>> as unknown as HostServices;
    const survey = await createVmActivities(parts).surveyHost();
    expect(survey.reachable && [survey.pcrProblem, ...textsOf(survey.failures)]).toEqual(['no active reference set matches', expect.stringMatching(NEW)]);
    readings = 0;
    const right = await createVmActivities({ ...parts, ...partsOfB(RIGHT, otherLog), ownership: parts.ownership }).surveyHost();
    expect(right).toMatchObject({ pcrProblem: null, failures: [] });
    expect(readings).toBe(0);
  });
});

describe('in an evidence file', () => {
  const file = async (destination: HostEvidence) => ({
    ...samples.evidence, order: signed, attestation: { source: null, destination, referenceSets: { source: null, destination: null } }, outcome: { kind: 'refused', runsOn: SOURCE, failures: [] },
  });
  const verified = async (evidence: HostEvidence) => verifyEvidence(await file(evidence), await signEnvelope(bundle, POLICY_SIGNER), [POLICY_SIGNER.publicKey]);

  it('a log is said to be unproven, and the failure is explained by it', async () => {
    const { evidence } = await shown(OTHER, otherLog);
    const { problems, unproven } = await verified(evidence);
    expect(unproven).toContainEqual({ field: 'attestation.destination.eventLog', why: expect.stringContaining('nobody signed it') as string });
    expect(problems).toContainEqual({ field: 'attestation.destination', problem: expect.stringMatching(NEW) as string });
  });

  it('none is said where there is none, and one that was added changes no verdict', async () => {
    const { evidence } = await shown(RIGHT, rightLog);
    const [without, added] = [await verified(evidence), await verified(showing(otherLog)(evidence))];
    expect(without.unproven.map(({ field }) => field)).not.toContain('attestation.destination.eventLog');
    expect(added.unproven.map(({ field }) => field)).toContain('attestation.destination.eventLog');
    expect([added.proven, added.problems]).toEqual([without.proven, without.problems]);
    expect(added.proven.map(({ field }) => field)).toContain('attestation.destination');
  });
});
