/**
 * Somebody's word that a move which waits for it may go on to stop the source. It is recorded with the move. (Not
 * signed yet: whoever may update workflows may say it.)
 */
import { z } from 'zod';

export const Approval = z.strictObject({
  /** Who says it. */
  by: z.string().min(1).max(100),
  reason: z.string().min(1).max(500).optional(),
});
export type Approval = Readonly<z.infer<typeof Approval>>;

export const ApprovalRecord = z.strictObject({ by: z.string(), atMs: z.number(), reason: z.string().nullable() });
export type ApprovalRecord = Readonly<z.infer<typeof ApprovalRecord>>;
