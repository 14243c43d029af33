/**
 * Part of the replay test's bundle alone: when a workflow has ended it is asked every query that it answers, and the answers go out by
 * a sink. A worker that replays is asked no queries, so they are called where the SDK keeps them; its version is pinned, and
 * test/replay/replay.test.ts demands an answer wherever a recording has one, so that another place shows.
 */
import { type Sinks, type WorkflowInterceptors, proxySinks } from '@temporalio/workflow';
import { getActivator } from '@temporalio/workflow/lib/global-attributes.js';

export interface AnswerSinks extends Sinks {
  readonly answers: {
    /** `answer`: JSON, as it would be on its way to who asked. */
    told(query: string, answer: string): void;
  };
}

const OF_THE_SDK = '__';

export const interceptors = (): WorkflowInterceptors => ({
  inbound: [
    {
      async execute(input, next) {
        try {
          return await next(input);
        } finally {
          await tellAnswers();
        }
      },
    },
  ],
});

async function tellAnswers(): Promise<void> {
  const { answers } = proxySinks<AnswerSinks>();
  for (const [query, { handler }] of getActivator().queryHandlers) {
    if (!query.startsWith(OF_THE_SDK)) answers.told(query, JSON.stringify(await handler()));
  }
}
