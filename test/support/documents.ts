/**
 * One valid sample of every document, for tests. `samples` is plain JSON as it would arrive from
 * outside; the functions below parse it, with members replaced. All samples tell of one move: VM
 * `web-1`, from `host-a`, which owns epoch 1, to `host-b`, ordered by `ada` and approved by `grace`.
 */
import { HostEvidence, SessionOffer, WrappedSecrets } from '../../domain/attestation.js';
import { digestOf } from '../../domain/canonical.js';
import { signEnvelope } from '../../domain/envelope.js';
import { Evidence } from '../../domain/evidence.js';
import { HostId, MigrationId, VmId } from '../../domain/ids.js';
import { Manifest, Verdict, VerdictStatement } from '../../domain/manifest.js';
import { Approval, Fence, LimitsChange, Order, Reinstatement, StartOrder } from '../../domain/order.js';
import { HostClass, HostEntry, TrustBundle } from '../../domain/trust-bundle.js';
import { VmDocument } from '../../domain/vm.js';
import { InstalledVm } from '../../host/vm-store.js';
import { testSigner } from './signers.js';

export const VM = VmId.parse('web-1');
export const SOURCE = HostId.parse('host-a');
export const DESTINATION = HostId.parse('host-b');
/** Of whoever signs the trust bundle, and of its two operators. */
export const POLICY_SIGNER = testSigner(1);
export const ADA = testSigner(2);
export const GRACE = testSigner(3);
/** The id of the n-th migration, 0 to 255. */
export const migrationId = (n: number): MigrationId => MigrationId.parse(`00000000-0000-4000-8000-0000000000${twoDigits(n)}`);
/** A SHA-256 that is told apart at a glance: one byte, 32 times. */
export const digest = (byte: number): string => twoDigits(byte).repeat(32);
/** A TPM name: algorithm and digest. */
export const tpmName = (byte: number): string => `000b${digest(byte)}`;

