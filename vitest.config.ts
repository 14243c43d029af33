import { defineConfig } from 'vitest/config';

const ONE_MINUTE = 60_000;

export default defineConfig({
  test: {
    projects: [
      {
        test: { name: 'unit', include: ['test/unit/**/*.test.ts', 'test/replay/**/*.test.ts'], setupFiles: ['test/support/tell-errors.ts'], testTimeout: 2 * ONE_MINUTE, hookTimeout: 2 * ONE_MINUTE, maxWorkers: 2 },
      },
      {
        // One Temporal server for all files; each has workers of its own, and its cases run at once.
        test: { name: 'workflows', include: ['test/workflows/**/*.test.ts'], globalSetup: ['test/workflows/server.ts'], testTimeout: 2 * ONE_MINUTE, hookTimeout: ONE_MINUTE, maxWorkers: 2, maxConcurrency: 40, isolate: false },
      },
      {
        // Each file has two hosts, their VMs and a Temporal server of its own: one at a time. Concurrent tests in a file have rigs.
        test: { name: 'e2e', include: ['test/e2e/**/*.test.ts'], setupFiles: ['test/support/tell-failures.ts'], testTimeout: 5 * ONE_MINUTE, hookTimeout: 5 * ONE_MINUTE, fileParallelism: false, maxConcurrency: 3 },
      },
    ],
  },
});
