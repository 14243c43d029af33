/** What every scenario needs on the screen: what happens, and each thing that must be so. */
import { createViewPrinter } from '../../cli/follow.js';
import { renderFailures, renderResult } from '../../cli/render.js';
import type { Screen } from '../../cli/terminal.js';
import { MigrationFailedError, type OrderRequest } from '../../client/index.js';
import type { MigrationView } from '../../client/index.js';
import type { FailureCode } from '../../domain/failures.js';
import type { MigrationResult } from '../../domain/status.js';
import type { Testbed } from './testbed.js';

export interface Stage {
  say(text: string): void;
  /** Prints ✓ or ✗; throws where it is not so. */
  check(what: string, isTrue: boolean): void;
  /** Orders the move and prints it live; gives how it ended. */
  move(testbed: Testbed, request: OrderRequest, onView?: (view: MigrationView) => Promise<void>): Promise<MoveEnd>;
}

export interface MoveEnd {
  readonly result: MigrationResult;
  readonly codes: readonly FailureCode[];
  readonly runUrl: string;
}

export function createStage(screen: Screen): Stage {
  const say = (text: string) => screen.line(text);
  return {
    say,
    check(what, isTrue) {
      screen.line(`${isTrue ? '✓' : '✗'} ${what}`);
      if (!isTrue) throw new Error(`not so: ${what}`);
    },
    async move(testbed, request, onView) {
      const { client, server } = testbed;
      const started = await client.migrate(request);
      const runUrl = `${server.uiUrl}/namespaces/default/workflows/${started.workflowId}/${started.runId}/history`;
      say(`\nkorora migrate ${request.vmId} --to ${request.destination}   (move ${started.migrationId})`);
      const print = createViewPrinter(screen);
      for await (const view of client.watch(request.vmId, started.runId)) {
        print(view);
        await onView?.(view);
      }
      try {
        const result = await client.result(request.vmId, started.runId);
        say(renderResult(result));
        return { result, codes: [], runUrl };
      } catch (error) {
        if (!(error instanceof MigrationFailedError) || !error.result) throw error;
        say(renderFailures(error.failures));
        say(renderResult(error.result));
        return { result: error.result, codes: error.failures.map((f) => f.code), runUrl };
      }
    },
  };
}
