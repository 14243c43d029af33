import type { z } from 'zod';
import { describeIssues } from '../../domain/documents.js';

/** What is wrong with a value, in the words that its schema has for it; null where nothing is. */
export function wrongWith(schema: z.ZodType, value: unknown): string | null {
  const { error } = schema.safeParse(value);
  return error ? describeIssues(error) : null;
}
