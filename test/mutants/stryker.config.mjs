/** Stryker's configuration; test/mutants/run.mjs adds which files, how many at once, and what it keeps from the last time. */
import { fileURLToPath } from 'node:url';

export default {
  testRunner: 'vitest',
  plugins: ['@stryker-mutator/vitest-runner', fileURLToPath(new URL('./clock.mjs', import.meta.url))],
  vitest: { configFile: 'test/mutants/vitest.config.mjs' },
  coverageAnalysis: 'perTest',
  reporters: ['progress-append-only', 'korora-clock'],
  allowConsoleColors: false,
  logLevel: 'warn',
  warnings: { slow: false },
  // What tests read of the project is copied with it; what is built is not.
  ignorePatterns: ['dist', '.cache'],
  tempDirName: '.cache/mutants/work',
  incremental: true,
  // A mutant that runs for ever counts as caught, so a busy machine must not look like one.
  timeoutMS: 30_000,
};
