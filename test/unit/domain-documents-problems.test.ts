/** domain/documents.ts: how what is wrong with a document is said. */
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { describeIssues, parseDocument, parseDocumentOf, parseJson } from '../../domain/documents.js';
import { failure } from '../../domain/failures.js';

const MAX_CHARACTERS = 2000;

/** As zod has them. */
function issues(...told: readonly (readonly [readonly PropertyKey[], string])[]): Pick<z.ZodError, 'issues'> {
  return { issues: told.map(([path, message]) => ({ code: 'custom', path: [...path], message, input: undefined })) };
}

/** What is wrong, in so many characters. */
function problemOfLength(length: number): string {
  return describeIssues(issues([['name'], 'x'.repeat(length - 'name: '.length)]));
}

describe('a text that is no JSON', () => {
  class Refusal extends Error {}

  it('is refused as the caller says, with the problem and its cause', () => {
    const told: [string, unknown][] = [];
    const refused = new Refusal('no JSON');
    expect(() => parseJson('{"a":', (problem, cause) => { told.push([problem, cause]); return refused; })).toThrow(refused);
    expect(told).toEqual([[expect.stringContaining('JSON'), expect.any(SyntaxError)]]);
    expect(told[0]?.[0]).toBe((told[0]?.[1] as SyntaxError).message);
  });

  it('is another than one that is JSON, which nobody refuses', () => {
    expect(parseJson('{"a":[1,null]}', () => new Refusal())).toEqual({ a: [1, null] });
  });
});

describe('what is wrong with a document', () => {
  it('is all that is wrong with a name in it, in the words for names', () => {
    const schema = z.record(z.string().min(3, 'too short').regex(/^x/, 'it begins otherwise'), z.number());
    const { error } = schema.safeParse({ ab: 1 });
    expect(error && describeIssues(error)).toBe('ab: too short, it begins otherwise');
  });

  it.each<[string, Pick<z.ZodError, 'issues'>, string]>([
    ['a member by its way', issues([['disks', 0, 'path'], 'no absolute path']), 'disks.0.path: no absolute path'],
    ['the document as such, where it is no member', issues([[], 'expected an object']), 'document: expected an object'],
    ['every one of several, apart', issues([['a'], 'too small'], [[], 'too large'], [['b', 'c'], 'missing']), 'a: too small; document: too large; b.c: missing'],
  ])('names %s', (_, error, problem) => {
    expect(describeIssues(error)).toBe(problem);
  });

  it.each([MAX_CHARACTERS - 1, MAX_CHARACTERS])('is said whole where it has %i characters', (length) => {
    expect(problemOfLength(length)).toBe(`name: ${'x'.repeat(length - 6)}`);
  });

  it.each([MAX_CHARACTERS + 1, 5 * MAX_CHARACTERS])('is cut off where it has %i', (length) => {
    expect(problemOfLength(length)).toBe(`name: ${'x'.repeat(MAX_CHARACTERS - 6)}…`);
  });

  it('is in the refusal', () => {
    const schema = z.strictObject({ a: z.literal(1, 'must be 1'), b: z.literal(2, 'must be 2') });
    expect(() => parseDocument(schema, { a: 2, b: 1 }, 'ORDER_INVALID')).toThrow(failure('ORDER_INVALID', { problem: 'a: must be 1; b: must be 2' }).message);
    expect(() => parseDocumentOf(schema, { a: 2, b: 2 }, 'BUNDLE_INVALID', { host: 'host-a' })).toThrow(failure('BUNDLE_INVALID', { host: 'host-a', problem: 'a: must be 1' }).message);
    expect(parseDocument(schema, { a: 1, b: 2 }, 'ORDER_INVALID')).toEqual({ a: 1, b: 2 });
  });
});
