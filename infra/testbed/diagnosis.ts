/**
 * What a testbed looked like when something went wrong: the workflows that still run, with what
 * each of their activities waits for, and the end of every log. For people; its text is no interface.
 */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { problemOf } from '../../domain/failures.js';

const LOG_LINES = 15;

export async function diagnose({ root, temporal }: { readonly root: string; readonly temporal: Client }): Promise<string> {
  const runs = await openRuns(temporal).catch((error: unknown) => [`Temporal does not answer: ${problemOf(error instanceof Error ? (error.cause ?? error) : error)}`]);
  return [...runs, ...(await logEnds(root))].join('\n');
}

async function openRuns(temporal: Client): Promise<string[]> {
  const lines: string[] = [];
  for await (const { workflowId, runId } of temporal.workflow.list({ query: 'ExecutionStatus="Running"' })) {
    const handle = temporal.workflow.getHandle(workflowId, runId);
    const { raw } = await handle.describe();
    const status: unknown = await handle.query('status').catch((error: unknown) => String(error));
    lines.push(`== ${workflowId} runs; status ${JSON.stringify(status)}`);
    for (const { activityType, attempt, state, lastFailure, lastHeartbeatTime, lastWorkerIdentity } of raw.pendingActivities ?? []) {
      lines.push(`   ${JSON.stringify({ activity: activityType?.name, attempt, state, lastFailure: lastFailure?.message, lastHeartbeatTime, lastWorkerIdentity })}`);
    }
  }
  return lines.length > 0 ? lines : ['== no workflow runs'];
}

async function logEnds(root: string): Promise<string[]> {
  const names = (await readdir(root, { recursive: true })).filter((name) => name.endsWith('.log'));
  names.sort((a, b) => Number(b.endsWith('temporal.log')) - Number(a.endsWith('temporal.log'))); // what the others say follows from its end
  const ends = names.map(async (name) => {
    const text = await readFile(join(root, name), 'latin1').catch(() => '');
    return `== ${name}\n${text.trim().split('\n').slice(-LOG_LINES).join('\n')}`;
  });
  return Promise.all(ends);
}
