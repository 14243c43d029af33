/** The activity edge: where errors become Temporal's (temporal/failures.ts), heartbeats go out, and cancellations come in. */
import { Context } from '@temporalio/activity';
import { type KororaError, refuse } from '../domain/failures.js';
import { toTemporal } from '../temporal/failures.js';

type AsyncFunction = (...args: never[]) => Promise<unknown>;

/**
 * How often an activity says that it lives; its cancellation arrives on the reply. Only the copy itself needs to hear of an
 * abort soon: it ends, and the two that run beside it see that.
 */
const HEARTBEAT_MS = { soon: 200, calm: 1000 } as const;

/** What each running activity reported last. */
const reports = new WeakMap<Context, unknown>();

/** Wraps every activity of a set: errors become Temporal's, and a worker that dies is noticed by its silence. */
export function atTheEdge<T extends Record<string, AsyncFunction>>(activities: T): T {
  const wrapped = Object.entries(activities).map(([name, run]) => [
    name,
    async (...args: never[]) => {
      const context = Context.current();
      const timer = setInterval(() => context.heartbeat(reports.get(context)), HEARTBEAT_MS.calm);
      try {
        return await run(...args);
      } catch (error) {
        throw toTemporal(error);
      } finally {
        clearInterval(timer);
      }
    },
  ]);
  return Object.fromEntries(wrapped) as T;
}

/** Runs `work` with heartbeats, often, that carry the newest `details`; a slow answer delays no heartbeat. */
export async function reporting<T>(details: () => Promise<unknown>, work: () => Promise<T>): Promise<T> {
  const context = Context.current();
  let isAsking = false;
  const ask = async () => {
    if (isAsking) return;
    isAsking = true;
    await details().then((newest) => reports.set(context, newest), () => undefined);
    isAsking = false;
  };
  const timer = setInterval(() => {
    context.heartbeat(reports.get(context));
    void ask();
  }, HEARTBEAT_MS.soon);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

/**
 * Runs `work`, calling `whenCancelled` once Temporal ends this activity: ABORTED where the move is being undone,
 * STEP_GIVEN_UP where the server no longer counts on this worker. `work` then ends in its own time, since the
 * VM must be brought to a known state first.
 */
export async function cancellable<T>(hostId: string, whenCancelled: (why: KororaError) => void, work: () => Promise<T>): Promise<T> {
  const context = Context.current();
  const { cancellationSignal: signal } = context;
  const onAbort = () => whenCancelled(whyCancelled(context, hostId));
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await work();
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function whyCancelled({ cancellationDetails: details }: Context, host: string): KororaError {
  if (details?.workerShutdown) return refuse('STEP_GIVEN_UP', { host, problem: 'its worker was stopped' });
  if (details?.notFound || details?.timedOut) return refuse('STEP_GIVEN_UP', { host, problem: 'its worker was out of touch with Temporal for too long' });
  return refuse('ABORTED', { reason: 'it was cancelled' });
}
