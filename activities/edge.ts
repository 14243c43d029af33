/** The activity edge: where input is parsed, errors become Temporal's (temporal/failures.ts), heartbeats go out, and cancellations come in. */
import { Context } from '@temporalio/activity';
import type { z } from 'zod';
import { describeIssues } from '../domain/documents.js';
import { type Failure, KororaError, failure, refuse } from '../domain/failures.js';
import { toTemporal } from '../temporal/failures.js';

type Inputs = Readonly<Record<string, z.ZodType>>;
/** One for each row of the table. */
type ActivitiesOf<I extends Inputs> = { readonly [A in keyof I]: (input: z.output<I[A]>) => Promise<unknown> };

/**
 * How often an activity says that it lives; its cancellation arrives on the reply. Only the copy itself needs to hear of an
 * abort soon: it ends, and the two that run beside it see that.
 */
const HEARTBEAT_MS = { soon: 200, calm: 1000 } as const;

/** What each running activity reported last. */
const reports = new WeakMap<Context, unknown>();

/**
 * Wraps every activity of a set: its one argument is what `inputs` says, or it is refused unseen; errors become Temporal's; and a worker that dies is
 * noticed by its silence. `host`: who refuses.
 */
export function atTheEdge<const I extends Inputs, A extends ActivitiesOf<I>>(host: string, inputs: I, activities: A & { readonly [Other in Exclude<keyof A, keyof I>]: never }): A {
  const wrapped = Object.entries<(input: never) => Promise<unknown>>(activities).map(([name, run]) => {
    const input = inputs[name];
    if (!input) throw new Error(`nothing says what activity ${name} takes`);
    return [
      name,
      async (...args: unknown[]) => {
        const context = Context.current();
        const timer = setInterval(() => context.heartbeat(reports.get(context)), HEARTBEAT_MS.calm);
        try {
          return await run(parsed(host, input, args) as never);
        } catch (error) {
          throw toTemporal(error);
        } finally {
          clearInterval(timer);
        }
      },
    ];
  });
  return Object.fromEntries(wrapped) as A;
}

function parsed(host: string, input: z.ZodType, [value, ...more]: readonly unknown[]): unknown {
  if (more.length > 0) throw refuse('ORDER_INVALID', { problem: 'there is one argument' });
  const result = input.safeParse(value);
  if (result.success) return result.data;
  const fields = [...new Set(result.error.issues.map(({ path }) => path[0]))];
  const [first, ...rest] = fields.map((field) => refusalOf(host, field, describeIssues({ issues: result.error.issues.filter(({ path }) => path[0] === field) })));
  throw new KororaError([first ?? failure('ORDER_INVALID', { problem: 'the argument' }), ...rest]);
}

function refusalOf(host: string, field: PropertyKey | undefined, problem: string): Failure {
  switch (field) {
    case 'vm':
      return failure('VM_DOCUMENT_INVALID', { problem });
    case 'evidence':
    case 'peer':
    case 'statement':
      return failure('EVIDENCE_INVALID', { problem });
    case 'wrapped':
      return failure('SECRETS_INVALID', { host, problem });
    default:
      return failure('ORDER_INVALID', { problem });
  }
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
  signal.addEventListener('abort', onAbort);
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
