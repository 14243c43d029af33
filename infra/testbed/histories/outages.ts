/**
 * Moves whose destination is gone: for a step, from the start, and for good, fenced by an operator. Each ends on the source, and
 * the host comes back.
 */
import { workflowIdOf } from '../../../client/index.js';
import type { Injector } from '../faults/injector.js';
import type { Point } from '../faults/points.js';
import { killAll } from '../processes.js';
import { VM } from '../scenarios.js';
import { type Testbed, pidsBelow } from '../testbed.js';
import { untilView } from '../until-view.js';
import { failing } from './people.js';
import type { Take } from './recording.js';

const GONE = 'host-a';

/** The VM runs on host-b, before and after. */
export async function outages(testbed: Testbed, injector: Injector, take: Take): Promise<void> {
  const { client } = testbed;
  const killWorker = () => testbed.hosts[GONE].worker.kill();
  const order = () => client.migrate({ vmId: VM, destination: GONE });
  const untilMissed = (runId: string) => untilView(testbed, VM, runId, `word that ${GONE} is missed`, ({ status }) => status.nextAction?.includes(`--host ${GONE}`) ?? false);

  const inStep = once(injector, ({ kind, name, at }) => kind === 'activity' && name === 'prepareDestination' && at === 'before', killWorker);
  const { runId } = await order();
  await Promise.race([inStep, untilMissed(runId)]);
  await testbed.restartWorker(GONE);
  await failing(testbed, runId, 'HOST_UNREACHABLE');
  await take('destination-killed-in-a-step', workflowIdOf(VM));

  await killWorker();
  const silent = await order();
  await failing(testbed, silent.runId, 'HOST_UNREACHABLE');
  await testbed.restartWorker(GONE);
  await take('destination-silent', workflowIdOf(VM));

  // It owns the VM by then, and nobody hears of it: so it has something to yield when it is back.
  const unheard = once(injector, ({ kind, name, at }) => kind === 'write' && name === 'accept' && at === 'after', async () => {
    await killWorker();
    killAll(await pidsBelow(testbed.hosts[GONE].config.runDir));
  });
  const doubtful = await order();
  const { status } = await Promise.race([unheard, untilMissed(doubtful.runId)]);
  if (status.phase !== 'in-doubt') throw new Error(`the move whose destination lost power is ${status.phase}, and not in doubt`);
  await client.fence(VM, { host: GONE, reason: 'its power is cut' });
  await failing(testbed, doubtful.runId, 'HOST_FENCED');
  await take('fenced', workflowIdOf(VM));
  await testbed.restartWorker(GONE);
  const { owner, yielded } = await client.reconcile(VM);
  if (owner !== 'host-b' || !yielded.some((host) => host === GONE)) throw new Error(`${GONE} did not yield to host-b: the owner is ${owner}, and these yielded: ${yielded.join(', ')}`);
  await take('reconciled-after-fence', `reconcile-${VM}`);
}

/** Acts the first time that the host which will be gone reaches such a point, which it does not pass before. Rejects where that fails, and never resolves. */
function once(injector: Injector, fits: (point: Point) => boolean, act: () => Promise<unknown>): Promise<never> {
  let isDone = false;
  return injector.follow(async (point) => {
    if (isDone || point.on !== GONE || !fits(point)) return 'pass';
    isDone = true;
    await act();
    return 'pass';
  });
}
