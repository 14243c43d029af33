/**
 * activities/edge.ts, in the environment that a worker would give an activity, without a server: heartbeats while it
 * runs and none afterwards, errors as Temporal's, and what a cancellation says to whoever works. Timers are turned by hand.
 */
import { ActivityCancellationDetails, ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { atTheEdge, cancellable, reporting } from '../../activities/edge.js';
import { createControlActivities, createHostActivities } from '../../activities/index.js';
import type { HostServices } from '../../activities/services.js';
import { type Failure, KororaError, failure, refuse } from '../../domain/failures.js';
import { settleable } from '../../domain/settleable.js';
import { settled } from '../support/settled.js';

const CALM_MS = 1000;
const SOON_MS = 200;

let environment: MockActivityEnvironment;
let heartbeats: unknown[];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  environment = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR', () => undefined) });
  heartbeats = [];
  environment.on('heartbeat', (details: unknown) => heartbeats.push(details));
});
afterEach(() => {
  vi.useRealTimers();
});

/** Starts `work` as an activity at the edge and comes back once it is under way, or has ended already. */
async function underWay<T>(work: (entered: () => void) => Promise<T>): Promise<{ readonly ended: Promise<unknown> }> {
  const entered = settleable<void>();
  const { activity } = atTheEdge('host-a', { activity: z.undefined() }, { activity: () => work(entered.resolve) });
  const ended = environment.run(activity, undefined);
  ended.catch(() => undefined);
  await Promise.allSettled([Promise.race([entered.promise, ended])]);
  return { ended };
}

/** Until everything that was to follow from what has happened so far has followed. */

async function errorOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    (value) => expect.fail(`resolved with ${String(value)}`),
    (error: unknown) => error,
  );
}

