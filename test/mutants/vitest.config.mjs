/**
 * The tests that may notice a mutant: those of the project `unit` that say the same every time. Random bytes and documents
 * (fuzz-*.test.ts) would catch one today and miss it tomorrow; properties run with one seed.
 */
import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer } from 'vitest/node';

/** They load the whole house, or wait for real sockets and clocks: what lies below has tests of its own to notice its mutants, in a tenth of the time. */
const OF_ACTIVITIES = 'test/unit/activities-*.test.ts';
const OF_CHANNEL = 'test/unit/channel-{stream,slow-peers}.test.ts';
const LEFT_OUT = { activities: ['test/unit/channel-*.test.ts'], channel: [OF_ACTIVITIES], rest: [OF_ACTIVITIES, OF_CHANNEL] };
/** These are for the files they are named after. */
const LONG = ['channel-stream', 'channel-slow-peers', 'channel-peers', 'workers-consoles', 'verify-standing', 'house-imports', 'domain-ownership'];

/** The first failure ends the run of a mutant: tests named after its file come first, and long ones of something else not at all. */
class NearestFirst extends BaseSequencer {
  async sort(files) {
    const mutated = this.ctx.config.related ?? [];
    if (mutated.length !== 1) return files; // All that tell Stryker who runs what.
    const words = mutated[0].replace(/\.ts$/, '').split(/[/-]/).slice(-3).filter((word) => word !== 'domain');
    const placed = files.map((file) => {
      const name = basename(file.moduleId, '.test.ts');
      return { file, name, near: name.split('-').filter((word) => words.includes(word)).length };
    });
    return placed
      .filter(({ name, near }) => near > 0 || !LONG.includes(name))
      .sort((a, b) => b.near - a.near || LONG.includes(a.name) - LONG.includes(b.name) || (a.name < b.name ? -1 : 1))
      .map(({ file }) => file);
  }
}

export default defineConfig({
  test: {
    include: ['test/unit/**/*.test.ts'],
    exclude: ['test/unit/fuzz-*.test.ts', ...LEFT_OUT[process.env.KORORA_MUTATED_ROOM ?? 'rest']],
    // A survivor is one that all its tests have run with: modules are loaded once for them all, and anew for the next mutant.
    isolate: false,
    setupFiles: ['test/mutants/one-seed.ts'],
    sequence: { sequencer: NearestFirst },
    // The longest takes three seconds. Stryker's own limit counts all tests of a mutant, and a mutant that never ends would take a minute.
    testTimeout: 15_000,
    hookTimeout: 15_000,
  },
});
