/** Adds up vitest's JSON results, names what failed, and prints the closing line. Exit code 1 where anything failed, or nothing ran. */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';

const [LINES, LINE_LENGTH] = [20, 300];
const [, , failedBefore, ...files] = process.argv;
const total = { passed: 0, failed: 0, skipped: 0 };
for (const file of files) {
  const { numPassedTests, numPendingTests, testResults } = JSON.parse(readFileSync(file, 'utf8'));
  total.passed += numPassedTests;
  total.skipped += numPendingTests;
  for (const { name, status, assertionResults } of testResults) {
    const failed = assertionResults.filter((r) => r.status === 'failed').map((r) => `${r.fullName}${shortened(r.failureMessages)}`);
    // A file can fail without a test of its own.
    if (status === 'failed' && failed.length === 0) failed.push(assertionResults.length === 0 ? 'does not load' : 'what stands around its tests');
    total.failed += failed.length;
    for (const test of failed) console.log(`FAILED ${relative('.', name)}: ${test}`);
  }
}
if (failedBefore !== '0' && total.failed === 0) total.failed = 1;
console.log(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`);
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);

/** Of the first: what a reader of this page alone needs, such as the seed of a property. */
function shortened(messages) {
  const lines = (messages?.[0] ?? '').split('\n').filter((line) => line.trim() !== '' && !/^ +at /.test(line));
  return lines.slice(0, LINES).map((line) => `\n    ${line.slice(0, LINE_LENGTH)}`).join('');
}
