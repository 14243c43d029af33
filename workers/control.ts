/** The control worker: workflows, and the activities that touch no host. Trusted for availability only. */
import { fileURLToPath } from 'node:url';
import { Worker } from '@temporalio/worker';
import { createControlActivities } from '../activities/index.js';
import { connectWorker, runWorker } from './temporal.js';

export interface ControlOptions {
  readonly taskQueue: string;
  readonly evidenceDir: string;
}

export async function runControlWorker({ taskQueue, evidenceDir }: ControlOptions): Promise<void> {
  const place = await connectWorker();
  const worker = await Worker.create({
    ...place,
    taskQueue,
    workflowsPath: fileURLToPath(new URL('../workflows/index.js', import.meta.url)),
    activities: createControlActivities({ evidenceDir }),
    shutdownGraceTime: '10 s',
  });
  await runWorker(worker, place, `korora control worker ready on queue ${taskQueue}`);
}