function twoDigits(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

const base64 = (text: string) => Buffer.from(text).toString('base64');
const signed = (what: string) => ({ attest: base64(`attest of ${what}`), signature: base64(`signature of ${what}`) });
const wrappingKey = { publicArea: base64('wrapping key'), name: tpmName(0xc1), certification: signed('wrapping key') };

const vm = {
  kind: 'korora/vm',
  version: 1,
  vmId: VM as string,
  hypervisor: 'qemu',
  machine: 'pc-q35-7.2',
  cpu: { model: 'Westmere', count: 2 },
  memoryBytes: 256 * 1024 * 1024,
  boot: { kernel: '/srv/boot/vmlinuz', initrd: '/srv/boot/initrd.img', commandLine: 'console=ttyS0' },
  disks: [
    { id: 'root', path: '/srv/shared/web-1-root.qcow2', format: 'qcow2' },
    { id: 'data', path: '/srv/shared/web-1-data.raw', format: 'raw' },
  ],
  networks: [{ id: 'lan', mac: '52:54:00:00:00:01', bridge: 'br0' }],
  vtpm: { model: 'tpm-crb' },
};

const bootEvent = { pcr: 4, type: 'EV_EFI_BOOT_SERVICES_APPLICATION', digest: digest(0x34), what: 'image \\EFI\\BOOT\\BOOTX64.EFI', isDataMeasured: false };

const hostClass = {
  pcrs: [0, 4, 7],
  firmwareVersions: ['2019102300163636'] as string[] | null,
  referenceSets: [
    { id: 'kernel-6.1', status: 'active', pcrValues: { '0': digest(0x10), '4': digest(0x14), '7': digest(0x17) }, events: [bootEvent] as object[] | null },
    { id: 'kernel-6.0', status: 'obsolete', pcrValues: { '0': digest(0x20), '4': digest(0x24), '7': digest(0x27) }, events: null },
  ],
};

const hostEntry = (hostId: string, byte: number) => ({
  hostId,
  class: 'rack',
  status: 'active',
  address: { host: `${hostId}.example`, port: 7711 },
  attestationKey: { publicArea: base64(`AK of ${hostId}`), name: tpmName(byte) },
  identity: { proof: 'ek-certificate', ekCertificateSha256: digest(byte + 1), rootSha256: digest(0xca) },
});

const { identity, ...enrolledHost } = hostEntry(SOURCE, 0xa0);
const enrolment = {
  kind: 'korora/enrolment',
  version: 1,
  host: enrolledHost,
  pcrValues: { '0': digest(0x10), '4': digest(0x14), '7': digest(0x17) },
  ekCertificate: base64('EK certificate') as string | null,
  eventLog: base64('event log') as string | null,
};

const anything = { actions: ['start', 'migrate', 'approve', 'fence', 'reinstate'], vms: ['*'], sources: ['*'], destinations: ['*'], disks: ['*'], bootFiles: ['*'], bridges: ['*'] };

const trustBundle = {
  kind: 'korora/trust-bundle' as const,
  version: 2,
  serial: 7,
  expiresAt: '2030-01-01T00:00:00Z',
  hosts: [hostEntry(SOURCE, 0xa0), hostEntry(DESTINATION, 0xb0)],
  classes: { rack: hostClass },
  operators: [
    { name: 'ada', publicKey: ADA.publicKey as string, status: 'active', scopes: [anything] },
    { name: 'grace', publicKey: GRACE.publicKey as string, status: 'active', scopes: [{ actions: ['approve'], vms: ['web-*'], sources: ['host-a'], destinations: ['host-b'], disks: ['*'], bootFiles: ['*'], bridges: ['*'] }] },
  ],
  parameters: { nonceLifetimeMs: 60_000, approverMustDiffer: true, wordsOfTwo: [] as string[], yieldedKeptMs: 604_800_000 },
};

const order = {
  kind: 'korora/order' as const,
  version: 2,
  migrationId: migrationId(1) as string,
  vmId: VM as string,
  vmDigest: digestOf(vm),
  epoch: 1,
  source: SOURCE as string,
  destination: DESTINATION as string,
  bundleDigest: digestOf(trustBundle),
  limits: { downtimeLimitMs: 300, bandwidthBytesPerSecond: 125_000_000, maxRounds: 200, stallRounds: 8, autoConverge: null },
  requiresApproval: false,
  by: 'ada',
  notAfter: '2030-01-01T00:00:00Z',
};

const ofMove = { version: 1, migrationId: order.migrationId, vmId: order.vmId, notAfter: order.notAfter };
const start = { kind: 'korora/start' as const, version: 1, vmId: order.vmId, vmDigest: order.vmDigest, host: SOURCE as string, epoch: null as number | null, by: 'ada', notAfter: order.notAfter };
const approval = { kind: 'korora/approval' as const, ...ofMove, orderDigest: digestOf(order), reason: 'the window is open' as string | null, by: 'grace' };
const limitsChange = { kind: 'korora/limits' as const, ...ofMove, limits: order.limits, by: 'ada' };
const reinstatement = { kind: 'korora/reinstatement' as const, version: 1, host: SOURCE as string, ledgerDigest: digest(0x1e), reason: 'no other host runs its VMs', by: 'ada', notAfter: '2029-01-01T00:00:00Z' };
const fence = { kind: 'korora/fence' as const, ...ofMove, host: DESTINATION as string, reason: 'its power is cut', by: 'ada' };

const binding = (role: 'source' | 'destination') => ({
  protocol: 'korora/1',
  purpose: 'attest',
  migrationId: order.migrationId,
  orderDigest: digestOf(order),
  role,
  verifierNonce: digest(role === 'source' ? 0xb1 : 0xa1),
  tlsSpkiSha256: digest(role === 'source' ? 0xa2 : 0xb2),
  wrappingKeyName: role === 'source' ? null : wrappingKey.name,
});

const hostEvidence = (role: 'source' | 'destination') => ({
  hostId: (role === 'source' ? SOURCE : DESTINATION) as string,
  binding: binding(role),
  quote: signed(`quote of the ${role}`),
  pcrValues: { '0': digest(0x10), '4': digest(0x14), '7': digest(0x17) },
  wrappingKey: role === 'source' ? null : wrappingKey,
  eventLog: null as string | null,
});

const manifest = {
  protocol: 'korora/1',
  migrationId: order.migrationId,
  vmId: VM as string,
  epoch: 2,
  streamBytes: 123_456_789,
  streamSha256: digest(0x51),
  vtpmIdentity: digest(0x71),
  previousVerdict: null as string | null,
};

const verdict = {
  protocol: 'korora/1',
  purpose: 'verdict',
  verdict: 'accepted',
  migrationId: order.migrationId,
  vmId: VM as string,
  destination: DESTINATION as string,
  epoch: 2,
  manifestDigest: digestOf(manifest) as string | null,
  reason: null as string | null,
};

const verdictStatement = { verdict, quote: signed('verdict') };
const receipt = {
  protocol: 'korora/1',
  purpose: 'receipt',
  role: 'destination',
  hostId: DESTINATION as string,
  migrationId: order.migrationId,
  vmId: VM as string,
  epoch: 2,
  orderDigest: digestOf(order),
  verdictDigest: digestOf(verdict),
  observedDigest: digest(0x61),
};

/** Signed by `ada`, as a record holds it. */
export const SIGNED_ORDER = await signEnvelope(order, ADA);
export const SIGNED_FENCE = await signEnvelope(fence, ADA);
/** In which the destination was attested. */
export const PEER_BOOT = { resetCount: 3, restartCount: 0, clock: '1000' };

export const samples = {
  vm,
  hostClass,
  hostEntry: hostEntry(SOURCE, 0xa0),
  trustBundle,
  enrolment,
  challenge: { kind: 'korora/enrolment-challenge', version: 1, hostId: SOURCE as string, pcrs: [0, 4, 7], credential: base64('credential') },
  challengedHost: { kind: 'korora/challenged-host', version: 1, enrolment, identity, answerDigest: digest(0xe1) },
  answer: { kind: 'korora/enrolment-answer', version: 1, hostId: SOURCE as string, quote: signed('answer') },
  order,
  start,
  approval,
  limitsChange,
  fence,
  reinstatement,
  binding: binding('destination'),
  sessionOffer: { hostId: DESTINATION as string, role: 'destination', nonce: digest(0xb1), tlsSpkiSha256: digest(0xb2) },
  sourceEvidence: hostEvidence('source'),
  destinationEvidence: hostEvidence('destination'),
  wrappedSecrets: { ephemeralPoint: base64('point'), iv: base64('iv'), ciphertext: base64('ciphertext'), tag: base64('tag') },
  manifest,
  verdict,
  verdictStatement,
  evidence: {
    kind: 'korora/evidence',
    version: 2,
    order: SIGNED_ORDER,
    vm,
    attestation: {
      source: hostEvidence('source'),
      destination: hostEvidence('destination'),
      referenceSets: { source: 'kernel-6.1', destination: 'kernel-6.1' },
    },
    manifest,
    verdict: verdictStatement,
    succession: null as object | null,
    receipts: { source: null, destination: { receipt, quote: signed('receipt') } },
    rounds: [{ round: 1, sentBytes: 200_000_000, remainingBytes: 4_000_000, dirtyBytesPerSecond: 1_000_000.5, elapsedMs: 900, throttlePercent: null }],
    fences: [{ envelope: SIGNED_FENCE, atMs: 3_095 }],
    approval: { envelope: await signEnvelope(approval, GRACE), atMs: 2_900 },
    limitsChanges: [{ envelope: await signEnvelope(limitsChange, ADA), atMs: 2_000 }],
    timings: {
      startedAtMs: 1_000,
      endedAtMs: 4_000,
      phases: { requested: 0, admitted: 120.5, retired: 2_900 },
      source: { pausedAtMs: 3_000, relinquishedAtMs: 3_001, lastByteAtMs: 3_040, manifestAtMs: 3_041, verdictAtMs: 3_090, pauseMs: 90 },
      destination: { manifestAtMs: 3_042, loadedAtMs: 3_070, decidedAtMs: 3_075, runningAtMs: 3_080 },
    },
    outcome: {
      kind: 'moved',
      runsOn: DESTINATION as string,
      failures: [{ code: 'CHANNEL_LOST', message: 'the channel between the hosts broke: reset', remedy: 'Look at the network.' }],
    },
  },
  installedVm: {
    version: 1,
    vm,
    vtpm: {
      identity: digest(0x71),
      keys: { publicArea: base64('keys, public'), privateArea: base64('keys, private') },
    },
    bootedAfter: migrationId(1),
    started: [{ orderDigest: digest(0x81), notAfter: '2030-01-01T00:00:00Z' }],
  },
};

type Changes<T> = Partial<Record<keyof T, unknown>>;

export const vmDocument = (changes: Changes<VmDocument> = {}): VmDocument => VmDocument.parse({ ...samples.vm, ...changes });
export const hostClassOf = (changes: Changes<HostClass> = {}): HostClass => HostClass.parse({ ...samples.hostClass, ...changes });
export const hostEntryOf = (changes: Changes<HostEntry> = {}): HostEntry => HostEntry.parse({ ...samples.hostEntry, ...changes });
export const trustBundleOf = (changes: Changes<TrustBundle> = {}): TrustBundle => TrustBundle.parse({ ...samples.trustBundle, ...changes });
export const startOrderOf = (changes: Changes<StartOrder> = {}): StartOrder => StartOrder.parse({ ...samples.start, ...changes });
export const approvalOf = (changes: Changes<Approval> = {}): Approval => Approval.parse({ ...samples.approval, ...changes });
export const limitsChangeOf = (changes: Changes<LimitsChange> = {}): LimitsChange => LimitsChange.parse({ ...samples.limitsChange, ...changes });
export const reinstatementOf = (changes: Changes<Reinstatement> = {}): Reinstatement => Reinstatement.parse({ ...samples.reinstatement, ...changes });
export const fenceOf = (changes: Changes<Fence> = {}): Fence => Fence.parse({ ...samples.fence, ...changes });
export const orderOf = (changes: Changes<Order> = {}): Order => Order.parse({ ...samples.order, ...changes });
export const sessionOfferOf = (changes: Changes<SessionOffer> = {}): SessionOffer => SessionOffer.parse({ ...samples.sessionOffer, ...changes });
export const sourceEvidenceOf = (changes: Changes<HostEvidence> = {}): HostEvidence => HostEvidence.parse({ ...samples.sourceEvidence, ...changes });
export const destinationEvidenceOf = (changes: Changes<HostEvidence> = {}): HostEvidence => HostEvidence.parse({ ...samples.destinationEvidence, ...changes });
export const wrappedSecretsOf = (changes: Changes<WrappedSecrets> = {}): WrappedSecrets => WrappedSecrets.parse({ ...samples.wrappedSecrets, ...changes });
export const manifestOf = (changes: Changes<Manifest> = {}): Manifest => Manifest.parse({ ...samples.manifest, ...changes });
export const verdictOf = (changes: Changes<Verdict> = {}): Verdict => Verdict.parse({ ...samples.verdict, ...changes });
/** A rejection of the sample's move. */
export const rejectionOf = (changes: Changes<Verdict> = {}): Verdict => verdictOf({ verdict: 'rejected', manifestDigest: null, reason: 'the digest differs', ...changes });
export const verdictStatementOf = (changes: Changes<VerdictStatement> = {}): VerdictStatement => VerdictStatement.parse({ ...samples.verdictStatement, ...changes });
export const evidenceOf = (changes: Changes<Evidence> = {}): Evidence => Evidence.parse({ ...samples.evidence, ...changes });
export const installedVmOf = (changes: Changes<InstalledVm> = {}): InstalledVm => InstalledVm.parse({ ...samples.installedVm, ...changes });
