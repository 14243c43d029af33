/** Arguments that the worker could not open end the workflow, or the update, with the reason. Part of the bundle (infra/setup/finish-build.mjs). */
import type { WorkflowInterceptors } from '@temporalio/workflow';
import { refusedIn } from '../domain/refused-payload.js';
import { toApplicationFailure } from './failures.js';

export const interceptors = (): WorkflowInterceptors => ({
  inbound: [
    {
      async execute(input, next) {
        admit(input.args);
        return next(input);
      },
      validateUpdate(input, next) {
        admit(input.args);
        next(input);
      },
      async handleUpdate(input, next) {
        admit(input.args);
        return next(input);
      },
    },
  ],
});

function admit(args: readonly unknown[]): void {
  const refused = refusedIn(args);
  if (refused) throw toApplicationFailure(refused);
}
