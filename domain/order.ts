/**
 * An order: move this VM, from here, to there, under this bundle, until then. Validated here;
 * issuing and verifying a signature around it is the seam `openOrder` in activities/admission.ts.
 */
import { z } from 'zod';
import { HostId, MigrationId, Sha256Hex, VmId } from './ids.js';
import { CopyLimits } from './progress.js';

export const Order = z.strictObject({
  kind: z.literal('korora/order'),
  version: z.literal(1),
  migrationId: MigrationId,
  vmId: VmId,
  /** Digest of the VM document that is to move. */
  vmDigest: Sha256Hex,
  source: HostId,
  destination: HostId,
  /** Digest of the trust bundle that both hosts must have installed. */
  bundleDigest: Sha256Hex,
  limits: CopyLimits,
  /** The copy is held, the guest running, until somebody approves the move. Orders from before this member ask for none. */
  requiresApproval: z.boolean().default(false),
  /** ISO 8601, UTC. */
  notAfter: z.iso.datetime(),
});
export type Order = Readonly<z.infer<typeof Order>>;
