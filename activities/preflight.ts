/** Phase admit: each host says what it sees. Reads only; domain/preflight.ts compares. */
import { digestOf } from '../domain/canonical.js';
import { parseDocument } from '../domain/documents.js';
import { type OpenedDocument, openSigned } from '../domain/authority.js';
import type { Envelope } from '../domain/envelope.js';
import { type Failure, KororaError, failure } from '../domain/failures.js';
import type { Role } from '../domain/ids.js';
import type { DestinationFacts, HypervisorSummary, SourceFacts } from '../domain/preflight.js';
import { VmDocument } from '../domain/vm.js';
import { admissionFailures } from './admission.js';
import { diskFacts } from './disks.js';
import { networkFacts } from './networks.js';
import type { HostServices } from './services.js';

export interface MoveRequest {
  readonly order: Envelope;
  readonly vm: VmDocument;
}

export function createPreflight(services: HostServices) {
  const { hostId, access, hypervisor, ownership, vms, vtpms } = services;

  async function inspectSource(request: MoveRequest): Promise<SourceFacts> {
    const { order, vm } = openRequest(request);
    const [record, installed, common] = await Promise.all([ownership.read(vm.vmId), vms.read(vm.vmId), commonFacts(order, vm, 'source')]);
    return {
      ...common,
      ownership: { state: record.state, epoch: record.epoch },
      vmDigest: installed && digestOf(installed.vm),
      vmStatus: await hypervisor.status(vm.vmId, vms.runDirOf(vm.vmId)),
    };
  }

  async function inspectDestination(request: MoveRequest): Promise<DestinationFacts> {
    const { order, vm } = openRequest(request);
    const [common, availableMemoryBytes, missingBootFiles, found] = await Promise.all([
      commonFacts(order, vm, 'destination'),
      access.availableMemoryBytes(),
      missing([vm.boot.kernel, vm.boot.initrd]),
      findOfTheVm(vm),
    ]);
    return { ...common, failures: [...common.failures, ...found.failures], availableMemoryBytes, missingBootFiles, leftovers: found.leftovers };
  }

  async function commonFacts(order: OpenedDocument<'korora/order'>, vm: VmDocument, role: Role) {
    const [failures, facts, swtpmVersion, strangers, disks, networks] = await Promise.all([
      ownFailures(order, role),
      hypervisorFacts(),
      vtpms.version(),
      hypervisor.strangers(vm),
      diskFacts(access, vm),
      networkFacts(access, vm),
    ]);
    return { hostId, failures, hypervisor: facts, swtpmVersion, strangers, disks, networks };
  }

  /** Order, bundle and TPM, each as reasons rather than an error, so that all are listed. */
  async function ownFailures(order: OpenedDocument<'korora/order'>, role: Role): Promise<Failure[]> {
    const reasons = async (ask: () => Promise<Failure[]>) => {
      try {
        return await ask();
      } catch (error) {
        if (error instanceof KororaError) return [...error.failures];
        throw error;
      }
    };
    const [admission, tpm] = await Promise.all([
      reasons(async () => admissionFailures(hostId, order, await services.installedBundle(), role, new Date())),
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

  /** What a record here holds is that record's, and no leftover whatever its state. */
  async function findOfTheVm({ vmId }: VmDocument): Promise<Pick<DestinationFacts, 'failures' | 'leftovers'>> {
    const [{ state }, traces] = await Promise.all([ownership.read(vmId), vms.traces(vmId)]);
    if (state === 'none' || state === 'retired') return { failures: [], leftovers: traces };
    return { failures: [failure('VM_HELD', { host: hostId, vm: vmId, state })], leftovers: [] };
  }

  return { inspectSource, inspectDestination };
}

function openRequest(request: MoveRequest) {
  return { order: openSigned('korora/order', request.order), vm: parseDocument(VmDocument, request.vm, 'VM_DOCUMENT_INVALID') };
}
