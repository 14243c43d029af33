/**
 * What operators sign, each a document in an envelope (envelope.ts): a move, a start, and what they say of a move under way.
 * Hosts act on them by their own trust bundle (authority.ts); whoever carries them can only keep them back.
 *
 * None is good twice. An order and a start name the epoch that they begin from, which a completed move ends; a move that
 * failed is settled on both hosts under its migration id (ownership.ts). The others are of one move, or of one moment.
 */
import { z } from 'zod';
import type { SignedKind } from './envelope.js';
import { Epoch, HostId, MigrationId, Sha256Hex, VmId } from './ids.js';
import { OperatorName } from './operators.js';
import { CopyLimits } from './progress.js';

/** ISO 8601, UTC. */
const notAfter = z.iso.datetime();
const reason = z.string().min(1).max(500);
/** The operator who signed it, by the name that the trust bundle gives. */
const by = OperatorName;
const ofMove = { version: z.literal(1), migrationId: MigrationId, vmId: VmId };

/** Move this VM, from here, to there, under this bundle. */
export const Order = z.strictObject({
  kind: z.literal('korora/order'),
  version: z.literal(2),
  migrationId: MigrationId,
  vmId: VmId,
  /** Digest of the VM document that is to move. */
  vmDigest: Sha256Hex,
  /** That the source owns. */
  epoch: Epoch,
  source: HostId,
  destination: HostId,
  /** Digest of the trust bundle that both hosts must have installed. */
  bundleDigest: Sha256Hex,
  limits: CopyLimits,
  /** The copy is held, the guest running, until an operator approves the move. */
  requiresApproval: z.boolean(),
  by,
  notAfter,
});
export type Order = Readonly<z.infer<typeof Order>>;

/** Boot this VM on this host: create it there, or start again one that the host owns. */
export const StartOrder = z.strictObject({
  kind: z.literal('korora/start'),
  version: z.literal(1),
  vmId: VmId,
  vmDigest: Sha256Hex,
  host: HostId,
  /** That the host owns; null for a VM that it is to create. */
  epoch: Epoch.nullable(),
  by,
  notAfter,
});
export type StartOrder = Readonly<z.infer<typeof StartOrder>>;

/** Lets a move that waits for it go on to stop the source. */
export const Approval = z.strictObject({ kind: z.literal('korora/approval'), ...ofMove, orderDigest: Sha256Hex, reason: reason.nullable(), by, notAfter });
export type Approval = Readonly<z.infer<typeof Approval>>;

/** Other limits for a copy that runs. */
export const LimitsChange = z.strictObject({ kind: z.literal('korora/limits'), ...ofMove, limits: CopyLimits, by, notAfter });
export type LimitsChange = Readonly<z.infer<typeof LimitsChange>>;

/**
 * An operator's word that a host is powered off, runs no VM, and stays so until `notAfter`: the only thing beside that host's
 * own answer that ends the wait of a source for it.
 */
export const Fence = z.strictObject({ kind: z.literal('korora/fence'), ...ofMove, host: HostId, reason, by, notAfter });
export type Fence = Readonly<z.infer<typeof Fence>>;

/**
 * An operator's word that the ownership records of a host are the last ones of their VMs, and that no other host runs these: where the
 * host cannot tell, after its state folder came back from a backup. Good once: `ledgerDigest` is of its ledger and its records at one moment (host/ledger.ts).
 */
export const Reinstatement = z.strictObject({ kind: z.literal('korora/reinstatement'), version: z.literal(1), host: HostId, ledgerDigest: Sha256Hex, reason, by, notAfter });
export type Reinstatement = Readonly<z.infer<typeof Reinstatement>>;

export const SIGNED_BY_OPERATORS = {
  'korora/order': Order,
  'korora/start': StartOrder,
  'korora/approval': Approval,
  'korora/limits': LimitsChange,
  'korora/fence': Fence,
  'korora/reinstatement': Reinstatement,
} as const satisfies Partial<Record<SignedKind, z.ZodType>>;
