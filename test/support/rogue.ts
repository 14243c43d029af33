/** Whoever owns Temporal and its workers: asks hosts for anything, with nothing but what such a one can have. */
import { fileURLToPath } from 'node:url';
import { NativeConnection, Worker } from '@temporalio/worker';
import { hostQueue } from '../../domain/steps.js';
import type { Testbed } from '../../infra/testbed/testbed.js';
import type { HostName } from '../e2e/support.js';
import type { RogueAnswer, RogueStep, rogue } from './rogue-workflow.js';

export interface Rogue {
  /** The answer; throws where it was refused. */
  ask<T>(host: HostName, activity: string, argument: unknown): Promise<T>;
  /** The code of the refusal; 'done' where there was none. */
  codeOf(host: HostName, activity: string, argument: unknown): Promise<string>;
  close(): Promise<void>;
}

export async function openRogue(testbed: Testbed): Promise<Rogue> {
  const connection = await NativeConnection.connect({ address: testbed.server.address });
  const taskQueue = 'rogue';
  const worker = await Worker.create({ connection, taskQueue, workflowsPath: fileURLToPath(new URL('./rogue-workflow.ts', import.meta.url)) });
  const running = worker.run();
  const answer = (host: HostName, activity: string, argument: unknown): Promise<RogueAnswer> => {
    const step: RogueStep = { taskQueue: hostQueue(testbed.hosts[host].config.hostId), activity, argument };
    return testbed.temporal.workflow.execute<typeof rogue>('rogue', { taskQueue, workflowId: `rogue-${crypto.randomUUID()}`, args: [step] });
  };
  return {
    async ask<T>(host: HostName, activity: string, argument: unknown) {
      const given = await answer(host, activity, argument);
      if ('code' in given) throw new Error(`${activity} on ${host}: ${given.code}: ${given.message}`);
      return given.value as T;
    },
    async codeOf(host, activity, argument) {
      const given = await answer(host, activity, argument);
      return 'code' in given ? given.code : 'done';
    },
    async close() {
      worker.shutdown();
      await running;
      await connection.close();
    },
  };
}
