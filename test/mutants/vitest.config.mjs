/**
 * The tests that may notice a mutant: those of the project `unit` that say the same every time. Random bytes and documents
 * (fuzz-*.test.ts) would catch one today and miss it tomorrow; properties run with one seed.
 */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/unit/**/*.test.ts'],
    exclude: ['test/unit/fuzz-*.test.ts'],
    setupFiles: ['test/mutants/one-seed.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
