/**
 * Watching a move: the workflow's `status` query for the phase, the heartbeat of the running
 * copyMemory activity for its numbers. Polls, since neither is pushed by Temporal.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Client, WorkflowHandle } from '@temporalio/client';
import type { CopyProgress } from '../domain/progress.js';
import type { MigrationStatus } from '../domain/status.js';
import type { secureMigration } from '../workflows/index.js';
import { fromTemporal } from './errors.js';

export interface MigrationView {
  readonly status: MigrationStatus;
  /** Of the running copy; null outside of it. */
  readonly progress: CopyProgress | null;
  /** True for the last view: the move has ended, and `result` has its outcome. */
  readonly hasEnded: boolean;
}

const POLL_MS = 250;

export async function* watchMigration(client: Client, handle: WorkflowHandle<typeof secureMigration>, vmId: string): AsyncGenerator<MigrationView> {
  let last = '';
  for (;;) {
    const view = await look(client, handle, vmId);
    const text = JSON.stringify(view);
    if (text !== last) yield view;
    if (view.hasEnded) return;
    last = text;
    await delay(POLL_MS);
  }
}

async function look(client: Client, handle: WorkflowHandle<typeof secureMigration>, vmId: string): Promise<MigrationView> {
  try {
    const description = await handle.describe();
    const status = await handle.query<MigrationStatus, []>('status');
    return { status, progress: await progressIn(client, handle.workflowId, description.raw.pendingActivities ?? []), hasEnded: description.status.name !== 'RUNNING' };
  } catch (error) {
    throw fromTemporal(error, vmId);
  }
}

type PendingActivity = NonNullable<Awaited<ReturnType<WorkflowHandle['describe']>>['raw']['pendingActivities']>[number];

/** The SDK hands out the heartbeat as it is on the wire. */
async function progressIn({ options }: Client, workflowId: string, pending: readonly PendingActivity[]): Promise<CopyProgress | null> {
  const copying = pending.find((activity) => activity.activityType?.name === 'copyMemory');
  let payloads = copying?.heartbeatDetails?.payloads ?? [];
  const { payloadCodecs, payloadConverter } = options.loadedDataConverter;
  const context = { type: 'workflow', namespace: options.namespace, workflowId } as const;
  for (const codec of payloadCodecs.toReversed()) payloads = await codec.decode(payloads, context);
  const [payload] = payloads;
  return payload ? (payloadConverter.fromPayload<{ readonly progress: CopyProgress | null } | undefined>(payload)?.progress ?? null) : null;
}
