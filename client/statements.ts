/**
 * What operators say, drafted by what signatures prove, shown, and then signed; sent by nobody yet. What Temporal tells beside that says where
 * to look, and nothing more.
 */
import { openSigned } from '../domain/authority.js';
import { digestOf } from '../domain/canonical.js';
import { parseDocument } from '../domain/documents.js';
import { type Envelope, PAYLOAD_TYPES, signersOf } from '../domain/envelope.js';
import { refuse } from '../domain/failures.js';
import { type HostId, type MigrationId, VmId } from '../domain/ids.js';
import { Approval, Fence, LimitsChange, type Order, Reinstatement, StartOrder } from '../domain/order.js';
import type { OwnershipRecord } from '../domain/ownership.js';
import type { CopyLimits } from '../domain/progress.js';
import type { HostSurvey, MigrationStatus } from '../domain/status.js';
import { type ShownLedger, type ShownVm, ledgerDigestOf } from '../domain/survey.js';
import { type InstalledBundle, hostIn } from '../domain/trust-bundle.js';
import type { VmDocument } from '../domain/vm.js';
import type { Author } from './author.js';
import { DEFAULT_LIFETIME_MS, type OrderRequest, buildOrder, notAfter, placeOf } from './order.js';
import { type SignedMove, saidBy, signedMove } from './signed-move.js';
import type { Proven } from './verify/survey.js';

export interface StatementParts {
  readonly installed: InstalledBundle;
  /** SIGNING_KEY_MISSING, SIGNING_KEY_UNKNOWN. */
  readonly author: () => Author;
  readonly hosts: () => Promise<readonly HostSurvey[]>;
  readonly status: (vmId: VmId) => Promise<MigrationStatus>;
  /** Whether a workflow tends the move of the VM. */
  readonly isMoving: (vmId: VmId) => Promise<boolean>;
  /** HOST_UNKNOWN, HOST_NOT_ACTIVE, HOST_UNREACHABLE, SURVEY_UNPROVEN. */
  readonly vmOn: (hostId: HostId, vmId: VmId) => Promise<Proven<ShownVm>>;
  /** The same, and LEDGER_TOO_LARGE. */
  readonly ledgerOf: (hostId: HostId) => Promise<Proven<ShownLedger>>;
}

/** Two people may have to sign one. A source acts on a fence within seconds, or once its own worker is back. */
const WORD_LIFETIME_MS = 3_600_000;

/** What a fence rests on. */
interface Waiting {
  readonly migrationId: MigrationId;
  readonly order: Order | null;
  readonly record: OwnershipRecord | null;
}

export type Statements = ReturnType<typeof createStatements>;

