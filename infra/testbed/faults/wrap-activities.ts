/** Puts the harness before and after every activity of a set. The activities themselves are the real ones. */
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import { failure } from '../../../domain/failures.js';
import type { Ask } from './ask.js';
import { type Answer, INJECTED, type Point } from './points.js';

type AsyncFunction = (...args: never[]) => Promise<unknown>;

/** The heartbeat while an activity is held at a point: it is the product's fault only where the harness says so. */
const HOLDING_MS = 500;

export function wrapActivities<T extends Record<string, AsyncFunction>>(activities: T, on: string, ask: Ask): T {
  const wrapped = Object.entries(activities).map(([name, run]) => [name, (...args: never[]) => runAsked(name, () => run(...args))]);
  return Object.fromEntries(wrapped) as T;

  async function runAsked(name: string, run: () => Promise<unknown>): Promise<unknown> {
    const context = Context.current();
    const askHere = (at: Point['at']) => held(context, ask({ kind: 'activity', on, name, at, attempt: context.info.attempt }));
    const before = await askHere('before');
    if (before === 'mute') Object.assign(context, { heartbeat: () => undefined });
    throwWhereTold(before, name, 'before its effect');
    const result = await run().catch(async (error: unknown) => {
      await askHere('failed');
      throw error;
    });
    const after = await askHere('after');
    throwWhereTold(after, name, 'after its effect: the reply is lost');
    return after === 'twice' ? run() : result;
  }
}

async function held(context: Context, answer: Promise<Answer>): Promise<Answer> {
  const timer = setInterval(() => context.heartbeat(), HOLDING_MS);
  try {
    return await answer;
  } finally {
    clearInterval(timer);
  }
}

function throwWhereTold(answer: Answer, name: string, when: string): void {
  if (answer !== 'fail' && answer !== 'fail-retryable') return;
  const told = failure('INTERNAL', { problem: `${INJECTED}: ${name} fails ${when}` });
  throw ApplicationFailure.create({ type: told.code, message: told.message, nonRetryable: answer === 'fail', details: [[told]] });
}
