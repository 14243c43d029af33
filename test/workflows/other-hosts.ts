/** Made-up hosts for the workflows beside the move: each answers what a test says, refuses, or takes its task and is heard of no more. */
import { fromTemporal } from '../../client/errors.js';
import { type Failure, KororaError } from '../../domain/failures.js';
import { type HostId, VmId } from '../../domain/ids.js';
import { settleable } from '../../domain/settleable.js';
import type { HostSurvey, VmSurvey } from '../../domain/status.js';
import { toTemporal } from '../../temporal/failures.js';
import { samples } from '../support/documents.js';
import type { ActivityName, Stage } from './stage.js';
import { inTime } from './waits.js';

/** In the place of an answer: none. */
export const silence = Symbol('silence');

/** What a host answers; an answer that is thrown is its refusal. */
export type Script = { readonly [A in ActivityName]?: (host: HostId, argument: unknown) => unknown };

interface Ending {
  readonly said?: unknown;
  readonly failures?: readonly Failure[];
  /** Every try, in the order of the hosts where several are asked at once. */
  readonly asked: readonly string[];
}

let runs = 0;

export function asking(stage: Stage) {
  return async (workflow: string, args: object, script: Script): Promise<Ending> => {
    const workflowId = `${stage.source}-${workflow}-${++runs}`;
    const asked: string[] = [];
    const over = settleable<void>();
    stage.answer(workflowId, async ({ on, activity, argument, context }) => {
      const host = stage[on as 'source' | 'destination'];
      asked.push(`${host}: ${activity}`);
      try {
        const answers = script[activity];
        if (!answers) throw new Error(`nobody should ask for ${activity}`);
        const answer = answers(host, argument);
        if (answer === silence) await Promise.race([over.promise, context.cancelled]);
        return answer === silence ? null : answer;
      } catch (error) {
        throw toTemporal(error);
      }
    });
    try {
      const { client, controlQueue: taskQueue } = stage;
      const handle = await stage.startInTurn(workflowId, () => client.workflow.start(workflow, { taskQueue, workflowId, args: [args] }));
      const ending = inTime(`the end of ${workflowId}`, handle.result(), () => asked);
      return await ending.then((said) => ({ said, asked: inTurn(asked) }), (error: unknown) => ({ failures: failuresIn(error), asked: inTurn(asked) }));
    } finally {
      over.resolve();
    }
  };
}

/** Surveys go out at once, and come to their hosts in any order. */
function inTurn(asked: readonly string[]): string[] {
  const turns: string[][] = [];
  for (const one of asked) {
    const last = turns.at(-1);
    if (last && one.endsWith('surveyHost') && last[0]?.endsWith('surveyHost')) last.push(one);
    else turns.push([one]);
  }
  return turns.flatMap((turn) => turn.sort());
}

function failuresIn(error: unknown): readonly Failure[] {
  const told = fromTemporal(error, '');
  if (!(told instanceof KororaError)) throw told;
  return told.failures;
}

export const surveyOf = (hostId: HostId, vms: readonly VmSurvey[]): HostSurvey => ({
  ...{ hostId, reachable: true, bundleDigest: null, hypervisor: 'none', swtpm: 'none', pcrValues: {}, pcrProblem: null },
  ...{ availableMemoryBytes: 0, vms, failures: [], findings: [] },
});

export function vmOn(hostId: HostId, record: Pick<VmSurvey, 'ownership' | 'epoch' | 'mayRun'> & Partial<VmSurvey>): VmSurvey {
  return { ...{ vmId: VmId.parse(samples.vm.vmId), hostId, status: 'running', recordProblem: null, move: null, vm: null, consolePath: null }, ...record };
}
