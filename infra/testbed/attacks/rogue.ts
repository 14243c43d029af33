/** Whoever owns Temporal and its workers: asks hosts for anything, with nothing but what such a one can have. */
import { fileURLToPath } from 'node:url';
import { NativeConnection, Worker } from '@temporalio/worker';
import { HostId } from '../../../domain/ids.js';
import { hostQueue } from '../../../domain/steps.js';
import type { Testbed } from '../testbed.js';
import type { RogueAnswer, RogueStep, rogue } from './rogue-workflow.js';

export interface Rogue {
  /** The answer; throws where it was refused. */
  ask<T>(host: string, activity: string, argument: unknown): Promise<T>;
  /** The first code of the refusal; 'done' where there was none. */
  codeOf(host: string, activity: string, argument: unknown): Promise<string>;
  /** Every code of the refusal; none where there was none. */
  codesOf(host: string, activity: string, argument: unknown): Promise<readonly string[]>;
  close(): Promise<void>;
}

/** The workflow beside this file, also where it runs from source under the test runner. */
const WORKFLOW = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './rogue-workflow.ts' : './rogue-workflow.js', import.meta.url));

export async function openRogue(testbed: Pick<Testbed, 'server' | 'temporal'>): Promise<Rogue> {
  const connection = await NativeConnection.connect({ address: testbed.server.address });
  const taskQueue = 'rogue';
  const worker = await Worker.create({ connection, taskQueue, workflowsPath: WORKFLOW });
  const running = worker.run();
  const answer = (host: string, activity: string, argument: unknown): Promise<RogueAnswer> => {
    const step: RogueStep = { taskQueue: hostQueue(HostId.parse(host)), activity, argument };
    return testbed.temporal.workflow.execute<typeof rogue>('rogue', { taskQueue, workflowId: `rogue-${crypto.randomUUID()}`, args: [step] });
  };
  return {
    async ask<T>(host: string, activity: string, argument: unknown) {
      const given = await answer(host, activity, argument);
      if ('codes' in given) throw new Error(`${activity} on ${host}: ${given.message}`);
      return given.value as T;
    },
    async codeOf(host, activity, argument) {
      const given = await answer(host, activity, argument);
      return 'codes' in given ? (given.codes[0] ?? '') : 'done';
    },
    async codesOf(host, activity, argument) {
      const given = await answer(host, activity, argument);
      return 'codes' in given ? given.codes : [];
    },
    async close() {
      worker.shutdown();
      await running;
      await connection.close();
    },
  };
}
