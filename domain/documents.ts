/** Parsing of untrusted documents: one way in, one way to say what is wrong. */
import type { z } from 'zod';
import { type FailureCode, type FailureParameters, problemOf, refuse } from './failures.js';

type DocumentCode = 'VM_DOCUMENT_INVALID' | 'ORDER_INVALID' | 'EVIDENCE_INVALID' | 'LIMITS_INVALID';

/** Parses or throws `code`, naming every wrong field. */
export function parseDocument<T extends z.ZodType>(schema: T, value: unknown, code: DocumentCode): z.output<T> {
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw refuse(code, { problem: describeIssues(parsed.error) });
  return parsed.data;
}

/** As parseDocument, for codes that take more than `problem`. */
export function parseDocumentOf<T extends z.ZodType, C extends FailureCode>(
  schema: T,
  value: unknown,
  code: C,
  parameters: Omit<FailureParameters<C>, 'problem'>,
): z.output<T> {
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    throw refuse(code, { ...parameters, problem: describeIssues(parsed.error) } as unknown as FailureParameters<C>);
  }
  return parsed.data;
}

/** `refusal`: how to say what is wrong with a text that is no JSON. */
export function parseJson(text: string, refusal: (problem: string, cause: unknown) => Error): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw refusal(problemOf(error), error);
  }
}

/** A refusal travels through Temporal and onto terminals; whoever wrote the document chose the names in it. */
const MAX_PROBLEM_CHARACTERS = 2000;

type Issue = z.ZodError['issues'][number];

/** "disks.0.path: an absolute path…; memoryBytes: …", its end cut off where it is very long. */
export function describeIssues(error: Pick<z.ZodError, 'issues'>): string {
  const problem = error.issues.map((issue) => `${issue.path.map(String).join('.') || 'document'}: ${messageOf(issue)}`).join('; ');
  return problem.length > MAX_PROBLEM_CHARACTERS ? `${problem.slice(0, MAX_PROBLEM_CHARACTERS)}…` : problem;
}

/** Of a name that is none in its record: what is wrong with it. */
function messageOf(issue: Issue): string {
  return issue.code === 'invalid_key' ? issue.issues.map(({ message }) => message).join(', ') : issue.message;
}
