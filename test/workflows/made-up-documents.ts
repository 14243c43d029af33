/** What made-up hosts say of one move: valid in form, signed by nobody. */
import { HostEvidence, SessionOffer, WrappedSecrets } from '../../domain/attestation.js';
import { digestOf } from '../../domain/canonical.js';
import type { RoundRecord } from '../../domain/evidence.js';
import type { Role } from '../../domain/ids.js';
import { Manifest, type ReceiptStatement } from '../../domain/manifest.js';
import type { Order } from '../../domain/order.js';
import type { DestinationFacts, SourceFacts } from '../../domain/preflight.js';
import type { VmDocument } from '../../domain/vm.js';
import type { GivenReceipt } from '../../activities/receipts.js';
import { digest, samples } from '../support/documents.js';

export function documentsOf(order: Order) {
  const { migrationId, vmId, source, destination } = order;
  const manifest = Manifest.parse({ ...samples.manifest, migrationId, vmId, epoch: order.epoch + 1 });
  const { quote } = samples.verdictStatement;
  const rounds: RoundRecord[] = [{ round: 1, sentBytes: 2_000_000, remainingBytes: 4_000, dirtyBytesPerSecond: 100, elapsedMs: 9, throttlePercent: null }];
  const sourceTimings = samples.evidence.timings.source;
  const destinationTimings = samples.evidence.timings.destination;
  const receiptOf = (role: Role): ReceiptStatement => ({
    receipt: {
      ...{ protocol: 'korora/1', purpose: 'receipt', role, hostId: order[role], migrationId, vmId, epoch: manifest.epoch },
      ...{ orderDigest: digestOf(order), verdictDigest: digest(0x61), observedDigest: digest(0x62) },
    },
    quote,
  });
  const sourceReceipt: GivenReceipt = { statement: receiptOf('source'), observed: { role: 'source', rounds, timings: sourceTimings, approval: null, limitsChanges: [] } };
  const destinationReceipt: GivenReceipt = { statement: receiptOf('destination'), observed: { role: 'destination', timings: destinationTimings } };
  return {
    manifest,
    quote,
    rounds,
    sourceTimings,
    destinationTimings,
    sourceReceipt,
    destinationReceipt,
    wrapped: WrappedSecrets.parse(samples.wrappedSecrets),
    offer: (role: Role) => SessionOffer.parse({ ...samples.sessionOffer, hostId: order[role], role }),
    evidence: (role: Role) => HostEvidence.parse({ ...(role === 'source' ? samples.sourceEvidence : samples.destinationEvidence), hostId: order[role] }),
    sourceFacts: (vm: VmDocument): SourceFacts => ({
      ...factsOf(source, vm),
      ownership: { state: 'owner', epoch: order.epoch },
      vmStatus: 'running',
      vmDigest: order.vmDigest,
    }),
    destinationFacts: (vm: VmDocument): DestinationFacts => ({ ...factsOf(destination, vm), availableMemoryBytes: 2 ** 40, missingBootFiles: [], leftovers: [] }),
  };
}

function factsOf(hostId: string, vm: VmDocument) {
  return {
    hostId,
    failures: [],
    hypervisor: { kind: vm.hypervisor, version: '10.0', accelerator: 'kvm', machineTypes: [vm.machine], cpuModels: [vm.cpu.model] },
    swtpmVersion: '0.8',
    strangers: [],
    disks: vm.disks.map(({ id }) => ({ id, identity: { inode: '1', birthTimeNs: '1', sizeBytes: 1 } })),
    networks: vm.networks.map(({ id }) => ({ id, isVisible: true })),
  };
}
