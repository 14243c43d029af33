/**
 * What a workflow is given in the place of arguments that its worker could not open: the reason. Without it a command
 * that came without the payload key would hang, and an update would stop the move that it was for until it is gone.
 */
import { z } from 'zod';
import { type Failure, type FailureCode, isFailureCode } from './failures.js';

const NAME = 'korora/refused';
const Refusal = z.object({ code: z.custom<FailureCode>((code) => typeof code === 'string' && isFailureCode(code)), message: z.string(), remedy: z.string() });
const RefusedPayload = z.object({ [NAME]: z.tuple([Refusal], Refusal) });

export const refusedPayload = (failures: readonly Failure[]): unknown => ({ [NAME]: failures });

/** Null where these are arguments. */
export function refusedIn(args: readonly unknown[]): readonly [Failure, ...Failure[]] | null {
  return RefusedPayload.safeParse(args[0]).data?.[NAME] ?? null;
}
