/**
 * client/order.ts: where hosts say that the VM is; the order that follows from what its host showed of it, with its digests and
 * defaults; and what a client is told before anything is started.
 */
import { describe, expect, it } from 'vitest';
import { type OrderRequest, buildOrder, locateVm, placeOf } from '../../client/order.js';
import type { Proven } from '../../client/verify/survey.js';
import { digestOf } from '../../domain/canonical.js';
import { KororaError } from '../../domain/failures.js';
import { signEnvelope } from '../../domain/envelope.js';
import { HostId, VmId } from '../../domain/ids.js';
import { OwnershipRecord } from '../../domain/ownership.js';
import { DEFAULT_LIMITS } from '../../domain/progress.js';
import type { HostSurvey, VmSurvey } from '../../domain/status.js';
import type { ShownVm } from '../../domain/survey.js';
import { installBundle } from '../../domain/trust-bundle.js';
import { DESTINATION, POLICY_SIGNER, SOURCE, VM, migrationId, samples, vmDocument } from '../support/documents.js';

const bundle = installBundle(await signEnvelope(samples.trustBundle, POLICY_SIGNER), 'this client', 'any signer');
const shown = { record: OwnershipRecord.parse({ version: 3, vmId: VM, hostId: SOURCE, generation: 1, settled: [], state: 'owner', epoch: 1 }), problem: null, vm: vmDocument() } as ShownVm as Proven<ShownVm>;
const build = (request: OrderRequest) => buildOrder(request, 'ada', bundle, shown);

function vmOn(hostId: HostId, changes: Partial<VmSurvey> = {}): VmSurvey {
  return { vmId: VM, hostId, ownership: 'owner', epoch: 1, status: 'running', mayRun: true, recordProblem: null, move: null, vm: samples.vm, consolePath: null, ...changes };
}

function host(hostId: HostId, ...vms: VmSurvey[]): HostSurvey {
  return { hostId, reachable: true, bundleDigest: bundle.digest, hypervisor: 'qemu 7.2.22 kvm', swtpm: '0.7.1', pcrValues: {}, pcrProblem: null, availableMemoryBytes: 0, vms, failures: [], findings: [] };
}

const silent = (hostId: HostId): HostSurvey => ({ hostId, reachable: false });
const surveys = [host(SOURCE, vmOn(SOURCE)), host(DESTINATION)];

function codesOf(action: () => unknown): string[] {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(KororaError);
    return (error as KororaError).failures.map((f) => f.code);
  }
  return [];
}

describe('an order', () => {
  it('names the VM as it is, from where it is, under the bundle of this client', () => {
    const before = Date.now();
    const { order, vm } = build({ vmId: 'web-1', destination: 'host-b', migrationId: migrationId(5) });
    const after = Date.now();
    expect(vm).toEqual(samples.vm);
    const { notAfter, ...rest } = order;
    expect(rest).toEqual({
      kind: 'korora/order', version: 2, migrationId: migrationId(5), vmId: 'web-1', vmDigest: digestOf(samples.vm), epoch: 1, source: 'host-a', destination: 'host-b', bundleDigest: bundle.digest, limits: DEFAULT_LIMITS, requiresApproval: false, by: 'ada',
    });
    expect(Date.parse(notAfter)).toBeGreaterThanOrEqual(before + 600_000);
    expect(Date.parse(notAfter)).toBeLessThanOrEqual(after + 600_000);
  });

  it('takes the limits that were asked for and leaves the others', () => {
    const { order } = build({ vmId: 'web-1', destination: 'host-b', limits: { downtimeLimitMs: 50 } });
    expect(order.limits).toEqual({ ...DEFAULT_LIMITS, downtimeLimitMs: 50 });
  });

  it('is good for as long as was asked', () => {
    const before = Date.now();
    const { order } = build({ vmId: 'web-1', destination: 'host-b', lifetimeMs: 5000 });
    expect(Date.parse(order.notAfter)).toBeGreaterThanOrEqual(before + 5000);
    expect(Date.parse(order.notAfter)).toBeLessThanOrEqual(Date.now() + 5000);
  });

  it('has another migration id every time', () => {
    const ids = [1, 2, 3].map(() => build({ vmId: 'web-1', destination: 'host-b' }).order.migrationId);
    expect(new Set(ids).size).toBe(3);
  });

  it.each<[string, Partial<OrderRequest>, readonly HostSurvey[], string[]]>([
    ['with a VM name that is none', { vmId: 'Web 1' }, surveys, ['ORDER_INVALID']],
    ['with a host name that is none', { destination: 'host/b' }, surveys, ['ORDER_INVALID']],
    ['to a host that the bundle does not have', { destination: 'host-c' }, surveys, ['HOST_UNKNOWN']],
    ['to where the VM is', { destination: 'host-a' }, surveys, ['SOURCE_IS_DESTINATION']],
    ['of a VM that no host knows', { vmId: 'web-2' }, surveys, ['VM_UNKNOWN']],
    ['of a VM that only a silent host may know', { vmId: 'web-2' }, [silent(SOURCE), host(DESTINATION), silent(HostId.parse('host-c'))], ['VM_UNKNOWN', 'HOST_UNREACHABLE', 'HOST_UNREACHABLE']],
    ['that is good for no time', { lifetimeMs: 0 }, surveys, ['ORDER_INVALID']],
  ])('%s is refused', (_, request, answers, expected) => {
    expect(codesOf(() => placeOf({ vmId: 'web-1', destination: 'host-b', ...request }, bundle, answers))).toEqual(expected);
  });

  it('of a VM whose host has no document of it is refused', () => {
    expect(codesOf(() => buildOrder({ vmId: 'web-1', destination: 'host-b' }, 'ada', bundle, { ...shown, vm: null }))).toEqual(['VM_UNKNOWN']);
  });

  it('with a limit out of range is refused, naming it', () => {
    expect(() => build({ vmId: 'web-1', destination: 'host-b', limits: { downtimeLimitMs: 0 } })).toThrow(/limits\.|downtimeLimitMs/);
  });
});

describe('locating a VM', () => {
  const left = vmOn(SOURCE, { ownership: 'retired', mayRun: false, vm: null, status: 'absent' });
  const runs = vmOn(DESTINATION, { epoch: 2 });

  it('finds the host where it may run, whatever other hosts keep of it', () => {
    expect(locateVm('web-1', [host(SOURCE, left), host(DESTINATION, runs)]).hostId).toBe('host-b');
    const kept = { ...left, vm: samples.vm };
    expect(locateVm('web-1', [host(SOURCE, kept), host(DESTINATION, runs)]).hostId).toBe('host-b');
  });

  it('finds the host that has its document where it may run nowhere', () => {
    const stopped = vmOn(DESTINATION, { ownership: 'relinquished', mayRun: false, status: 'paused' });
    expect(locateVm('web-1', [host(SOURCE, left), host(DESTINATION, stopped)]).hostId).toBe('host-b');
  });

  it('does not take a host for its place that only remembers it', () => {
    expect(codesOf(() => locateVm('web-1', [host(SOURCE, left), silent(DESTINATION)]))).toEqual(['VM_UNKNOWN', 'HOST_UNREACHABLE']);
  });

  it('does not mix up VMs', () => {
    const other = vmOn(DESTINATION, { vmId: VmId.parse('web-2'), vm: vmDocument({ vmId: 'web-2' }) });
    expect(locateVm('web-1', [host(DESTINATION, other), host(SOURCE, vmOn(SOURCE))]).hostId).toBe('host-a');
  });
});
