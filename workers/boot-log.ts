/** The boot event log of a host: where it is, and what it says. */
import { type BootLog, EVENT_LOG_BYTES_MAX } from '../domain/boot-events.js';
import { problemOf, refuse } from '../domain/failures.js';
import type { HostAccess } from '../host/port.js';
import { parseEventLog } from '../tpm/event-log.js';
import type { HostConfig } from './config.js';

const OF_LINUX = '/sys/kernel/security/tpm0/binary_bios_measurements';

/** Null where there is none. HOST_COMMAND_FAILED. */
export async function readEventLog(access: HostAccess, { eventLog, tcti }: Pick<HostConfig, 'eventLog' | 'tcti'>): Promise<Buffer | null> {
  const file = eventLog === undefined && tcti.startsWith('device:') ? OF_LINUX : (eventLog ?? null);
  return file === null ? null : access.readFile(file, EVENT_LOG_BYTES_MAX);
}

/** EVENT_LOG_INVALID. */
export function bootLogIn(eventLog: Buffer, host: string): BootLog {
  try {
    return parseEventLog(eventLog);
  } catch (error) {
    throw unusable(host, error);
  }
}

export function unusable(host: string, error: unknown): Error {
  return refuse('EVENT_LOG_INVALID', { host, problem: problemOf(error) }, error);
}
