/** The control worker: workflows, and the activities that touch no host. Trusted for availability only. */
import { fileURLToPath } from 'node:url';
import { Worker } from '@temporalio/worker';
import { type ControlActivities, createControlActivities } from '../activities/index.js';
import { forWorkflows } from '../temporal/payload-codec.js';
import { keepFilesPrivate } from './privacy.js';
import { connectWorker, runWorker } from './temporal.js';

export interface ControlOptions {
  readonly taskQueue: string;
  readonly evidenceDir: string;
}

/** `wrap` stands around the activities: for whoever starts a worker from a program, as HostWrapper does. */
export async function runControlWorker({ taskQueue, evidenceDir }: ControlOptions, wrap?: (built: ControlActivities) => ControlActivities): Promise<void> {
  keepFilesPrivate();
  const activities = createControlActivities({ evidenceDir });
  const place = await connectWorker();
  const { dataConverter } = place;
  const worker = await Worker.create({
    ...place,
    dataConverter: { ...dataConverter, payloadCodecs: dataConverter.payloadCodecs?.map(forWorkflows) ?? [] },
    taskQueue,
    // Made by the build: bundling at every start takes seconds.
    workflowBundle: { codePath: fileURLToPath(new URL('../workflows/bundle.js', import.meta.url)) },
    activities: wrap?.(activities) ?? activities,
    shutdownGraceTime: '10 s',
  });
  await runWorker(worker, place, `korora control worker ready on queue ${taskQueue}`);
}
