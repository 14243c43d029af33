/** The operators of a hostile world, and the order that each move has: what they signed is all that hosts may act on. */
import { ed25519 } from '@noble/curves/ed25519.js';
import { digestOf } from '../../../domain/canonical.js';
import { type Envelope, PublicKey, type SignedKind, type Signer, signEnvelope } from '../../../domain/envelope.js';
import { HostId, MigrationId, VmId } from '../../../domain/ids.js';
import { DEFAULT_LIMITS } from '../../../domain/progress.js';
import { type Approval, type Fence, type LimitsChange, Order, type Reinstatement, type StartOrder } from '../../../domain/order.js';
import type { Settlement } from '../../../domain/ownership.js';
import { TrustBundle } from '../../../domain/trust-bundle.js';
import { VmDocument } from '../../../domain/vm.js';
import type { SoftwareKey } from '../software-ak.js';

export const HOSTS = ['host-a', 'host-b', 'host-c'] as const;
export type HostName = (typeof HOSTS)[number];
export const OPERATOR = 'ada';
export const FOREVER = '2100-01-01T00:00:00Z';
export const PCRS = [0, 4, 7] as const;
export const GOOD_PCRS = { '0': '10'.repeat(32), '4': '14'.repeat(32), '7': '17'.repeat(32) } as const;
const EVERYTHING = { disks: ['*'], bootFiles: ['*'], bridges: ['*'] };
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

function signerOf(n: number): Signer {
  const seed = Buffer.alloc(32, n);
  return {
    publicKey: PublicKey.parse(Buffer.concat([SPKI_PREFIX, ed25519.getPublicKey(seed)]).toString('base64')),
    sign: async (message) => ed25519.sign(message, seed),
  };
}

export const POLICY_SIGNER = signerOf(1);
const ADA = signerOf(2);
const GRACE = signerOf(3);

/** The same document is signed once a process: signing takes longer than most steps of a world. */
const signed = new Map<string, Promise<Envelope>>();

export function sign<T extends { readonly kind: SignedKind }>(document: T, signer: Signer = ADA): Promise<Envelope> {
  const name = `${signer.publicKey} ${digestOf(document)}`;
  const found = signed.get(name) ?? signEnvelope(document, signer);
  signed.set(name, found);
  return found;
}

export function bundleOf(aks: Readonly<Record<HostName, SoftwareKey>>, serial: number, statusOfC: 'active' | 'revoked'): TrustBundle {
  return TrustBundle.parse({
    kind: 'korora/trust-bundle',
    version: 2,
    serial,
    expiresAt: FOREVER,
    hosts: HOSTS.map((hostId) => ({
      hostId, class: 'rack', status: hostId === 'host-c' ? statusOfC : 'active', address: { host: hostId, port: 0 },
      attestationKey: { publicArea: aks[hostId].publicArea, name: aks[hostId].name }, identity: { proof: 'none' },
    })),
    classes: { rack: { pcrs: [...PCRS], firmwareVersions: null, referenceSets: [{ id: 'good', status: 'active', pcrValues: GOOD_PCRS, events: null }] } },
    operators: [
      { name: OPERATOR, publicKey: ADA.publicKey, status: 'active', scopes: [{ actions: ['start', 'migrate', 'fence', 'reinstate'], vms: ['*'], sources: ['*'], destinations: ['*'], ...EVERYTHING }] },
      { name: 'grace', publicKey: GRACE.publicKey, status: 'active', scopes: [{ actions: ['approve'], vms: ['*'], sources: ['*'], destinations: ['*'], ...EVERYTHING }] },
    ],
    parameters: { nonceLifetimeMs: 600_000, approverMustDiffer: true, yieldedKeptMs: 86_400_000, wordsOfTwo: [] },
  });
}

export function vmOf(name: string): VmDocument {
  return VmDocument.parse({
    kind: 'korora/vm', version: 1, vmId: name, hypervisor: 'fake', machine: 'pc-q35-7.2', cpu: { model: 'max', count: 1 }, memoryBytes: 64 * 1024 * 1024,
    boot: { kernel: '/srv/vmlinuz', initrd: '/srv/initrd.img', commandLine: '' }, disks: [], networks: [], vtpm: { model: 'tpm-crb' },
  });
}

/** What they signed in one world. */
export class People {
  readonly orders = new Map<string, Order>();
  readonly fences: Fence[] = [];
  /** What hosts decided of moves, by move and host. */
  readonly decided = new Map<string, Settlement['outcome']>();
  #moves = 0;

  constructor(public bundleDigest: string) {}

  copy(): People {
    const copy = new People(this.bundleDigest);
    for (const [id, order] of this.orders) copy.orders.set(id, order);
    copy.fences.push(...this.fences);
    for (const [what, outcome] of this.decided) copy.decided.set(what, outcome);
    copy.#moves = this.#moves;
    return copy;
  }

  async order(vmName: string, epoch: number, source: string, destination: string, changes: Partial<Order> = {}): Promise<Envelope> {
    const migrationId = MigrationId.parse(`00000000-0000-4000-8000-${(this.#moves += 1).toString(16).padStart(12, '0')}`);
    const order = Order.parse({
      kind: 'korora/order', version: 2, migrationId, vmId: vmName, vmDigest: digestOf(vmOf(vmName)), epoch, source, destination,
      bundleDigest: this.bundleDigest, limits: DEFAULT_LIMITS, requiresApproval: false, by: OPERATOR, notAfter: FOREVER, ...changes,
    });
    this.orders.set(migrationId, order);
    return sign(order);
  }

  start(vmName: string, host: string, epoch: number | null): Promise<Envelope> {
    return sign({ kind: 'korora/start', version: 1, vmId: VmId.parse(vmName), vmDigest: digestOf(vmOf(vmName)), host: HostId.parse(host), epoch: epoch as StartOrder['epoch'], by: OPERATOR, notAfter: FOREVER } satisfies StartOrder);
  }

  fence({ migrationId, vmId }: Order, host: string): Promise<Envelope> {
    const fence: Fence = { kind: 'korora/fence', version: 1, migrationId, vmId, host: HostId.parse(host), reason: 'its power is cut', by: OPERATOR, notAfter: FOREVER };
    this.fences.push(fence);
    return sign(fence);
  }

  approve(order: Order): Promise<Envelope> {
    const { migrationId, vmId } = order;
    return sign({ kind: 'korora/approval', version: 1, migrationId, vmId, orderDigest: digestOf(order), reason: null, by: 'grace', notAfter: FOREVER } satisfies Approval, GRACE);
  }

  limit({ migrationId, vmId, limits }: Order): Promise<Envelope> {
    return sign({ kind: 'korora/limits', version: 1, migrationId, vmId, limits: { ...limits, downtimeLimitMs: 200 }, by: OPERATOR, notAfter: FOREVER } satisfies LimitsChange);
  }

  reinstate(host: string, ledgerDigest: string): Promise<Envelope> {
    return sign({ kind: 'korora/reinstatement', version: 1, host: HostId.parse(host), ledgerDigest, reason: 'no other host runs its VMs', by: OPERATOR, notAfter: FOREVER } satisfies Reinstatement);
  }
}
