/**
 * workflows/saga.ts in small workflows on a real server: undos run last in first out, each is waited for, one that fails does not stop the
 * rest, each runs once, and a cancelled workflow unwinds to its end. What the product's workflows make of it is in steps.test.ts.
 */
import { fileURLToPath } from 'node:url';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, type InjectedSinks, Worker, bundleWorkflowCode } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { quietRuntime } from './quiet-runtime.js';
import type { Telling, isCancelled, unwinds, waitsForEach } from './saga-workflows.js';
import { seen } from './waits.js';

const QUEUE = 'saga';
/** What each workflow told, by its name. */
const heard = new Map<string, string[]>();
let env: TestWorkflowEnvironment;
let worker: Worker;
let running: Promise<void>;

beforeAll(async () => {
  quietRuntime();
  env = await TestWorkflowEnvironment.createFromExistingServer({ address: inject('temporalAddress') });
  const workflowsPath = fileURLToPath(new URL('./saga-workflows.ts', import.meta.url));
  const sinks: InjectedSinks<Telling> = { told: { tell: { fn: ({ workflowType }, text) => void heard.set(workflowType, [...(heard.get(workflowType) ?? []), text]) } } };
  worker = await Worker.create({ connection: env.nativeConnection, taskQueue: QUEUE, workflowBundle: await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('ERROR') }), sinks });
  running = worker.run();
});

afterAll(async () => {
  worker.shutdown();
  await running;
  await env.teardown();
});

const start = <W extends () => Promise<void>>(name: string) => env.client.workflow.start<W>(name, { taskQueue: QUEUE, workflowId: name, args: [] as never });

describe.concurrent('a saga', () => {
  it('undoes last in first out, goes on past an undo that fails, says which failed, and undoes once', async () => {
    await (await start<typeof unwinds>('unwinds')).result();
    expect(heard.get('unwinds')).toEqual(['undo third', 'undo second', 'undo first', 'undone first', 'failed: third (third is stuck), second (second is stuck)', 'again, failed: ']);
  });

  it('waits for each undo before the next', async () => {
    await (await start<typeof waitsForEach>('waitsForEach')).result();
    expect(heard.get('waitsForEach')).toEqual(['undo second', 'undone second', 'undo first', 'failed: ']);
  });

  it('unwinds to its end in a workflow that is cancelled', async () => {
    const handle = await start<typeof isCancelled>('isCancelled');
    await seen('the workflow to wait', () => heard.get('isCancelled'), (told) => told?.includes('waits') ?? false);
    await handle.cancel();
    await handle.result();
    expect(heard.get('isCancelled')).toEqual(['waits', 'cancelled: true', 'undo slow', 'undone slow', 'undo first', 'failed: ', 'afterwards: cancelled']);
  });
});
