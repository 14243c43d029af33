/** What clients may ask of a running move and tell it. */
import { defineQuery, defineUpdate } from '@temporalio/workflow';
import type { Fence } from '../domain/fence.js';
import type { CopyLimits } from '../domain/progress.js';
import type { MigrationStatus } from '../domain/status.js';

export const statusQuery = defineQuery<MigrationStatus>('status');

/** Taken until the source has stopped; then PAST_POINT_OF_NO_RETURN. Answers once the move is being undone. */
export const abortUpdate = defineUpdate<void, [{ readonly reason: string }]>('abort');

/** Taken while rounds run; else NOT_COPYING, LIMITS_INVALID. Members left out stay. Answers with the limits in force. */
export const setLimitsUpdate = defineUpdate<CopyLimits, [Partial<CopyLimits>]>('setLimits');

/** An operator says that a host is powered off. Taken only while the move waits for that host in vain; else NOTHING_TO_FENCE, FENCE_REFUSED. */
export const fenceUpdate = defineUpdate<void, [Fence]>('fence');
