/** Sessions of a host worker that end at a signal as they do at their limit (activities/session.ts): ten minutes that nobody sits out. */
import { refuse } from '../../../domain/failures.js';
import type { MigrationId } from '../../../domain/ids.js';
import type { HostParts } from '../../../workers/host.js';

export const SESSION_LIMIT_SIGNAL = 'SIGALRM';

/** Only while nothing of a move is in hand: a copy that runs would end with its session, and not at the limit. */
export function endedBySignal(parts: HostParts): HostParts {
  const { hostId, sessions } = parts;
  const opened = new Set<MigrationId>();
  process.on(SESSION_LIMIT_SIGNAL, () => {
    for (const migrationId of opened) void sessions.close(migrationId, refuse('SESSION_LOST', { host: hostId })).catch(() => undefined);
    opened.clear();
  });
  return {
    ...parts,
    sessions: {
      ...sessions,
      open(key, make) {
        opened.add(key.migrationId);
        return sessions.open(key, make);
      },
    },
  };
}
