/** Adds up vitest's JSON results and prints the closing line. Exit code 1 where anything failed, or nothing ran. */
import { readFileSync } from 'node:fs';

const [, , failedBefore, ...files] = process.argv;
const total = { passed: 0, failed: 0, skipped: 0 };
for (const file of files) {
  const { numPassedTests, numFailedTests, numPendingTests, testResults } = JSON.parse(readFileSync(file, 'utf8'));
  total.passed += numPassedTests;
  // A file that does not load fails without a test of its own.
  total.failed += numFailedTests + testResults.filter((r) => r.status === 'failed' && r.assertionResults.length === 0).length;
  total.skipped += numPendingTests;
}
if (failedBefore !== '0' && total.failed === 0) total.failed = 1;
console.log(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`);
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);
