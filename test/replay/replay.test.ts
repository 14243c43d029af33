/**
 * Recorded histories against today's workflow code: a change that would break workflows which are under way fails here, and so does
 * one after which such a workflow would tell people something else of itself. Recorded by `npm run histories`; which folder must
 * replay stands in builds.json.
 */
import { DefaultLogger, Runtime, type WorkflowBundle } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildOfToday, readBuilds } from '../../infra/testbed/histories/builds.js';
import { FOLDERS, RECORDED, type Recorded, attributesOf, bundleThatAnswers, place, project, recordedAs, replay } from './corpus.js';

const builds = await readBuilds(place);
const today = await buildOfToday(project);
const of = (folder: string) => RECORDED.filter((recorded) => recorded.folder === folder);
const standing = (is: 'replays' | 'pinned') => FOLDERS.filter((folder) => builds[folder]?.standing === is);

const OTHER_ANSWER = 'Workflows that are under way would tell people something else of themselves. Where that is meant, write what today’s code answers into the `answers` of the recording (docs/decisions/0017-histories-and-builds.md)';

let bundle: WorkflowBundle;
beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR', () => undefined) });
  bundle = await bundleThatAnswers();
});

describe.each(standing('replays'))('%s, today', (folder) => {
  it.each(of(folder))('$name replays, and answers as it did', async (recorded) => {
    expect(recorded.recording.history.events.length).toBeGreaterThan(5);
    const answers = await replay(bundle, recorded).catch((error: unknown) => {
      throw new Error(waysOut(recorded, error), { cause: error });
    });
    expect(answers, OTHER_ANSWER).toEqual(recorded.recording.answers);
  });
});

/** None is pinned as long as workers state no deployment version. */
it('what is pinned does not replay: else the pin is clutter', async () => {
  for (const folder of standing('pinned')) {
    let isBroken = false;
    for (const recorded of of(folder)) isBroken ||= await replay(bundle, recorded).then(() => false, () => true);
    expect(isBroken, `every history of ${folder} replays with today's code: its row in builds.json may say so`).toBe(true);
  }
});

function waysOut({ folder, name }: Recorded, error: unknown): string {
  const isSameCode = builds[folder]?.workflowCode === today.workflowCode;
  const why = isSameCode
    ? `and the workflow code is the one that recorded it: the history is damaged, dist/ is not of these sources, or the SDK is another.`
    : `which is another than the one that recorded it. A workflow of that build which is under way would hang. Two ways out, of which docs/decisions/0017-histories-and-builds.md says when to take which:\n` +
      `  1. keep both behaviours in the workflow, the new one behind \`patched\`;\n` +
      `  2. say \`pinned\` in the row ${folder} of test/replay/builds.json, raise the version in package.json, and record new histories beside: \`npm run histories\`.`;
  return `${folder}/${name} does not replay with today's workflow code, ${why}\n${String(error)}`;
}

describe('a history does not replay', () => {
  it('in which another activity was called', async () => {
    const recorded = recordedAs('move');
    const wrap = attributesOf<{ activityType: { name: string } }>(recorded.recording, 'activityTaskScheduledEventAttributes').find(({ activityType }) => activityType.name === 'wrapSecrets');
    if (!wrap) throw new Error('the history has no wrapSecrets');
    wrap.activityType.name = 'appraisePeer';
    await expect(replay(bundle, recorded)).rejects.toThrow(DeterminismViolationError);
  });

  it('in which another update was accepted', async () => {
    const recorded = recordedAs('approved');
    const accepted = attributesOf<{ acceptedRequest: { input: { name: string } } }>(recorded.recording, 'workflowExecutionUpdateAcceptedEventAttributes').find(({ acceptedRequest }) => acceptedRequest.input.name === 'setLimits');
    if (!accepted) throw new Error('the history has no setLimits');
    accepted.acceptedRequest.input.name = 'setHeld';
    await expect(replay(bundle, recorded)).rejects.toThrow(DeterminismViolationError);
  });

  it('in which nobody cancelled what then was undone', async () => {
    const recorded = recordedAs('cancelled');
    nothingInPlaceOf('workflowExecutionCancelRequestedEventAttributes', recorded);
    await expect(replay(bundle, recorded)).rejects.toThrow(DeterminismViolationError);
  });

  it('in which the clock of a silent host did not run out', async () => {
    const recorded = recordedAs('destination-killed-in-a-step');
    nothingInPlaceOf('timerFiredEventAttributes', recorded);
    await expect(replay(bundle, recorded)).rejects.toThrow(DeterminismViolationError);
  });
});

/** Puts a signal that no workflow here hears in the place of the first such event. */
function nothingInPlaceOf(kind: string, { recording: { history } }: Recorded): void {
  const event = history.events.find((one) => one[kind] !== undefined) as Record<string, unknown> | undefined;
  if (!event) throw new Error(`the history has no event with ${kind}`);
  delete event[kind];
  Object.assign(event, { eventType: 'EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED', workflowExecutionSignaledEventAttributes: { signalName: 'unheard' } });
}
