import { type Failure, KororaError } from '../../domain/failures.js';

/** "CODE: message" of each. */
export function textsOf(failures: readonly Pick<Failure, 'code' | 'message'>[]): readonly string[] {
  return failures.map(({ code, message }) => `${code}: ${message}`);
}

/** "CODE: message" of what must be refused; else text that says what came instead. */
export async function refusalOf(action: Promise<unknown>): Promise<string> {
  const error: unknown = await action.then(() => 'no refusal', (e: unknown) => e);
  return error instanceof KororaError ? error.message : String(error);
}
