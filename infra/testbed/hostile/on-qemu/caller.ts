/** Whoever owns Temporal: calls activities of hosts through it, with workers of his own. */
import { fileURLToPath } from 'node:url';
import { NativeConnection, Worker } from '@temporalio/worker';
import { hostQueue } from '../../../../domain/steps.js';
import type { Testbed } from '../../testbed.js';
import type { HostName } from '../../faults/move.js';
import type { HostCall, HostReply, callHosts } from './calls-workflow.js';

export interface Asked {
  readonly host: HostName;
  readonly activity: string;
  readonly argument: unknown;
  readonly cancelAfterMs?: number;
}

export interface Caller {
  /** All at once; a reply for each. */
  call(asked: readonly Asked[]): Promise<readonly HostReply[]>;
  close(): Promise<void>;
}

/** By whose type its histories are told from those of honest people. */
export const CALLS = 'callHosts';

/** The workflow beside this file, also where it runs from source under the test runner. */
const WORKFLOW = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './calls-workflow.ts' : './calls-workflow.js', import.meta.url));

export async function openCaller({ server, temporal }: Pick<Testbed, 'server' | 'temporal'>): Promise<Caller> {
  const connection = await NativeConnection.connect({ address: server.address });
  const taskQueue = 'hostile';
  const worker = await Worker.create({ connection, taskQueue, workflowsPath: WORKFLOW });
  const running = worker.run();
  return {
    call(asked) {
      const calls = asked.map(({ host, activity, argument, cancelAfterMs = 0 }): HostCall => ({ taskQueue: hostQueue(host), activity, argument, cancelAfterMs }));
      return temporal.workflow.execute<typeof callHosts>(CALLS, { taskQueue, workflowId: `hostile-${crypto.randomUUID()}`, args: [calls] });
    },
    async close() {
      worker.shutdown();
      await running;
      await connection.close();
    },
  };
}
