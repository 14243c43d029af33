/**
 * A worker on the queue of a host on which it does not run. Who gets the steps of a host, and what the workflow hears for an answer,
 * is whoever's who owns Temporal: this one gets all of them.
 */
import { NativeConnection, Worker } from '@temporalio/worker';
import { hostQueue } from '../../../domain/steps.js';
import type { Arena } from './arena.js';
import { movedByProduct } from './sessions.js';

/** By activity; one that has none fails. */
export type Answers = Readonly<Record<string, (argument: never) => unknown>>;

/** A whole move to host-b, whose own worker hears of nothing: every code of its refusal. */
export async function poachedMove(arena: Arena, answers: Answers): Promise<readonly string[]> {
  const { testbed, configs, orderTo } = arena;
  const { signed } = await orderTo('host-b');
  await testbed.hosts['host-b'].worker.stop();
  const connection = await NativeConnection.connect({ address: testbed.server.address });
  const activities = Object.fromEntries(Object.entries(answers).map(([name, answer]) => [name, async (argument: never) => answer(argument)]));
  const worker = await Worker.create({ connection, taskQueue: hostQueue(configs['host-b'].hostId), activities });
  const running = worker.run();
  try {
    return await movedByProduct(arena, signed);
  } finally {
    worker.shutdown();
    await running;
    await connection.close();
    await testbed.restartWorker('host-b');
  }
}
