/**
 * The tests that may notice a mutant: those of the project `unit` that say the same every time. Random bytes and documents
 * (fuzz-*.test.ts) would catch one today and miss it tomorrow; properties run with one seed.
 */
import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer } from 'vitest/node';

/** They load the whole house: what lies below activities has tests of its own to notice its mutants, in a tenth of the time. */
const OF_ACTIVITIES = 'test/unit/activities-*.test.ts';
/** The longest first. */
const LONG = ['channel-stream', 'channel-slow-peers', 'verify-standing', 'domain-documents', 'house-imports', 'domain-ownership', 'state-diagrams'];

/** The first failure ends the run of a mutant: tests named after its file come first, those that take long come last. */
class NearestFirst extends BaseSequencer {
  async sort(files) {
    const [mutated = ''] = this.ctx.config.related ?? [];
    const words = mutated.replace(/\.ts$/, '').split(/[/-]/).slice(-3);
    const placed = files.map((file) => {
      const name = basename(file.moduleId, '.test.ts');
      return { file, name, near: name.split('-').filter((word) => words.includes(word)).length, rank: LONG.toReversed().indexOf(name) };
    });
    return placed.sort((a, b) => b.near - a.near || a.rank - b.rank || (a.name < b.name ? -1 : 1)).map(({ file }) => file);
  }
}

export default defineConfig({
  test: {
    include: ['test/unit/**/*.test.ts'],
    exclude: ['test/unit/fuzz-*.test.ts', ...(process.env.KORORA_MUTATED_ROOM === 'activities' ? [] : [OF_ACTIVITIES])],
    setupFiles: ['test/mutants/one-seed.ts'],
    sequence: { sequencer: NearestFirst },
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
