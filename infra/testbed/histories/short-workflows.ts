/** Workflows that ask hosts something and end: a VM is started, hosts are asked what they are, for a quote, and for what somebody would sign by. */
import type { quoteHost, showSurvey, surveyHosts } from '../../../workflows/index.js';
import { questionsOf } from '../../../client/verify/state.js';
import { surveyQuestionOf } from '../../../client/verify/survey.js';
import { CONTROL_QUEUE } from '../../../domain/steps.js';
import { VM, startGuest } from '../scenarios.js';
import type { Stage } from '../stage.js';
import type { Testbed } from '../testbed.js';
import type { Take } from './recording.js';

/** The VM runs on host-a then, and changes enough for a copy to have rounds. */
export async function bootGuest(testbed: Testbed, stage: Stage): Promise<void> {
  const { console } = await startGuest(testbed, stage, { dirtyMibPerSecond: 8 });
  await console.close();
}

/** As the client starts them, but with ids that are the same in every recording. */
export async function shortWorkflows(testbed: Testbed, stage: Stage, take: Take): Promise<void> {
  await bootGuest(testbed, stage);
  await take('start', `start-${VM}`);
  const { workflow } = testbed.temporal;
  const { bundle } = testbed.bundle;
  const hostIds = bundle.hosts.map(({ hostId }) => hostId);
  await workflow.execute<typeof surveyHosts>('surveyHosts', { taskQueue: CONTROL_QUEUE, workflowId: 'survey', args: [{ hostIds }] });
  await take('survey', 'survey');
  const [question] = questionsOf(bundle);
  if (!question) throw new Error('the bundle has no host');
  await workflow.execute<typeof quoteHost>('quoteHost', { taskQueue: CONTROL_QUEUE, workflowId: 'quote', args: [question] });
  await take('quote', 'quote');
  await workflow.execute<typeof showSurvey>('showSurvey', { taskQueue: CONTROL_QUEUE, workflowId: 'shown', args: [surveyQuestionOf(bundle, question.hostId, null)] });
  await take('shown', 'shown');
}
