/** The workflow of a control plane in other hands: whatever steps it is told, on whatever hosts, in whatever order. */
import { ActivityFailure, ApplicationFailure, proxyActivities } from '@temporalio/workflow';

export interface RogueStep {
  readonly taskQueue: string;
  readonly activity: string;
  readonly argument: unknown;
}

export type RogueAnswer = { readonly value: unknown } | { readonly codes: readonly string[]; readonly message: string };

/** The host's answer, or its refusal. One attempt. */
export async function rogue({ taskQueue, activity, argument }: RogueStep): Promise<RogueAnswer> {
  const activities = proxyActivities<Record<string, (argument: unknown) => Promise<unknown>>>({ taskQueue, startToCloseTimeout: '60 s', scheduleToStartTimeout: '20 s', retry: { maximumAttempts: 1 } });
  try {
    return { value: (await activities[activity]?.(argument)) ?? null };
  } catch (error) {
    const cause = error instanceof ActivityFailure ? error.cause : error;
    if (!(cause instanceof ApplicationFailure)) throw error;
    const [failures] = (cause.details ?? []) as readonly (readonly { readonly code: string }[] | undefined)[];
    return { codes: failures?.map(({ code }) => code) ?? [cause.type ?? ''], message: `${cause.type}: ${cause.message}` };
  }
}
