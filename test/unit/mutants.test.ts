/** The record of the mutants (docs/mutants.json): complete, good enough, and each survivor explained; and how it is made. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { placesIn, rangesIn, digestOf, secondsExpected } from '../mutants/changed.mjs';
import { type Explanations, type Result, type Row, type Rows, documentOf, outdated, rowOf, scoreOf, totalOf, unexplained } from '../mutants/record.mjs';
import { SCORE_WANTED, mutatedFiles } from '../mutants/scope.mjs';

const record = JSON.parse(readFileSync('docs/mutants.json', 'utf8')) as { readonly tool: string; readonly files: Rows };
const explanations = JSON.parse(readFileSync('test/mutants/survivors.json', 'utf8')) as Explanations;

describe('the record of the mutants', () => {
  it('has every file that is mutated, and no other: a new one comes in by `npm run mutants -- --only FILE --record`', () => {
    expect(Object.keys(record.files)).toEqual(mutatedFiles());
  });

  it(`says that ${SCORE_WANTED} % and more were caught`, () => {
    expect(scoreOf(totalOf(Object.values(record.files)))).toBeGreaterThanOrEqual(SCORE_WANTED);
  });

  it('explains each survivor, and nothing else', () => {
    expect(unexplained(record.files, explanations)).toEqual([]);
    expect(outdated(record.files, explanations)).toEqual([]);
    for (const { why } of Object.values(explanations).flat()) expect(why.length).toBeGreaterThan(20);
  });

  it('is what docs/mutants.md says', () => {
    expect(readFileSync('docs/mutants.md', 'utf8')).toBe(documentOf(record, explanations));
  });
});

const source = 'const a = 1;\nif (a > 1 &&\n    a < 3) {\n  go("x");\n}\n';
const origin = { at: '2026-11-27', commit: 'c0ffee', sha256: digestOf(source), seconds: 10 };
const result = (status: Result['status'], start: [number, number], end: [number, number]): Result => ({
  status, mutatorName: 'Any', replacement: 'false', location: { start: { line: start[0], column: start[1] }, end: { line: end[0], column: end[1] } },
});
const row = rowOf(source, [
  result('Survived', [2, 5], [3, 10]),
  result('NoCoverage', [1, 11], [1, 12]),
  ...Array.from({ length: 5 }, () => result('Killed', [1, 1], [1, 6])),
  result('Timeout', [1, 1], [1, 6]),
  result('Ignored', [1, 1], [1, 6]),
], origin);

describe('a row of the record', () => {
  it('counts, and names survivors by their texts', () => {
    expect(row).toEqual({
      ...origin, lines: 5, killed: 5, timeout: 1, survived: 1, noCoverage: 1,
      survivors: [
        { line: 1, in: 'const a = 1;', mutator: 'Any', original: '1', replacement: 'false' },
        { line: 2, in: 'if (a > 1 &&', mutator: 'Any', original: 'a > 1 && a < 3', replacement: 'false' },
      ],
    });
  });

  it('counts what no test runs as not caught, and what runs for ever as caught', () => {
    expect(scoreOf(row)).toBe(75);
    expect(scoreOf({ killed: 0, timeout: 0, survived: 0, noCoverage: 0 })).toBe(100);
  });

  it('has an explanation where file, line of text, mutator, original and replacement are the same', () => {
    const [first, second] = row.survivors as [Row['survivors'][number], Row['survivors'][number]];
    const of = (...ones: readonly Row['survivors'][number][]): Explanations => ({ 'a.ts': ones.map((one) => ({ ...one, why: 'because it is the same' })) });
    expect(unexplained({ 'a.ts': row }, of(first, second))).toEqual([]);
    expect(unexplained({ 'b.ts': row }, of(first, second)).length).toBe(2);
    for (const member of ['in', 'mutator', 'original', 'replacement'] as const) {
      const other = of({ ...first, [member]: 'another' }, second);
      expect([member, unexplained({ 'a.ts': row }, other), outdated({ 'a.ts': row }, other).length]).toEqual([member, [{ file: 'a.ts', ...first }], 1]);
    }
  });

  it('has one explanation for all survivors of a line where it leaves out which', () => {
    const [first, second] = row.survivors as [Row['survivors'][number], Row['survivors'][number]];
    const twice = { 'a.ts': { ...row, survivors: [first, { ...first, replacement: 'true' }, second] } };
    const ofLine: Explanations = { 'a.ts': [{ in: first.in, why: 'because it is the same' }] };
    expect(unexplained(twice, ofLine)).toEqual([{ file: 'a.ts', ...second }]);
    expect(outdated(twice, ofLine)).toEqual([]);
    expect(outdated({ 'a.ts': { ...row, survivors: [second] } }, ofLine)).toHaveLength(1);
  });
});

describe('what changed since the record', () => {
  it('is nothing where the file is the same, and all of a file that the record does not have', () => {
    expect(placesIn('a.ts', source, row)).toEqual([]);
    expect(placesIn('a.ts', source, undefined)).toEqual([{ file: 'a.ts', lines: null, count: 5 }]);
    expect(placesIn('a.ts', `${source}\n`, row)).toEqual([{ file: 'a.ts', lines: null, count: 6 }]);
  });

  it('is the changed lines of a file whose commit git knows', () => {
    expect(rangesIn('--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n@@ -7,2 +8,3 @@ f\n@@ -20,2 +20,0 @@\n@@ -1,2 +0,0 @@\n')).toEqual([
      { first: 1, last: 1 }, { first: 8, last: 10 }, { first: 20, last: 20 }, { first: 1, last: 1 },
    ]);
  });

  it('takes what its lines took last time, and the start', () => {
    const [start, ofTwoLines] = [secondsExpected([], {}), secondsExpected([{ file: 'a.ts', lines: { first: 1, last: 2 }, count: 2 }], { 'a.ts': row })];
    expect(ofTwoLines - start).toBe(4);
  });
});
