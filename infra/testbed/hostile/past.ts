/**
 * What every run begins with: VMs that were created, moved, fenced and taken back on three honest hosts, and all that went through Temporal meanwhile. Every activity
 * was asked at least once, so that the attacker has an honest argument of each.
 */
import { openSigned } from '../../../domain/authority.js';
import { HostId } from '../../../domain/ids.js';
import { ledgerDigestOf } from '../../../domain/survey.js';
import type { HostName } from './people.js';
import { HOSTS, vmOf } from './people.js';
import { Driver, withoutClocks } from './driver.js';
import { moveVm, recordsOf, reconcile, surveyAll } from './honest.js';
import { Loot } from './loot.js';
import { IN_ORDER, Turns } from './turns.js';
import { type Past, World, makeReady, newPast } from './world.js';

export interface Beginning {
  readonly past: Past;
  readonly loot: Loot;
  readonly activityNames: readonly string[];
}

export async function liveThePast(): Promise<Beginning> {
  await makeReady();
  const first = await newPast();
  return withoutClocks(async () => {
    const world = new World({ past: first, turns: new Turns(IN_ORDER), watched: [] });
    const driver = new Driver(world, new Loot(), () => {
      if (world.judge.recordOf('host-b', 'old')?.state === 'relinquished' && world.hosts['host-c'].activities) world.endWorker('host-c');
    });
    await driver.until(live(world, driver));
    await driver.untilQuiet();
    const { activityNames } = world;
    const never = activityNames.filter((name) => !driver.loot.heard.some(({ activity }) => activity === name));
    if (never.length > 0) throw new Error(`no honest person asks for ${never.join(', ')}: have one do so in ${import.meta.url}`);
    const past = world.past();
    for (const name of HOSTS) world.endWorker(name);
    return { past, loot: driver.loot, activityNames };
  });
}

async function live(world: World, driver: Driver): Promise<void> {
  const { people } = world;
  const { ask, cancelAll } = driver.person();
  const mustBe = <T>(what: string, actual: T, wanted: T) => {
    if (actual !== wanted) throw new Error(`in the past ${what} ${String(actual)} instead of ${String(wanted)}`);
  };
  for (const host of HOSTS) await world.startWorker(host);
  const start = async (name: string, host: HostName) => void (await ask(host, 'startVm', { start: await people.start(name, host, null), vm: vmOf(name) }));
  const move = async (name: string, epoch: number, from: HostName, to: HostName, changes = {}, whileCopying?: (signed: Awaited<ReturnType<typeof people.order>>) => Promise<void>) => {
    const signed = await people.order(name, epoch, from, to, changes);
    return moveVm(ask, cancelAll, signed, vmOf(name), whileCopying ? { whileCopying: () => whileCopying(signed) } : {});
  };

  await start('web', 'host-a');
  await start('db', 'host-b');
  // Signed, and never run: another one is, which its destination owns a later epoch by.
  await ask('host-b', 'inspectDestination', { order: await people.order('web', 1, 'host-a', 'host-b'), vm: vmOf('web') });
  mustBe('a move', await move('web', 1, 'host-a', 'host-b'), 'moved');
  mustBe('an expired order', await move('web', 2, 'host-b', 'host-a', { notAfter: '2020-01-01T00:00:00Z' }), 'failed');
  mustBe('a move that was approved', await move('web', 2, 'host-b', 'host-a', { requiresApproval: true }, async (signed) => {
    const order = openSigned('korora/order', signed).document;
    await ask('host-b', 'tuneCopy', { move: { vmId: order.vmId, migrationId: order.migrationId }, change: await people.limit(order) }).catch(() => undefined);
    await ask('host-b', 'holdCopy', { move: { vmId: order.vmId, migrationId: order.migrationId }, isHeld: false, approval: await people.approve(order) });
  }), 'moved');
  const refused = { order: await people.order('db', 1, 'host-b', 'host-a'), reason: 'its operator thought better of it' };
  await Promise.all([ask('host-b', 'closeSession', refused), ask('host-a', 'closeSession', refused)]);
  // Signed, and never run: its VM stays where it is.
  await ask('host-a', 'inspectDestination', { order: await people.order('db', 1, 'host-b', 'host-a'), vm: vmOf('db') });
  // Its destination goes silent once the source has stopped, and is fenced.
  await start('old', 'host-b');
  const signed = await people.order('old', 1, 'host-b', 'host-c');
  mustBe('a move to a host that went silent', await moveVm(ask, cancelAll, signed, vmOf('old')), 'unsettled');
  const { document: order } = openSigned('korora/order', signed);
  const fence = await people.fence(order, 'host-c');
  await ask('host-a', 'admitFence', { fence });
  await ask('host-b', 'fenceDestination', { fence });
  await world.startWorker('host-c');
  await reconcile(ask, 'old', HOSTS, async () => fence);
  const claim = await ask('host-b', 'stateClaim', { vmId: order.vmId, against: HostId.parse('host-c') });
  if (claim) await ask('host-c', 'yieldToClaim', { statement: claim });
  await ask('host-a', 'showState', { nonce: '5a'.repeat(32), pcrs: [0, 4, 7] });
  const surveys = await surveyAll(ask, HOSTS);
  const question = { nonce: '5b'.repeat(32), pcrs: [0, 4, 7] };
  await ask('host-a', 'showSurvey', { ...question, vmId: order.vmId });
  const { survey: { ledger } } = await ask('host-a', 'showSurvey', { ...question, vmId: null });
  if (ledger) await ask('host-a', 'reinstateRecords', { reinstatement: await people.reinstate('host-a', ledgerDigestOf(HostId.parse('host-a'), ledger)) });
  mustBe('web is on', recordsOf('web', surveys).find(({ mayRun }) => mayRun)?.hostId as string, 'host-a');
  mustBe('old is on', recordsOf('old', surveys).find(({ mayRun }) => mayRun)?.hostId as string, 'host-b');
}
