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

/** For whoever starts a worker from a program, as HostWrapper; no command, file or environment reaches it. */
export interface ControlWrapper {
  readonly activities?: (built: ControlActivities) => ControlActivities;
  /** Path of other workflow code than that of the build. */
  readonly workflowBundle?: string;
}

export async function runControlWorker({ taskQueue, evidenceDir }: ControlOptions, wrapper: ControlWrapper = {}): Promise<void> {
  keepFilesPrivate();
  const activities = createControlActivities({ evidenceDir });
  const place = await connectWorker();
  const { dataConverter } = place;
  const worker = await Worker.create({
    ...place,
    dataConverter: { ...dataConverter, payloadCodecs: dataConverter.payloadCodecs?.map(forWorkflows) ?? [] },
    taskQueue,
    // Made by the build: bundling at every start takes seconds.
    workflowBundle: { codePath: wrapper.workflowBundle ?? fileURLToPath(new URL('../workflows/bundle.js', import.meta.url)) },
    activities: wrapper.activities?.(activities) ?? activities,
    shutdownGraceTime: '10 s',
  });
  await runWorker(worker, place, `korora control worker ready on queue ${taskQueue}`);
}
