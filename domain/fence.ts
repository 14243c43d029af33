/**
 * An operator's word that a host is powered off and runs no VM: the only thing beside its own answer that ends the
 * wait for it. It is recorded with the move. (Not signed yet: whoever may update workflows may say it.)
 */
import { z } from 'zod';
import { HostId } from './ids.js';

export const Fence = z.strictObject({
  host: HostId,
  /** Who says it. */
  by: z.string().min(1).max(100),
  reason: z.string().min(1).max(500),
});
export type Fence = Readonly<z.infer<typeof Fence>>;

export const FenceRecord = Fence.extend({ atMs: z.number() });
export type FenceRecord = Readonly<z.infer<typeof FenceRecord>>;
