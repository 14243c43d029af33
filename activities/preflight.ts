/** Phase admit: each host says what it sees. Reads only; domain/preflight.ts compares. */
import { digestOf } from '../domain/canonical.js';
import { type Failure, KororaError, failure, refuse } from '../domain/failures.js';
import type { Role } from '../domain/ids.js';
import type { DestinationFacts, HypervisorSummary, SourceFacts } from '../domain/preflight.js';
import type { Order } from '../domain/order.js';
import type { VmDocument } from '../domain/vm.js';
import { admissionFailures, openHere } from './admission.js';
import { diskFacts } from './disks.js';
import type { HostInput } from './inputs.js';
import { networkFacts } from './networks.js';
import { resourceFailures } from './resources.js';
import type { HostServices } from './services.js';
import { timeAt } from './time.js';

export function createPreflight(services: HostServices) {
  const { hostId, access, hypervisor, ownership, vms, vtpms } = services;

  async function inspectSource(request: HostInput<'inspectSource'>): Promise<SourceFacts> {
    const { order, vm } = await openRequest(request);
    const [record, installed, common] = await Promise.all([ownership.read(vm.vmId), vms.read(vm.vmId), commonFacts(order, vm, 'source')]);
    return {
      ...common,
      ownership: { state: record.state, epoch: record.epoch },
      vmDigest: installed && digestOf(installed.vm),
      vmStatus: await hypervisor.status(vm.vmId, vms.runDirOf(vm.vmId)),
    };
  }

  async function inspectDestination(request: HostInput<'inspectDestination'>): Promise<DestinationFacts> {
    const { order, vm } = await openRequest(request);
    const [common, availableMemoryBytes, missingBootFiles, found] = await Promise.all([
      commonFacts(order, vm, 'destination'),
      access.availableMemoryBytes(),
      missing([vm.boot.kernel, vm.boot.initrd]),
      findOfTheVm(vm),
    ]);
    return { ...common, failures: [...common.failures, ...found.failures], availableMemoryBytes, missingBootFiles, leftovers: found.leftovers };
  }

  /** Nothing is looked at for an order that no operator signed, or for another VM than it names. */
  async function openRequest({ order: envelope, vm }: HostInput<'inspectSource'>): Promise<{ order: Order; vm: VmDocument }> {
    const { document: order } = await openHere(services, 'korora/order', envelope, null);
    if (order.vmDigest !== digestOf(vm) || order.vmId !== vm.vmId) throw refuse('VM_DIFFERS', { host: hostId });
    return { order, vm };
  }

  async function commonFacts(order: Order, vm: VmDocument, role: Role) {
    const [failures, facts, swtpmVersion, strangers, disks, networks] = await Promise.all([
      ownFailures(order, role, vm),
      hypervisorFacts(),
      vtpms.version(),
      hypervisor.strangers(vm),
      diskFacts(access, vm),
      networkFacts(access, vm),
    ]);
    return { hostId, failures, hypervisor: facts, swtpmVersion, strangers, disks, networks };
  }

  /** Order, bundle and TPM, each as reasons rather than an error, so that all are listed. */
  async function ownFailures(order: Order, role: Role, vm: VmDocument): Promise<Failure[]> {
    const reasons = async (ask: () => Promise<Failure[]>) => {
      try {
        return await ask();
      } catch (error) {
        if (error instanceof KororaError) return [...error.failures];
        throw error;
      }
    };
    const [admission, tpm] = await Promise.all([
      reasons(async () => {
        const failures = admissionFailures(hostId, order, await services.installedBundle(), role, timeAt(services));
        return failures.length > 0 ? failures : resourceFailures(services, order, vm);
      }),
      reasons(async () => {
        await services.tpm.ensureAttestationKey();
        return [];
      }),
    ]);
    return [...admission, ...tpm];
  }

  async function hypervisorFacts(): Promise<HypervisorSummary | null> {
    try {
      return await hypervisor.facts();
    } catch (error) {
      if (error instanceof KororaError) return null;
      throw error;
    }
  }

  async function missing(paths: readonly string[]): Promise<string[]> {
    const found = await Promise.all(paths.map((path) => access.stat(path)));
    return paths.filter((_, i) => found[i]?.kind !== 'file');
  }

  /** What a record here holds is that record's, and no leftover whatever its state; what it gave up to a claim goes when the VM comes back: the order says so. */
  async function findOfTheVm({ vmId }: VmDocument): Promise<Pick<DestinationFacts, 'failures' | 'leftovers'>> {
    const [record, traces] = await Promise.all([ownership.read(vmId), vms.traces(vmId)]);
    if (record.state === 'retired' && record.keptUntil !== null) return { failures: [], leftovers: [] };
    if (record.state === 'none' || record.state === 'retired') return { failures: [], leftovers: traces };
    return { failures: [failure('VM_HELD', { host: hostId, vm: vmId, state: record.state })], leftovers: [] };
  }

  return { inspectSource, inspectDestination };
}
