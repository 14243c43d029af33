/**
 * What the corpus must hold, so that a replay tries it: every workflow, activity, update and query that there is, and the kinds of
 * event on which a workflow turns. Of the code itself, so that what is new and has no history fails here.
 */
import { describe, expect, it } from 'vitest';
import { createControlActivities, createHostActivities } from '../../activities/index.js';
import type { HostServices } from '../../activities/services.js';
import { readBuilds } from '../../infra/testbed/histories/builds.js';
import { IDENTITY, QUERIES, UPDATES } from '../../infra/testbed/histories/recording.js';
import { SCENARIOS } from '../../infra/testbed/scenarios.js';
import * as workflows from '../../workflows/index.js';
import { FOLDERS, RECORDED, type Recorded, attributesOf, isEncrypted, payloadsIn, place, startOf, textOf } from './corpus.js';

const builds = await readBuilds(place);

/** What a set of histories holds, by its kind. */
function heldBy(recorded: readonly Recorded[]): ReadonlySet<string> {
  const each = <T>(kind: string, name: (attributes: T) => string) => recorded.flatMap(({ recording }) => attributesOf<T>(recording, kind).map(name));
  return new Set([
    ...recorded.map(({ name }) => `situation ${name}`),
    ...recorded.map(({ recording }) => `workflow ${startOf(recording).workflowType.name}`),
    ...recorded.flatMap(({ recording }) => Object.keys(recording.answers).map((query) => `query ${query}`)),
    ...each<{ activityType: { name: string } }>('activityTaskScheduledEventAttributes', ({ activityType }) => `activity ${activityType.name}`),
    ...each<{ acceptedRequest: { input: { name: string } } }>('workflowExecutionUpdateAcceptedEventAttributes', ({ acceptedRequest }) => `update ${acceptedRequest.input.name}`),
    ...each('workflowExecutionCancelRequestedEventAttributes', () => 'event workflow cancel requested'),
    ...each('activityTaskTimedOutEventAttributes', () => 'event activity timed out'),
    ...each('timerFiredEventAttributes', () => 'event timer fired'),
    ...recorded.flatMap(({ recording }) => payloadsIn(recording.history).flatMap((payload) => (isEncrypted(payload) ? ['event encrypted payload'] : []))),
  ]);
}

const NEEDED: readonly string[] = [
  ...SCENARIOS.map(({ name }) => `situation ${name}`),
  ...Object.keys(workflows).map((name) => `workflow ${name}`),
  ...Object.keys({ ...createHostActivities({} as HostServices), ...createControlActivities({ evidenceDir: '' }) }).map((name) => `activity ${name}`),
  ...UPDATES.map((name) => `update ${name}`),
  ...QUERIES.map((name) => `query ${name}`),
  ...['workflow cancel requested', 'activity timed out', 'timer fired', 'encrypted payload'].map((kind) => `event ${kind}`),
];

const missingIn = (recorded: readonly Recorded[]) => {
  const held = heldBy(recorded);
  return NEEDED.filter((one) => !held.has(one));
};

it('one folder that replays holds everything that there is', () => {
  const missing = FOLDERS.filter((folder) => builds[folder]?.standing === 'replays').map((folder) => missingIn(RECORDED.filter((recorded) => recorded.folder === folder)));
  const [fewest = NEEDED] = missing.sort((a, b) => a.length - b.length);
  expect(fewest, 'No history holds this. Where it is new, add a situation that needs it to infra/testbed/histories/, and run `npm run histories`').toEqual([]);
});

describe('the demand', () => {
  it('knows what there is', () => {
    expect(NEEDED).toEqual(expect.arrayContaining(['workflow secureMigration', 'activity stopAndCopy', 'activity recordEvidence', 'update fence', 'query status']));
  });

  it('misses what only one history holds', () => {
    const anyway = missingIn(RECORDED);
    const without = (name: string) => missingIn(RECORDED.filter((recorded) => recorded.name !== name)).filter((one) => !anyway.includes(one));
    expect(without('quote')).toEqual(['workflow quoteHost', 'activity showState']);
    expect(without('cancelled')).toEqual(['event workflow cancel requested']);
    expect(without('encrypted')).toEqual(['event encrypted payload']);
    expect(without('fenced')).toEqual(expect.arrayContaining(['activity fenceDestination', 'update fence']));
  });
});

describe('a recording', () => {
  const OF_A_MACHINE = {
    'where code, homes and programs are': /\/(?:root|home|work|usr|opt|var|mnt)\/.{0,60}|node_modules|file:\/\//g,
    'a stack trace': /"stack_?[tT]race": ?"[^"]{1,60}/g,
    'the name of a machine': new RegExp(`${IDENTITY.source}.{0,60}`, 'gi'),
    'an identity': /"identity": ?"(?!recorded")[^"]*/g,
  };

  it.each(RECORDED)('$folder $name tells nothing of the machine that made it', async (recorded) => {
    const { recording } = recorded;
    const payloads = await Promise.all(payloadsIn(recording.history).map((payload) => textOf(recorded, payload)));
    const texts = [JSON.stringify(recording), ...payloads];
    for (const [what, pattern] of Object.entries(OF_A_MACHINE)) expect(texts.flatMap((text) => [...text.matchAll(pattern)].map(([found]) => found)), what).toEqual([]);
  });
});