export function createStatements({ installed, author, hosts, status, isMoving, vmOn, ledgerOf }: StatementParts) {
  const { bundle } = installed;

  async function moveOf(value: string): Promise<SignedMove> {
    const vmId = parseDocument(VmId, value, 'ORDER_INVALID');
    return signedMove(vmId, await status(vmId), bundle);
  }

  /** NOTHING_TO_FENCE. */
  async function moveThatWaitsFor(vmId: VmId, host: string): Promise<Waiting> {
    const nothing = () => refuse('NOTHING_TO_FENCE', { vm: vmId, host });
    if (await isMoving(vmId)) {
      const { order } = await moveOf(vmId);
      if (host !== order.source && host !== order.destination) throw nothing();
      return { migrationId: order.migrationId, order, record: null };
    }
    const known = (await hosts()).flatMap((survey) => (survey.reachable ? survey.vms : []));
    const holder = known.find((vm) => vm.vmId === vmId && vm.ownership === 'relinquished' && vm.move?.peer === host);
    if (!holder) throw nothing();
    const { record } = await vmOn(holder.hostId, vmId);
    if (record.state !== 'relinquished' || record.peer !== host) throw nothing();
    return { migrationId: record.migrationId, order: null, record };
  }

  return {
    async order(request: OrderRequest): Promise<{ readonly order: Order; readonly vm: VmDocument; readonly signed: Envelope }> {
      const { by, sign } = author();
      const { vmId, hostId } = placeOf(request, installed, await hosts());
      const { order, vm } = buildOrder(request, by, installed, await vmOn(hostId, vmId));
      return { order, vm, signed: await sign({ kind: 'korora/order', document: order, vm, signedBy: [] }) };
    },

    async start(vm: VmDocument, hostId: HostId): Promise<Envelope> {
      const { by, sign } = author();
      const { record } = await vmOn(hostId, vm.vmId);
      const draft = { kind: 'korora/start', version: 1, vmId: vm.vmId, vmDigest: digestOf(vm), host: hostId, epoch: record.state === 'owner' ? record.epoch : null, by, notAfter: notAfter(DEFAULT_LIFETIME_MS) };
      return sign({ kind: 'korora/start', document: parseDocument(StartOrder, draft, 'ORDER_INVALID'), vm, signedBy: [] });
    },

    async approval(vmId: string, reason: string | null): Promise<Envelope> {
      const { by, sign } = author();
      const { order, vm } = await moveOf(vmId);
      const draft = { kind: 'korora/approval', version: 1, migrationId: order.migrationId, vmId, orderDigest: digestOf(order), reason, by, notAfter: notAfter(DEFAULT_LIFETIME_MS) };
      return sign({ kind: 'korora/approval', document: parseDocument(Approval, draft, 'ORDER_INVALID'), order, vm, signedBy: [] });
    },

    async limits(vmId: string, change: Partial<CopyLimits>): Promise<Envelope> {
      const { by, sign } = author();
      const { order, limits: before } = await moveOf(vmId);
      const draft = { kind: 'korora/limits', version: 1, migrationId: order.migrationId, vmId, limits: { ...before, ...change }, by, notAfter: notAfter(DEFAULT_LIFETIME_MS) };
      return sign({ kind: 'korora/limits', document: parseDocument(LimitsChange, draft, 'LIMITS_INVALID'), order, before, signedBy: [] });
    },

    async fence(value: string, { host, reason }: { readonly host: string; readonly reason: string }): Promise<Envelope> {
      const { by, sign } = author();
      const vmId = parseDocument(VmId, value, 'ORDER_INVALID');
      const { migrationId, ...basis } = await moveThatWaitsFor(vmId, host);
      const draft = { kind: 'korora/fence', version: 1, migrationId, vmId, host, reason, by, notAfter: notAfter(WORD_LIFETIME_MS) };
      return sign({ kind: 'korora/fence', document: parseDocument(Fence, draft, 'ORDER_INVALID'), ...basis, signedBy: [] });
    },

    async reinstatement(host: string, reason: string): Promise<Envelope> {
      const { hostId } = hostIn(bundle, host);
      const { by, sign } = author();
      const ledger = await ledgerOf(hostId);
      const draft = { kind: 'korora/reinstatement', version: 1, host: hostId, ledgerDigest: ledgerDigestOf(hostId, ledger), reason, by, notAfter: notAfter(WORD_LIFETIME_MS) };
      return sign({ kind: 'korora/reinstatement', document: parseDocument(Reinstatement, draft, 'ORDER_INVALID'), ledger, signedBy: [] });
    },

    /** What the first was shown is shown to the second, asked for anew. SIGNED_ALREADY; NOTHING_TO_FENCE and REINSTATEMENT_STALE where it is otherwise by now. */
    async countersigned(value: unknown): Promise<Envelope> {
      const { by, countersign } = author();
      const opened = openWord(value);
      const signedBy = bundle.operators.filter(({ publicKey }) => signersOf(opened.envelope, [publicKey]).length > 0).map(({ name }) => name);
      if (signedBy.includes(by)) throw refuse('SIGNED_ALREADY', { operator: by });
      saidBy(opened, null, { ...bundle, parameters: { ...bundle.parameters, wordsOfTwo: [] } });
      const { document, envelope } = opened;
      if (document.kind === 'korora/reinstatement') {
        const ledger = await ledgerOf(document.host);
        if (ledgerDigestOf(document.host, ledger) !== document.ledgerDigest) throw refuse('REINSTATEMENT_STALE', { host: document.host });
        return countersign({ kind: 'korora/reinstatement', document, ledger, signedBy }, envelope);
      }
      const { migrationId, ...basis } = await moveThatWaitsFor(document.vmId, document.host);
      if (migrationId !== document.migrationId) throw refuse('NOTHING_TO_FENCE', { vm: document.vmId, host: document.host });
      return countersign({ kind: 'korora/fence', document, ...basis, signedBy }, envelope);
    },
  };
}

/** ORDER_INVALID: neither a fence nor a reinstatement. */
export function openWord(value: unknown) {
  const { payloadType } = (typeof value === 'object' && value !== null ? value : {}) as Partial<Envelope>;
  return payloadType === PAYLOAD_TYPES['korora/reinstatement'] ? openSigned('korora/reinstatement', value) : openSigned('korora/fence', value);
}
