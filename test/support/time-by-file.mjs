/** What the files that took longest took, of vitest's JSON results: they ran beside each other, so that the sum is more than the whole. */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';

const SHOWN = 12;
const [, , ...files] = process.argv;
const took = files
  .flatMap((file) => JSON.parse(readFileSync(file, 'utf8')).testResults)
  .map(({ name, startTime, endTime }) => ({ name: relative('.', name), seconds: Math.round((endTime - startTime) / 1000) }))
  .sort((a, b) => b.seconds - a.seconds);
console.log(`the longest of ${took.length} files, some side by side:`);
for (const { name, seconds } of took.slice(0, SHOWN)) console.log(`${String(seconds).padStart(6)} s  ${name}`);
