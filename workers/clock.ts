/**
 * What time it is at the least, for whether an order has ended. A host's own clock can be set back; three others cannot be, by whoever does that: this
 * process's, since it started; the TPM's, which counts the time that it was powered, since the last start (TPM2_ReadClock, Part 3 §29.1); and, for each
 * activity, when Temporal scheduled it (activities/time.ts). The latest counts: a clock that runs ahead refuses orders, and lets none through.
 */
import { z } from 'zod';
import type { Clock } from '../activities/services.js';
import { parseDocumentOf, parseJson } from '../domain/documents.js';
import { refuse } from '../domain/failures.js';
import type { HostAccess } from '../host/port.js';
import type { HostTpm } from '../tpm/port.js';

const Anchor = z.strictObject({ version: z.literal(1), atMs: z.number().min(0), tpmClockMs: z.int().min(0) });

interface ClockParts {
  readonly access: HostAccess;
  readonly tpm: Pick<HostTpm, 'readClock'>;
  /** Where the last start wrote what time it was by both. */
  readonly file: string;
  /** Of the host and of the process; for tests. */
  readonly hostMs?: () => number;
  readonly processMs?: () => number;
}

/** HOST_CONFIG_INVALID; TPM_UNREACHABLE, TPM_COMMAND_FAILED. */
export async function startClock({ access, tpm, file, hostMs = () => Date.now(), processMs = () => performance.now() }: ClockParts): Promise<Clock> {
  const content = await access.readFile(file);
  const tpmClockMs = await tpm.readClock();
  const anchor = content && parseDocumentOf(Anchor, parseJson(content.toString('utf8'), (problem, cause) => refuse('HOST_CONFIG_INVALID', { file, problem }, cause)), 'HOST_CONFIG_INVALID', { file });
  // A TPM that was cleared begins at 0 again, and says nothing of the time before.
  const passedMs = anchor ? Math.max(0, tpmClockMs - anchor.tpmClockMs) : 0;
  const floorMs = Math.max(hostMs(), anchor ? anchor.atMs + passedMs : 0);
  await access.writeFileDurably(file, `${JSON.stringify({ version: 1, atMs: floorMs, tpmClockMs } satisfies z.input<typeof Anchor>)}\n`);
  const startedMs = processMs();
  return { now: () => Math.max(hostMs(), floorMs + processMs() - startedMs) };
}
