/**
 * What leaves a workflow as a failure, and what comes into it unread. Here for every workflow, update and validator at once, those of
 * tomorrow too: the SDK takes an error that is not Temporal's for a defect of the code, and tries the workflow task again, for ever. Part of the
 * bundle (infra/setup/finish-build.mjs).
 *
 *   arguments that the worker could not open   end the workflow, or the update, with the reason
 *   a refusal, our own or a host's             is told as itself: its code is the type of the failure, and a client looks no deeper
 *   a defect in an update                      is told to whoever said it, as INTERNAL: the move goes on
 *   a defect in a workflow                     stays one: its task waits for a build without it
 */
import { ActivityFailure, ApplicationFailure, type WorkflowInterceptors, isCancellation } from '@temporalio/workflow';
import { KororaError } from '../domain/failures.js';
import { refusedIn } from '../domain/refused-payload.js';
import { failuresOf, toApplicationFailure } from './failures.js';

const CANCELLED = 'it was cancelled';

export const interceptors = (): WorkflowInterceptors => ({
  inbound: [
    {
      async execute(input, next) {
        admit(input.args);
        return next(input).catch((error: unknown) => {
          const isTold = error instanceof KororaError || (error instanceof ActivityFailure && !isCancellation(error));
          throw isTold ? toApplicationFailure(failuresOf(error, CANCELLED)) : error;
        });
      },
      validateUpdate(input, next) {
        try {
          admit(input.args);
          next(input);
        } catch (error) {
          throw asRefusal(error);
        }
      },
      async handleUpdate(input, next) {
        admit(input.args);
        return next(input).catch((error: unknown) => {
          throw asRefusal(error);
        });
      },
    },
  ],
});

function asRefusal(error: unknown): ApplicationFailure {
  return error instanceof ApplicationFailure ? error : toApplicationFailure(failuresOf(error, CANCELLED));
}

function admit(args: readonly unknown[]): void {
  const refused = refusedIn(args);
  if (refused) throw toApplicationFailure(refused);
}
