/** Waiting for what a running move says of itself. */
import type { MigrationView } from '../../../client/index.js';
import type { Testbed } from '../testbed.js';

const LIMIT_MS = 180_000;

/** The first view that is so. Where none is in time, or the move ends before, it says what was seen last. */
export async function untilView({ client }: Testbed, vmId: string, runId: string, what: string, isSo: (view: MigrationView) => boolean): Promise<MigrationView> {
  let last: MigrationView | null = null;
  const lastSeen = () => JSON.stringify(last);
  const looking = (async () => {
    for await (const view of client.watch(vmId, runId)) {
      last = view;
      if (isSo(view)) return view;
    }
    throw new Error(`the move ended before ${what}; last seen: ${lastSeen()}`);
  })();
  looking.catch(() => undefined); // it may end when nobody waits for it any more
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} in ${LIMIT_MS / 1000} s; last seen: ${lastSeen()}`)), LIMIT_MS);
  });
  return Promise.race([looking, late]).finally(() => clearTimeout(timer));
}
