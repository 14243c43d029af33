/**
 * `npm run histories`: makes every situation that workflows must replay on real parts, and writes what Temporal kept of it to
 * `test/replay/histories/v<version>/<situation>.json` (recording.ts), and the build to `test/replay/builds.json` (builds.ts).
 * Nothing is written unless all of it went well; then the folder of this version is made anew.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startInjector, workersThatAsk } from '../faults/injector.js';
import { SCENARIOS, VM } from '../scenarios.js';
import { type Stage, createStage } from '../stage.js';
import { type Testbed, type TestbedOptions, startTestbed } from '../testbed.js';
import { buildOfToday, folderOf, readBuilds, writeBuilds } from './builds.js';
import { outages } from './outages.js';
import { approvedMove, endedByPeople } from './people.js';
import { type Recording, THROW_AWAY_KEY, type Take, recordingOf } from './recording.js';
import { bootGuest, shortWorkflows } from './short-workflows.js';

const [, , guestDir = '', temporalBinary = '', outDir = ''] = process.argv;
const ROOT = '/tmp/korora-histories';
const payloadKey = `throw-away ${randomBytes(32).toString('base64')}\n`;
const stage = createStage({ line: (text) => process.stdout.write(`${text}\n`), passing: () => undefined });
const recordings = new Map<string, Recording>();

const build = await buildOfToday('.');
const folder = folderOf(build);
const builds = await readBuilds(outDir);
if (builds[folder]?.standing === 'pinned') throw new Error(`${folder} is pinned: its histories are of moves that its own build ends. Raise the version in package.json, and record again.`);

await rm(`${ROOT}-guest`, { force: true });
await symlink(guestDir, `${ROOT}-guest`);
for (const scenario of SCENARIOS) {
  await on(scenario.taps?.(ROOT) ?? {}, async (testbed, take) => {
    await scenario.run(testbed, stage);
    await take(scenario.name, `migrate-${VM}`);
  });
}
await withPlugsToPull();
await encrypted();
await rm(`${ROOT}-guest`, { force: true });
await rm(ROOT, { recursive: true, force: true });
await writeAll();
process.exit(0);

/** A testbed for as long as `work` lasts, which takes recordings of what happened on it. */
async function on(options: Partial<TestbedOptions>, work: (testbed: Testbed, take: Take, stage: Stage) => Promise<void>): Promise<void> {
  const testbed = await startTestbed({ root: ROOT, guestDir: `${ROOT}-guest`, temporalBinary, ...options });
  const take: Take = async (name, workflowId) => {
    recordings.set(name, await recordingOf(testbed.temporal, workflowId));
    stage.say(`recorded: ${name}`);
  };
  try {
    await work(testbed, take, stage);
  } finally {
    await testbed.stop();
  }
}

/** Its workers ask at every point, so that whatever is pulled is pulled there. */
async function withPlugsToPull(): Promise<void> {
  const socketPath = `${ROOT}.sock`;
  await rm(socketPath, { force: true });
  const injector = await startInjector(socketPath);
  try {
    await on({ workerCommands: workersThatAsk(socketPath, 'product') }, async (testbed, take) => {
      await shortWorkflows(testbed, stage, take);
      await endedByPeople(testbed, take);
      await outages(testbed, injector, take);
    });
  } finally {
    await injector.close();
  }
}

/** One move whose payloads Temporal cannot read, updates among them. */
async function encrypted(): Promise<void> {
  const keyFile = `${ROOT}.payload-key`;
  await writeFile(keyFile, payloadKey, { mode: 0o600 });
  try {
    await on({ temporalTap: async () => ({ KORORA_PAYLOAD_KEY: keyFile }) }, async (testbed, take) => {
      await bootGuest(testbed, stage);
      await approvedMove(testbed, 'host-b');
      await take('encrypted', `migrate-${VM}`);
    });
  } finally {
    await rm(keyFile);
  }
}

async function writeAll(): Promise<void> {
  const place = join(outDir, 'histories', folder);
  await rm(place, { recursive: true, force: true });
  await mkdir(place, { recursive: true });
  await writeFile(join(place, THROW_AWAY_KEY), payloadKey);
  for (const [name, recording] of recordings) await writeFile(join(place, `${name}.json`), `${JSON.stringify(recording, null, 1)}\n`);
  await writeBuilds(outDir, { ...builds, [folder]: { ...build, standing: 'replays' } });
}
