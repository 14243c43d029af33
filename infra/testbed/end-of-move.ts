/** The end of a move, waited for no longer than a limit; past it, with where the move is. */
import { inspect } from 'node:util';
import type { KororaClient } from '../../client/index.js';
import type { MigrationResult } from '../../domain/status.js';
import { answered } from './until.js';

/** Shorter than an end-to-end test may take, longer than any move in them that ends. */
export const MOVE_LIMIT_MS = 200_000;

/** As `client.result`. */
export function endOfMove(client: KororaClient, vmId: string, runId: string, limitMs = MOVE_LIMIT_MS): Promise<MigrationResult> {
  return answered(`the end of the move of ${vmId}`, client.result(vmId, runId), { limitMs, tell: () => statusText(client, vmId) });
}

export async function statusText(client: KororaClient, vmId: string): Promise<string> {
  return inspect(await client.status(vmId), { depth: 6, breakLength: Infinity });
}
