/** Small workflows through which every kind of payload passes. */
import { type ActivityFailure, ApplicationFailure, condition, defineQuery, defineUpdate, proxyActivities, setCurrentDetails, setHandler } from '@temporalio/workflow';

export const saying = defineUpdate<string, [string]>('say');
/** Answers nothing. */
export const telling = defineUpdate<void, [string]>('tell');
export const heard = defineQuery<readonly string[]>('heard');

export interface Answer {
  readonly said: string;
}

/** What an activity makes of `word`; `{ said: <code> }` where it refuses. One attempt. */
export async function asks({ taskQueue, word }: { readonly taskQueue: string; readonly word: string }): Promise<Answer> {
  const { echo } = proxyActivities<{ echo(word: string): Promise<Answer> }>({ taskQueue, summary: word, startToCloseTimeout: '10 s', retry: { maximumAttempts: 1 } });
  setCurrentDetails(word);
  try {
    return await echo(word);
  } catch (error) {
    const { cause } = error as ActivityFailure;
    if (!(cause instanceof ApplicationFailure)) throw error;
    return { said: cause.type ?? '' };
  }
}

/** Until it is told `end`. */
export async function listens(): Promise<readonly string[]> {
  const words: string[] = [];
  setHandler(saying, (word) => {
    words.push(word);
    return `heard ${word}`;
  });
  setHandler(telling, (word) => void words.push(word));
  setHandler(heard, () => words);
  await condition(() => words.at(-1) === 'end');
  return words;
}

export async function fails(word: string): Promise<void> {
  throw ApplicationFailure.create({ type: 'TEST', message: `it says ${word}`, details: [word], cause: new Error(`because of ${word}`) });
}
