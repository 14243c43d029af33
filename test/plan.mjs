/**
 * What `npm test` runs of the long suites, and when: some end-to-end files always, and of everything else the share that the hash
 * of the commit chooses, so that successive commits come to all of it. `npm run test:full` runs every share. Pure but for its last lines:
 *
 *   node test/plan.mjs share COMMIT-HASH     the number of its share
 */
import { pathToFileURL } from 'node:url';

/** Each takes two to four minutes on two processors. */
export const SHARES = 16;

/** Files of test/e2e that run at every commit: each promise once (test/unit/plan.test.ts has which), and the README. */
export const ALWAYS = ['move', 'scenarios', 'control-plane', 'readme'];

/** The other files of test/e2e, with what each takes: measured beside two others, in seconds. */
export const SOMETIMES = {
  'shared/convergence': 270,
  attacks: 270,
  'shared/fence': 230,
  'shared/power': 170,
  'shared/zombies': 150,
  backup: 145,
  'shared/again': 135,
  refusals: 95,
  'shared/workers-die': 65,
  midway: 65,
  'fake-driver': 60,
  'guest-holds': 55,
  hostile: 105,
  secrets: 45,
  payloads: 35,
  resources: 60,
  'shared/abort': 35,
  'shared/reading-steps': 20,
};

/** Run whatever the share: they choose their own part of it. */
export const BY_CELL = ['cells-qemu', 'cells-fake'];

/** 1 to SHARES. The first digits of a hash are as good as random. */
export function shareOf(commit) {
  return (Number.parseInt(commit.slice(0, 8), 16) % SHARES) + 1;
}

/** Files of test/e2e: of one share, or of all where `share` is null. The longest are spread first, so that no share is much longer than another. */
export function filesOf(share) {
  if (share === null) return [...ALWAYS, ...BY_CELL, ...Object.keys(SOMETIMES)];
  const seconds = Array.from({ length: SHARES }, () => 0);
  const chosen = Object.entries(SOMETIMES)
    .sort(([, a], [, b]) => b - a)
    .filter(([, takes]) => {
      const at = seconds.indexOf(Math.min(...seconds));
      seconds[at] += takes;
      return at === share - 1;
    });
  return [...ALWAYS, ...BY_CELL, ...chosen.map(([name]) => name)];
}

/** Every so manyth, so that neighbours in the table, which are alike, fall to different shares. */
export function partOf(share, all) {
  return share === null ? all : all.filter((_, i) => i % SHARES === share - 1);
}

/** What the environment asks for: null for everything. */
export function shareAskedFor({ KORORA_SHARE: asked = 'all' }) {
  const share = Number(asked);
  if (asked === 'all') return null;
  if (!Number.isInteger(share) || share < 1 || share > SHARES) throw new Error(`KORORA_SHARE is ${asked}: it is a number from 1 to ${SHARES}, or all`);
  return share;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [, , word, commit] = process.argv;
  if (word !== 'share' || !/^[0-9a-f]{8,}$/.test(commit ?? '')) {
    console.error('usage: node test/plan.mjs share COMMIT-HASH');
    process.exit(2);
  }
  console.log(shareOf(commit));
}
