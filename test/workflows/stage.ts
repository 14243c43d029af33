/**
 * Workers of one test file on the suite's server: the real workflow bundle, with the short waits of infra/testbed/quick-limits.ts,
 * on activities that are made up. Nothing here has a TPM, a hypervisor or a channel: what this suite shows is what the workflows make
 * of what hosts answer, and no claim about real parts rests on it.
 *
 * All cases of a file share two hosts and their queues. A call is told apart by its workflow, for which a test says who answers.
 */
import { fileURLToPath } from 'node:url';
import { Context } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker, type WorkerOptions } from '@temporalio/worker';
import { afterAll, beforeAll, inject } from 'vitest';
import { type ControlActivities, type HostActivities, createControlActivities, createHostActivities } from '../../activities/index.js';
import type { HostServices } from '../../activities/services.js';
import { HostId } from '../../domain/ids.js';
import { type Settleable, settleable } from '../../domain/settleable.js';
import { hostQueue } from '../../domain/steps.js';
import { readDataConverter } from '../../temporal/data-converter.js';
import { forWorkflows } from '../../temporal/payload-codec.js';
import { quietRuntime } from './quiet-runtime.js';
import { inTime } from './waits.js';

export type Place = 'source' | 'destination' | 'control';
export type Activities = HostActivities & ControlActivities;
export type ActivityName = keyof Activities;

/** One try of one activity. */
export interface Call {
  readonly on: Place;
  readonly activity: ActivityName;
  /** Of the activity, the same at each try. */
  readonly id: string;
  readonly argument: unknown;
  readonly context: Context;
}
export type Answers = (call: Call) => Promise<unknown>;

/** Only listed here, never called: the parts of a host are not needed. */
const HOST_ACTIVITIES = Object.keys(createHostActivities({} as HostServices));
const CONTROL_ACTIVITIES = Object.keys(createControlActivities({ evidenceDir: 'none' }));
const CODE_PATH = fileURLToPath(new URL('../../dist/infra/testbed/quick-workflows.js', import.meta.url));
/** As of a host worker: how soon a cancellation comes. */
const HEARTBEAT_THROTTLE = '200 ms';

export interface Stage {
  readonly source: HostId;
  readonly destination: HostId;
  readonly controlQueue: string;
  readonly client: Client;
  /** Says who answers the activities of a workflow, before it is started. */
  answer(workflowId: string, answers: Answers): void;
  /**
   * Starts it once the one before has come to its first activity, or its end. The first task of a workflow loads the whole bundle, and keeps the one thread that
   * runs workflows from all others: many at once would leave the hosts of those waiting for longer than a host may be silent.
   */
  startInTurn<H extends { result(): Promise<unknown> }>(workflowId: string, start: () => Promise<H>): Promise<H>;
}

/** Call at the top of a test file, whose name it is; the parts are there once its tests run. */
export function openStage(name: string): Stage {
  const answering = new Map<string, Answers>();
  const source = HostId.parse(`${name}-a`);
  const destination = HostId.parse(`${name}-b`);
  const controlQueue = `control-${name}`;
  const underWay = new Map<string, Settleable<void>>();
  let turn: Promise<unknown> = Promise.resolve();
  let env: TestWorkflowEnvironment;
  const workers: Worker[] = [];
  let running: Promise<unknown>;

  const called = (on: Place, activity: string) => async (argument: unknown) => {
    const context = Context.current();
    const { workflowExecution, activityId } = context.info;
    const workflowId = workflowExecution?.workflowId ?? '';
    const answers = answering.get(workflowId);
    underWay.get(workflowId)?.resolve();
    if (!answers) throw ApplicationFailure.nonRetryable(`nobody answers for ${workflowId}`);
    return answers({ on, activity: activity as ActivityName, id: activityId, argument, context });
  };
  const activitiesOn = (on: Place, names: readonly string[]) => Object.fromEntries(names.map((activity) => [activity, called(on, activity)]));

  beforeAll(async () => {
    quietRuntime();
    const dataConverter = await readDataConverter(undefined);
    env = await TestWorkflowEnvironment.createFromExistingServer({ address: inject('temporalAddress'), client: { dataConverter } });
    const ofAll: Omit<WorkerOptions, 'taskQueue'> = {
      connection: env.nativeConnection,
      dataConverter,
      maxConcurrentActivityTaskExecutions: 500,
      maxHeartbeatThrottleInterval: HEARTBEAT_THROTTLE,
      defaultHeartbeatThrottleInterval: HEARTBEAT_THROTTLE,
      shutdownGraceTime: '1 s',
      shutdownForceTime: '5 s',
    };
    const control = { ...ofAll, dataConverter: { ...dataConverter, payloadCodecs: dataConverter.payloadCodecs?.map(forWorkflows) ?? [] } };
    workers.push(
      await Worker.create({ ...control, taskQueue: controlQueue, workflowBundle: { codePath: CODE_PATH }, activities: activitiesOn('control', CONTROL_ACTIVITIES) }),
      await Worker.create({ ...ofAll, taskQueue: hostQueue(source), activities: activitiesOn('source', HOST_ACTIVITIES) }),
      await Worker.create({ ...ofAll, taskQueue: hostQueue(destination), activities: activitiesOn('destination', HOST_ACTIVITIES) }),
    );
    running = Promise.all(workers.map((worker) => worker.run()));
  });

  afterAll(async () => {
    for (const worker of workers) worker.shutdown();
    await running;
    await env.teardown();
  });

  return {
    source,
    destination,
    controlQueue,
    get client() {
      return env.client;
    },
    answer: (workflowId, answers) => void answering.set(workflowId, answers),
    startInTurn(workflowId, start) {
      const first = settleable<void>();
      underWay.set(workflowId, first);
      const started = turn.then(start);
      const hasBegun = started.then((handle) => inTime(`the first activity of ${workflowId}`, Promise.race([first.promise, handle.result()]), () => 'nothing'));
      turn = hasBegun.catch(() => undefined);
      return started;
    },
  };
}
