/** What clients may ask of a running move and tell it. */
import { defineQuery, defineUpdate } from '@temporalio/workflow';
import type { Envelope } from '../domain/envelope.js';
import type { CopyLimits } from '../domain/progress.js';
import type { Hold, MigrationStatus } from '../domain/status.js';

export const statusQuery = defineQuery<MigrationStatus>('status');

/** Taken until the source has stopped; then PAST_POINT_OF_NO_RETURN. Answers once the move is being undone. */
export const abortUpdate = defineUpdate<void, [{ readonly reason: string }]>('abort');

/** Signed: korora/limits. Taken while rounds run; else NOT_COPYING, LIMITS_INVALID. Answers with the limits in force. */
export const setLimitsUpdate = defineUpdate<CopyLimits, [Envelope]>('setLimits');

/** Signed: korora/fence. Taken only while the move waits for that host in vain; else NOTHING_TO_FENCE, FENCE_REFUSED. */
export const fenceUpdate = defineUpdate<void, [Envelope]>('fence');

/** Signed: korora/approval. Lets a move that was ordered with approval go on. Taken only while it waits for that; else NOTHING_TO_APPROVE. */
export const approveUpdate = defineUpdate<void, [Envelope]>('approve');

/**
 * Holds the copy, the guest running on, or lets it go on. Taken while rounds run; else NOT_COPYING. Answers with whether the
 * copy is held now, which it still is while it waits for an approval, and whether that is certain.
 */
export const setHeldUpdate = defineUpdate<Hold, [{ readonly isHeld: boolean }]>('setHeld');
