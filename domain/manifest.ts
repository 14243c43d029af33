/**
 * What ends a stream, what the destination answers, and what an owner says of itself. The states and messages are this
 * project's own design (docs/theory-of-operation.md).
 */
import { z } from 'zod';
import { Epoch, HostId, MigrationId, Sha256Hex, VmId } from './ids.js';
import { SignedAttestation } from './attestation.js';

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
});
export type Manifest = Readonly<z.infer<typeof Manifest>>;

export const VERDICTS = ['accepted', 'rejected'] as const;

/** The destination's durable decision on one migration. */
export const Verdict = z.strictObject({
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
});
export type Verdict = Readonly<z.infer<typeof Verdict>>;

/**
 * A verdict that may travel through untrusted hands: a quote by the destination's AK whose
 * qualifying data is SHA-256 of the verdict's canonical form.
 */
export const VerdictStatement = z.strictObject({ verdict: Verdict, quote: SignedAttestation });
export type VerdictStatement = Readonly<z.infer<typeof VerdictStatement>>;

/** An owner's word that it owns the VM: what ends the record of a fenced host that comes back. */
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

/** As VerdictStatement, by the AK of the claiming host. */
export const ClaimStatement = z.strictObject({ claim: Claim, quote: SignedAttestation });
export type ClaimStatement = Readonly<z.infer<typeof ClaimStatement>>;
