/** What there is to run, and beside what: test/run.sh and docs/testing.md say when. */
import { defineConfig } from 'vitest/config';
import { filesOf, shareAskedFor } from './test/plan.mjs';

const ONE_MINUTE = 60_000;
/** Most of the time a test on real parts waits, or one of its processes does. */
const SIDE_BY_SIDE = 3;

const ownTestbeds = filesOf(shareAskedFor(process.env)).filter((name) => !name.startsWith('shared/'));
const sharedTestbeds = filesOf(shareAskedFor(process.env)).filter((name) => name.startsWith('shared/'));
const files = (names: readonly string[]) => names.map((name) => `test/e2e/${name}.test.ts`);
const onTestbeds = { setupFiles: ['test/support/tell-failures.ts'], testTimeout: 5 * ONE_MINUTE, hookTimeout: 5 * ONE_MINUTE, teardownTimeout: ONE_MINUTE, maxConcurrency: 3, maxWorkers: SIDE_BY_SIDE };

export default defineConfig({
  test: {
    projects: [
      // Node and the packages of package.json, nothing else: `npm run check`.
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], setupFiles: ['test/support/tell-errors.ts'], testTimeout: ONE_MINUTE, hookTimeout: ONE_MINUTE, maxWorkers: 2, sequence: { groupOrder: 1 } } },
      // One part of the house on one real part: QEMU, swtpm, tpm2-tools, systemd, the SDK's replay; and what computes for long.
      { test: { name: 'parts', include: ['test/parts/**/*.test.ts', 'test/replay/**/*.test.ts'], setupFiles: ['test/support/tell-errors.ts'], testTimeout: 2 * ONE_MINUTE, hookTimeout: 2 * ONE_MINUTE, maxWorkers: SIDE_BY_SIDE, sequence: { groupOrder: 2 } } },
      // The workflows alone, with made-up activities: one Temporal server for all files; each has workers of its own, and its cases run at once.
      { test: { name: 'workflows', include: ['test/workflows/**/*.test.ts'], globalSetup: ['test/workflows/server.ts'], testTimeout: 2 * ONE_MINUTE, hookTimeout: ONE_MINUTE, maxWorkers: SIDE_BY_SIDE, maxConcurrency: 40, isolate: false, sequence: { groupOrder: 2 } } },
      // Two hosts with all that belongs to them, for each file …
      { test: { name: 'e2e', include: files(ownTestbeds), ...onTestbeds, sequence: { groupOrder: 2 } } },
      // … or for all files that a worker of vitest runs (test/support/shared-testbed.ts).
      { test: { name: 'shared', include: files(sharedTestbeds), ...onTestbeds, isolate: false, sequence: { groupOrder: 2 } } },
    ],
  },
});