describe('an activity at the edge', () => {
  it('gives its arguments and its result on', async () => {
    const { add } = atTheEdge('host-a', { add: z.strictObject({ x: z.number(), y: z.number() }) }, { add: async ({ x, y }: { x: number; y: number }) => x + y });
    expect(await environment.run(add, { x: 2, y: 3 })).toBe(5);
  });

  it('says once a second that it lives, from its first second to its end and no longer', async () => {
    const work = settleable<string>();
    const { ended } = await underWay((entered) => {
      entered();
      return work.promise;
    });
    vi.advanceTimersByTime(CALM_MS - 1);
    expect(heartbeats).toEqual([]);
    vi.advanceTimersByTime(1 + 2 * CALM_MS);
    expect(heartbeats).toEqual([undefined, undefined, undefined]);
    work.resolve('done');
    expect(await ended).toBe('done');
    vi.advanceTimersByTime(10 * CALM_MS);
    expect(heartbeats).toHaveLength(3);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('says so no longer after a failure, either', async () => {
    const work = settleable<never>();
    const { ended } = await underWay((entered) => {
      entered();
      return work.promise;
    });
    vi.advanceTimersByTime(CALM_MS);
    work.reject(refuse('VM_WITHOUT_VTPM', { vm: 'web-1' }));
    await errorOf(ended);
    vi.advanceTimersByTime(10 * CALM_MS);
    expect(heartbeats).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('an error that comes to the edge', () => {
  const thrownAs = async (error: unknown) =>
    errorOf((await underWay(async () => { throw error; })).ended);

  it.each([
    ['no use to try again', refuse('VM_WITHOUT_VTPM', { vm: 'web-1' }), true],
    ['may be tried again', refuse('TPM_UNREACHABLE', { host: 'host-a', problem: 'gone' }), false],
    ['one reason of two is for good', new KororaError([failure('TPM_UNREACHABLE', { host: 'host-a', problem: 'gone' }), failure('VM_WITHOUT_VTPM', { vm: 'web-1' })]), true],
  ])('is one of Temporal’s with the code and all failures: %s', async (_, error, nonRetryable) => {
    const failed = await thrownAs(error);
    expect(failed).toBeInstanceOf(ApplicationFailure);
    expect(failed).toMatchObject({ type: error.code, details: [error.failures], nonRetryable, cause: error });
    expect((failed as ApplicationFailure).message).toBe(error.failures.map(({ message }) => message).join('; '));
  });

  it.each([
    ['an error', new TypeError('x is not a function'), 'unexpected: x is not a function'],
    ['what is no error', 'just words', 'unexpected: just words'],
  ])('is INTERNAL where it is %s, and may be tried again', async (_, error, message) => {
    const failed = await thrownAs(error);
    expect(failed).toBeInstanceOf(ApplicationFailure);
    expect(failed).toMatchObject({ type: 'INTERNAL', message, nonRetryable: false, details: [[{ code: 'INTERNAL', message }]] });
    expect((failed as ApplicationFailure).cause).toBe(error instanceof Error ? error : undefined);
  });

  it.each([ApplicationFailure.nonRetryable('said already', 'PAYLOAD_FOREIGN'), new CancelledFailure('cancelled')])('stays as it is where it is Temporal’s already: %s', async (error) => {
    expect(await thrownAs(error)).toBe(error);
  });
});

describe('a report', () => {
  /** An activity that reports, without the edge and its heartbeats. `questions` are those for details, which the test answers. */
  async function reportingOne() {
    const questions: ReturnType<typeof settleable<unknown>>[] = [];
    const work = settleable<string>();
    const details = () => {
      const question = settleable<unknown>();
      questions.push(question);
      return question.promise;
    };
    const ended = environment.run(() => reporting(details, () => work.promise));
    await settled();
    return { ended, work, questions };
  }
  const next = async (times = 1) => {
    heartbeats = [];
    for (let i = 0; i < times; i++) {
      vi.advanceTimersByTime(SOON_MS);
      await settled();
    }
    return heartbeats;
  };

  it('comes with the newest details, often', async () => {
    const { ended, work, questions } = await reportingOne();
    expect(await next()).toEqual([undefined]);
    questions[0]?.resolve({ sentBytes: 1 });
    await settled();
    expect(await next()).toEqual([{ sentBytes: 1 }]);
    questions[1]?.resolve({ sentBytes: 2 });
    await settled();
    expect(await next()).toEqual([{ sentBytes: 2 }]);
    work.resolve('done');
    expect(await ended).toBe('done');
  });

  it('waits for no slow answer: it comes with the last details, and does not ask meanwhile', async () => {
    const { ended, work, questions } = await reportingOne();
    await next();
    questions[0]?.resolve('old');
    await settled();
    expect(await next(4)).toEqual(['old', 'old', 'old', 'old']);
    expect(questions).toHaveLength(2);
    questions[1]?.resolve('new');
    await settled();
    expect(await next()).toEqual(['new']);
    expect(questions).toHaveLength(3);
    work.resolve('done');
    await ended;
  });

  it('comes although no answer came, and asks again', async () => {
    const { ended, work, questions } = await reportingOne();
    await next();
    questions[0]?.resolve('known');
    await settled();
    await next();
    questions[1]?.reject(new Error('nobody answers'));
    await settled();
    expect(await next()).toEqual(['known']);
    questions[2]?.resolve('known again');
    await settled();
    expect(await next()).toEqual(['known again']);
    work.resolve('done');
    expect(await ended).toBe('done');
  });

  it('is what the calm heartbeats carry, too, also after the reporting', async () => {
    const [work, rest] = [settleable<void>(), settleable<string>()];
    const { ended } = await underWay(async (entered) => {
      await reporting(async () => 'the last', () => {
        entered();
        return work.promise;
      });
      return rest.promise;
    });
    await next(2);
    work.resolve();
    await settled();
    heartbeats = [];
    vi.advanceTimersByTime(2 * CALM_MS);
    expect(heartbeats).toEqual(['the last', 'the last']);
    rest.resolve('done');
    expect(await ended).toBe('done');
  });

  it.each([
    ['done', (work: ReturnType<typeof settleable<string>>) => work.resolve('done')],
    ['failed', (work: ReturnType<typeof settleable<string>>) => work.reject(new Error('broken'))],
  ])('comes no longer once the work is %s', async (_, end) => {
    const { ended, work, questions } = await reportingOne();
    await next();
    end(work);
    await Promise.allSettled([ended]);
    questions[0]?.resolve('too late');
    await settled();
    expect(await next(20)).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a cancellation', () => {
  /** An activity whose work ends when it is told to; `told` is what it heard. */
  async function cancellableOne() {
    const told: KororaError[] = [];
    const work = settleable<string>();
    const { ended } = await underWay((entered) =>
      cancellable('host-a', (why) => told.push(why), () => {
        entered();
        return work.promise;
      }),
    );
    return { ended, work, told };
  }
  const given = (problem: string) => `STEP_GIVEN_UP: host-a gave up its step of the move: ${problem}`;
  const silence = 'its worker was out of touch with Temporal for too long';

  it.each([
    ['a request is an abort', 'CANCELLED', { cancelRequested: true }, 'ABORTED: the move was aborted: it was cancelled'],
    ['the end of the worker gives the step up', 'WORKER_SHUTDOWN', { workerShutdown: true }, given('its worker was stopped')],
    ['a server that knows the activity no more gives it up', 'NOT_FOUND', { notFound: true }, given(silence)],
    ['a time limit that has passed gives it up', 'TIMED_OUT', { timedOut: true }, given(silence)],
    ['a worker that ends after a request gives it up: nobody waits here for the abort', 'WORKER_SHUTDOWN', { cancelRequested: true, workerShutdown: true }, given('its worker was stopped')],
  ] as const)('%s', async (_, reason, details, message) => {
    const { ended, work, told } = await cancellableOne();
    expect(told).toEqual([]);
    environment.cancel(reason, new ActivityCancellationDetails(details));
    expect(told.map((why) => why.message)).toEqual([message]);
    work.reject(told[0] ?? new Error('nobody was told'));
    expect(await errorOf(ended)).toMatchObject({ type: told[0]?.code, nonRetryable: true });
  });

  it('that came before the work is told to it all the same, once', async () => {
    environment.cancel();
    const { ended, work, told } = await cancellableOne();
    expect(told.map(({ code }) => code)).toEqual(['ABORTED']);
    work.resolve('done');
    expect(await ended).toBe('done');
    expect(told).toHaveLength(1);
  });

  it('waits for the work and keeps what it gives', async () => {
    const { ended, work } = await cancellableOne();
    let hasEnded = false;
    void ended.then(() => (hasEnded = true));
    environment.cancel();
    await settled();
    expect(hasEnded).toBe(false);
    vi.advanceTimersByTime(CALM_MS);
    expect(heartbeats).toHaveLength(1);
    work.resolve('brought to an end');
    expect(await ended).toBe('brought to an end');
  });

  it('is told nobody once the work has ended', async () => {
    const [work, rest] = [settleable<void>(), settleable<string>()];
    const told: KororaError[] = [];
    const { ended } = await underWay(async (entered) => {
      await cancellable('host-a', (why) => told.push(why), () => {
        entered();
        return work.promise;
      });
      return rest.promise;
    });
    work.resolve();
    await settled();
    environment.cancel();
    rest.resolve('done');
    expect(await ended).toBe('done');
    expect(told).toEqual([]);
  });

  it('is told nobody once the work has failed', async () => {
    const { ended, work, told } = await cancellableOne();
    work.reject(refuse('VM_WITHOUT_VTPM', { vm: 'web-1' }));
    expect(await errorOf(ended)).toMatchObject({ type: 'VM_WITHOUT_VTPM' });
    environment.cancel();
    expect(told).toEqual([]);
  });
});

describe('no activity goes around the edge', () => {
  const NOTHING = 'there is nothing here';
  const failing = () => {
    vi.advanceTimersByTime(CALM_MS);
    throw new Error(NOTHING);
  };
  /** Whoever looks at a part of it, or calls it, lets a second pass and fails: so every activity lives for a second and ends with this error. */
  const nothing = new Proxy({}, { get: failing });
  const services = new Proxy({}, { get: (_, name) => name === 'hostId' ? 'host-a' : new Proxy(() => undefined, { get: failing, apply: failing }) }) as HostServices;
  type Activities = Record<string, (...args: unknown[]) => Promise<unknown>>;
  const all = Object.entries({
    ...(createHostActivities(services) as unknown as Activities),
    ...(createControlActivities({ evidenceDir: '/nowhere' }) as unknown as Activities),
  });

  it.each(all)('%s has heartbeats and Temporal’s errors', async (name, activity) => {
    const error = await errorOf(environment.run(activity, name === 'surveyHost' ? undefined : nothing));
    expect(error).toBeInstanceOf(ApplicationFailure);
    expect(error).toMatchObject({ type: 'INTERNAL', message: `unexpected: ${NOTHING}` });
    expect(heartbeats).toEqual([undefined]);
    expect(vi.getTimerCount()).toBe(0);
  });

  /** Whatever is looked at of the host makes the activity fail with NOTHING: a refusal by its input came before that. */
  const wrong: readonly (readonly unknown[])[] = [['text'], [null], [{}], [{ order: 2.5 }], [[]], [JSON.parse('{"__proto__":{"order":1}}')], [undefined, undefined], [{}, {}]];

  it.each(all.flatMap(([name, activity]) => wrong.map((args) => [name, JSON.stringify(args), activity, args] as const)))('%s sees nothing of %s', async (_, __, activity, args) => {
    const error = await errorOf(environment.run(activity, ...args));
    expect(error).toMatchObject({ type: expect.stringMatching(/^(?:ORDER|EVIDENCE|VM_DOCUMENT|SECRETS)_INVALID$/) as string, nonRetryable: true });
  });

  it('names every field that is wrong, each with the code of what it is', async () => {
    const { prepareDestination } = createHostActivities(services);
    const error = (await errorOf(environment.run(prepareDestination as (input: unknown) => Promise<unknown>, { order: {}, vm: { vmId: 'x' }, more: 1 }))) as ApplicationFailure;
    const [failures] = error.details as [readonly Failure[]];
    expect(failures.map(({ code }) => code)).toEqual(['ORDER_INVALID', 'VM_DOCUMENT_INVALID', 'ORDER_INVALID']);
    expect(failures.map(({ message }) => message)).toEqual([expect.stringContaining('order.payloadType'), expect.stringContaining('vm.machine'), expect.stringContaining('"more"')]);
  });

  it('cannot be put into a set of which nothing says what it takes', () => {
    expect(() => atTheEdge('host-a', {}, { newOne: () => Promise.resolve() } as never)).toThrow('nothing says what activity newOne takes');
  });
});
