/** domain/preflight.ts, qcow2.ts, resources.ts, survey.ts and status.ts: single rules, each with its neighbour for which it does not hold. */
import { describe, expect, it } from 'vitest';
import { failure } from '../../domain/failures.js';
import { type DestinationFacts, type SourceFacts, isAtLeast, networkRules, planMove } from '../../domain/preflight.js';
import { readQcow2Header } from '../../domain/qcow2.js';
import { reservedPlace } from '../../domain/resources.js';
import { detailsOf } from '../../domain/status.js';
import { surveyStatementOf } from '../../domain/survey.js';
import { DESTINATION, SOURCE, VM, orderOf, vmDocument } from '../support/documents.js';
import { qcow2Header } from '../support/qcow2-images.js';
import { textsOf } from '../support/refusal.js';

const order = () => orderOf();
const vm = () => vmDocument({ disks: [], networks: [] });
const COMMON = { failures: [], hypervisor: { kind: 'qemu', version: '7.2', accelerator: 'kvm', machineTypes: ['pc-q35-7.2'], cpuModels: ['Westmere'] }, swtpmVersion: '0.7.1', strangers: [], disks: [], networks: [] };
const source = (changes: Partial<SourceFacts> = {}): SourceFacts => ({
  ...COMMON, hostId: SOURCE, ownership: { state: 'owner', epoch: 1 }, vmStatus: 'running', vmDigest: order().vmDigest, ...changes,
});
const destination = (changes: Partial<DestinationFacts> = {}): DestinationFacts => ({ ...COMMON, hostId: DESTINATION, availableMemoryBytes: 2 ** 40, missingBootFiles: [], leftovers: [], ...changes });
const told = (ofSource: Partial<SourceFacts>, ofDestination: Partial<DestinationFacts> = {}) => textsOf(planMove(order(), vm(), source(ofSource), destination(ofDestination)));

describe('preflight', () => {
  it('names what runs as the VM on either host', () => {
    const { message } = failure('STRANGER_FOUND', { host: SOURCE, vm: VM, what: 'process 7' });
    expect(told({ strangers: ['process 7'] }, { strangers: ['process 8', 'process 9'] })).toEqual([
      `STRANGER_FOUND: ${message}`,
      ...[8, 9].map((id) => `STRANGER_FOUND: ${message.replace(SOURCE, DESTINATION).replace('process 7', `process ${id}`)}`),
    ]);
  });

  it('says which epoch the order is for, and which the host has', () => {
    expect(told({ ownership: { state: 'owner', epoch: 2 } })).toEqual([`ORDER_STALE: ${failure('ORDER_STALE', { vm: VM, ordered: 1, host: SOURCE, actual: 2 }).message}`]);
  });

  it('asks nothing of the accelerator of a host whose hypervisor does not answer', () => {
    const broken = failure('HOST_COMMAND_FAILED', { command: 'qemu', host: SOURCE, problem: 'not found' });
    const codes = told({ hypervisor: null, failures: [broken] }).map((line) => line.slice(0, line.indexOf(':')));
    expect(codes).toContain('HOST_COMMAND_FAILED');
    expect(codes).not.toContain('ACCELERATOR_DIFFERS');
  });

  it('looks for each network by its own name', () => {
    const document = vmDocument({ networks: [{ id: 'lan', mac: '52:54:00:00:00:01', bridge: 'br0' }, { id: 'wan', mac: '52:54:00:00:00:03', bridge: 'br1' }] });
    const unseen = networkRules(document, SOURCE, [{ id: 'lan', isVisible: true }, { id: 'wan', isVisible: false }]);
    expect(unseen).toEqual([failure('NETWORK_NOT_VISIBLE', { host: SOURCE, network: 'wan', bridge: 'br1' })]);
  });

  it.each([['7.2.1', '7.2', true], ['7.3', '7.2', true], ['7.1', '7.2', false], ['7.2', '7.2', true]])('takes %s for at least %s: %s', (version, minimum, expected) => {
    expect(isAtLeast(version, minimum)).toBe(expected);
  });
});

describe('the header of a qcow2 image', () => {
  it('of version 2 has no data file, whatever stands where version 3 has its features', () => {
    const header = qcow2Header({ version: 2 });
    header.writeBigUInt64BE(4n, 72);
    expect(readQcow2Header(header)).toEqual({ isReadable: true, others: [] });
  });
});

describe('a place', () => {
  it('is reserved below /dev but for a block device', () => {
    expect([reservedPlace('/dev/vg/a', false, []), reservedPlace('/dev/vg/a', true, []), reservedPlace('/srv/a', false, ['/srv/a/b'])]).toEqual(['/dev', null, null]);
  });
});

describe('what is told of a move', () => {
  it('has each failure in a line of its own', () => {
    const failures = [failure('VM_UNKNOWN', { vm: VM }), failure('VM_WITHOUT_VTPM', { vm: VM })];
    const details = detailsOf({ phase: 'refused', vmId: VM, source: SOURCE, destination: DESTINATION, failures, nextAction: 'wait' } as Parameters<typeof detailsOf>[0]);
    expect(details.split('\n').filter((line) => line.startsWith('- `'))).toHaveLength(2);
  });

  it('of a survey says which protocol and purpose it is of', () => {
    const survey = { hostId: SOURCE, vm: null, ledger: null } as unknown as Parameters<typeof surveyStatementOf>[0];
    expect(surveyStatementOf(survey, 'n')).toMatchObject({ protocol: 'korora/1', purpose: 'survey', hostId: SOURCE, nonce: 'n' });
  });
});
