/** The workflow of whoever owns Temporal: a few activities of any hosts at once, each with a time of its own, and one attempt. */
import { ActivityCancellationType, ActivityFailure, ApplicationFailure, CancellationScope, proxyActivities, sleep } from '@temporalio/workflow';

export interface HostCall {
  readonly taskQueue: string;
  readonly activity: string;
  /** Left out: called without an argument. */
  readonly argument?: unknown;
  /** Cancelled after so long, where it has not ended; 0: never. */
  readonly cancelAfterMs: number;
}

/** `failed`: what Temporal says where no host answered. */
export type HostReply = { readonly value: unknown } | { readonly codes: readonly string[]; readonly message: string } | { readonly failed: string };

/** No call of his may hold up a run. */
const LIMITS = { scheduleToStartTimeout: '3 s', startToCloseTimeout: '6 s', heartbeatTimeout: '3 s' } as const;

export async function callHosts(calls: readonly HostCall[]): Promise<readonly HostReply[]> {
  return Promise.all(calls.map((call) => replyTo(call)));
}

async function replyTo({ taskQueue, activity, argument, cancelAfterMs }: HostCall): Promise<HostReply> {
  const activities = proxyActivities<Record<string, (...args: unknown[]) => Promise<unknown>>>({ taskQueue, ...LIMITS, cancellationType: ActivityCancellationType.TRY_CANCEL, retry: { maximumAttempts: 1 } });
  const scope = new CancellationScope();
  if (cancelAfterMs > 0) void sleep(cancelAfterMs).then(() => scope.cancel());
  try {
    return { value: (await scope.run(async () => activities[activity]?.(...(argument === undefined ? [] : [argument])))) ?? null };
  } catch (error) {
    const cause = error instanceof ActivityFailure ? error.cause : error;
    if (!(cause instanceof ApplicationFailure)) return { failed: cause instanceof Error ? cause.name : String(cause) };
    const [failures] = (cause.details ?? []) as readonly (readonly { readonly code: string }[] | undefined)[];
    return { codes: failures?.map(({ code }) => code) ?? [cause.type ?? ''], message: `${cause.type}: ${cause.message}` };
  }
}
