/**
 * What ends a stream, what the destination answers, and what an owner says of itself. The states and messages are this
 * project's own design (docs/theory-of-operation.md).
 */
import { z } from 'zod';
import { Epoch, HostId, MigrationId, Role, Sha256Hex, VmId } from './ids.js';
import { SignedAttestation } from './attestation.js';
import { OperatorEnvelope } from './envelope.js';

/** Sent on the channel after the last byte of the image. */
export const Manifest = z.strictObject({
  protocol: z.literal('korora/1'),
  migrationId: MigrationId,
  vmId: VmId,
  /** The epoch that the destination will own: the source's plus one. */
  epoch: Epoch,
  streamBytes: z.int().min(0),
  streamSha256: Sha256Hex,
  /** SHA-256 of the vTPM's EK certificates: which vTPM this image contains. */
  vtpmIdentity: Sha256Hex,
  /** Digest of the verdict by which the source came to own the VM; null where it was created there, or taken back by a fence. */
  previousVerdict: Sha256Hex.nullable(),
});
export type Manifest = Readonly<z.infer<typeof Manifest>>;

export const VERDICTS = ['accepted', 'rejected'] as const;

/** The destination's durable decision on one migration. An acceptance names its manifest; a rejection, its reason. */
export const Verdict = z
  .strictObject({
    protocol: z.literal('korora/1'),
    purpose: z.literal('verdict'),
    verdict: z.enum(VERDICTS),
    migrationId: MigrationId,
    vmId: VmId,
    destination: HostId,
    epoch: Epoch,
    /** Of the manifest that was accepted; null for a rejection. */
    manifestDigest: Sha256Hex.nullable(),
    /** Why it was rejected: a failure code and text; null when accepted. */
    reason: z.string().max(2000).nullable(),
  })
  .refine((v) => (v.verdict === 'accepted') === (v.manifestDigest !== null), 'an acceptance names its manifest, a rejection none')
  .refine((v) => (v.verdict === 'rejected') === (v.reason !== null), 'a rejection has a reason, an acceptance none');
export type Verdict = Readonly<z.infer<typeof Verdict>>;

/** Of `destination` on the migration that would make `epoch` there. */
export function verdictOf(move: Pick<Verdict, 'migrationId' | 'vmId' | 'destination' | 'epoch'>, decision: Pick<Verdict, 'verdict' | 'manifestDigest' | 'reason'>): Verdict {
  const { migrationId, vmId, destination, epoch } = move;
  return { protocol: 'korora/1', purpose: 'verdict', migrationId, vmId, destination, epoch, ...decision };
}

/**
 * A verdict that may travel through untrusted hands: a quote by the destination's AK whose
 * qualifying data is SHA-256 of the verdict's canonical form.
 */
export const VerdictStatement = z.strictObject({ verdict: Verdict, quote: SignedAttestation });
export type VerdictStatement = Readonly<z.infer<typeof VerdictStatement>>;

/**
 * What a host says of a move that succeeded, when it is over there: the source, once it gave the VM up by the verdict; the
 * destination, once the VM runs. The verdict names the manifest, and the manifest the verdict of the move before: a VM's moves are a chain.
 */
export const Receipt = z.strictObject({
  protocol: z.literal('korora/1'),
  purpose: z.literal('receipt'),
  role: Role,
  hostId: HostId,
  migrationId: MigrationId,
  vmId: VmId,
  /** That the destination owns. */
  epoch: Epoch,
  orderDigest: Sha256Hex,
  /** Of the accepted verdict. */
  verdictDigest: Sha256Hex,
  /** Of what it saw: {role, rounds, timings, digests of approval and limitsChanges} of the source, {role, timings} of the destination, as the evidence file has them. */
  observedDigest: Sha256Hex,
});
export type Receipt = Readonly<z.infer<typeof Receipt>>;

/** As VerdictStatement, by the AK of the host that gives the receipt. */
export const ReceiptStatement = z.strictObject({ receipt: Receipt, quote: SignedAttestation });
export type ReceiptStatement = Readonly<z.infer<typeof ReceiptStatement>>;

/**
 * What a host says of a migration towards it that it no longer knows: that it owned the epoch which that would have made, or a later one. It says
 * nothing of how it came to own it, so it is no verdict, and brings no evidence of a move.
 */
export const Succession = z.strictObject({
  protocol: z.literal('korora/1'),
  purpose: z.literal('succession'),
  vmId: VmId,
  hostId: HostId,
  /** That was asked about. */
  migrationId: MigrationId,
  /** The highest that it owned. */
  ownedEpoch: Epoch,
});
export type Succession = Readonly<z.infer<typeof Succession>>;

/** As VerdictStatement, by the AK of that host. */
export const SuccessionStatement = z.strictObject({ succession: Succession, quote: SignedAttestation });
export type SuccessionStatement = Readonly<z.infer<typeof SuccessionStatement>>;

/** A host's word that it owned the VM at an epoch, by a move that an operator ordered or by a fence: what ends the record of a host that has an earlier one. */
export const Claim = z.strictObject({
  protocol: z.literal('korora/1'),
  purpose: z.literal('claim'),
  vmId: VmId,
  hostId: HostId,
  epoch: Epoch,
  /** The settled move by which it came to own this epoch. */
  migrationId: MigrationId,
});
export type Claim = Readonly<z.infer<typeof Claim>>;

/** As VerdictStatement, by the AK of the claiming host. `authority`, signed: the korora/order or the korora/fence that makes it true. */
export const ClaimStatement = z.strictObject({ claim: Claim, quote: SignedAttestation, authority: OperatorEnvelope });
export type ClaimStatement = Readonly<z.infer<typeof ClaimStatement>>;
