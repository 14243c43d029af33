/** The boot event log of this host, for people who ask why its PCRs have other values. */
import type { HostServices } from './services.js';

/** Base64; null also where it cannot be read: no move may depend on it. */
export async function shownEventLog({ eventLog }: HostServices): Promise<string | null> {
  const log = await eventLog().catch(() => null);
  return log?.toString('base64') ?? null;
}
