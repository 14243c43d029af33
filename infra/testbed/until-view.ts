/** Waiting for what a running move says of itself. */
import { inspect } from 'node:util';
import type { MigrationView } from '../../client/index.js';
import { MOVE_LIMIT_MS } from './end-of-move.js';
import type { Testbed } from './testbed.js';
import { until } from './until.js';

/** The first view of the move that `isTrue`; rejects where the move ends before, or comes to no such view in time. */
export async function untilView({ client }: Pick<Testbed, 'client'>, vmId: string, runId: string | undefined, what: string, isTrue: (view: MigrationView) => boolean): Promise<MigrationView> {
  const views = client.watch(vmId, runId);
  let last: MigrationView | undefined;
  const next = async () => {
    const { value, done } = await views.next();
    if (done) throw new Error(`the move of ${vmId} ended before ${what}: ${inspect(last, { depth: 6, breakLength: Infinity })}`);
    return (last = value);
  };
  try {
    return await until(what, next, isTrue, { limitMs: MOVE_LIMIT_MS, everyMs: 0 });
  } finally {
    void views.return(undefined).catch(() => undefined); // it is not waited for: where nothing changes any more, it comes to no end
  }
}
