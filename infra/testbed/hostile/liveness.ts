/** Once the attacker has stopped: honest people settle what he left, then start each VM, move it and move it back. All they use are documents that operators sign and what hosts say. */
import type { Driver } from './driver.js';
import { moveVm, recordsOf, reconcile, surveyAll } from './honest.js';
import { readVtpm, stateFileIn } from './memory-machine.js';
import { HOSTS, type HostName, vmOf } from './people.js';
import type { Past, World } from './world.js';

/** The others are left alone where the attacker did not touch them: a move takes time. */
const ALWAYS: readonly string[] = ['web'];

export async function checkTheWayBack(world: World, driver: Driver, vms: readonly string[], past: Past, isRestarted: boolean): Promise<void> {
  const { judge, people } = world;
  let mayRestart = true;
  const good = HOSTS.filter((host) => !world.hosts[host].isBad);
  const { ask, cancelAll } = driver.person();
  if (isRestarted) await attempt('the workers start', startWorkers);
  for (const vmId of vms) {
    if (!existsOn(vmId) || (!ALWAYS.includes(vmId) && isAsItWas(vmId))) continue;
    const secret = secretOf(vmId);
    const isStill = await attempt(`what is known of ${vmId} is brought together`, () => reconcile(ask, vmId, good, async (migrationId, host) => fenceOff(migrationId, host)));
    if (!isStill || isLost(vmId)) continue;
    const isThere = await attempt(`${vmId} is started`, async () => {
      const surveys = await surveyAll(ask, good);
      const [owner] = recordsOf(vmId, surveys).filter(({ mayRun }) => mayRun);
      if (!owner && recordsOf(vmId, surveys).some(({ ownership }) => ownership !== 'none')) throw new Error(`nobody owns it: ${describe(vmId)}`);
      const unread = surveys.flatMap(({ failures }) => failures).find(({ code, message }) => code.startsWith('RECORD') && message.includes(vmId));
      if (!owner && unread) throw new Error(`it may be anybody's: ${unread.message}`);
      const host = owner?.hostId ?? 'host-a';
      await ask(host, 'startVm', { start: await people.start(vmId, host, owner ? owner.epoch : null), vm: vmOf(vmId) });
      if (!world.hosts[host as (typeof HOSTS)[number]].machine.runs(vmId)) throw new Error(`it does not run: ${describe(vmId)}`);
    });
    if (isThere) await attempt(`${vmId} is moved and moved back`, () => thereAndBack(vmId));
    const now = secretOf(vmId);
    if (isThere && secret !== null && now !== secret) judge.tell('way-back', `${vmId} has another vTPM: ${now ?? 'none'} instead of ${secret}`);
  }
  await driver.untilQuiet();
  // A destination that still waits is closed by the end of its session, for which no clock goes here.
  const isWaiting = (host: HostName) => vms.some((vmId) => judge.recordOf(host, vmId)?.state === 'incoming');
  for (const host of good.filter((one) => !isWaiting(one))) for (const door of world.network.doorsOf(host)) judge.tell('doors-shut', `${door} still listens`);

  async function thereAndBack(vmId: string): Promise<void> {
    for (let leg = 0; leg < 2; leg++) {
      const [owner] = recordsOf(vmId, await surveyAll(ask, good)).filter(({ mayRun }) => mayRun);
      if (!owner) throw new Error('nobody owns it');
      const to = owner.hostId === 'host-a' ? 'host-b' : 'host-a';
      const outcome = await moveVm(ask, cancelAll, await people.order(vmId, owner.epoch, owner.hostId, to), vmOf(vmId));
      if (outcome !== 'moved') throw new Error(`the move from ${owner.hostId} to ${to} ${outcome}: ${describe(vmId)}`);
      if (!world.hosts[to].machine.runs(vmId)) throw new Error(`it does not run on ${to}`);
    }
  }

  async function attempt(what: string, work: () => Promise<void>): Promise<boolean> {
    try {
      await driver.until(work());
      return true;
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (mayRestart) {
        mayRestart = false;
        await driver.until(startWorkers());
        return attempt(what, work);
      }
      judge.tell('way-back', `${what}: ${problem}`);
      return false;
    }
  }

  /** What nobody tends a worker settles that starts. */
  async function startWorkers(): Promise<void> {
    await Promise.all(good.map((host) => world.startWorker(host)));
  }

  /** Nothing was written of it, and it runs where it ran. */
  function isAsItWas(vmId: string): boolean {
    return good.every((host) => {
      const [before, now] = [past.disks[host].files, world.hosts[host].disk.files];
      const of = (files: ReadonlyMap<string, Buffer>) => [...files].filter(([path]) => path.startsWith(`/var/${host}/vms/${vmId}/`));
      const had = of(before);
      return past.machines[host].runs(vmId) === world.hosts[host].machine.runs(vmId) && had.length === of(now).length && had.every(([path, content]) => now.get(path)?.equals(content));
    });
  }

  function existsOn(vmId: string): boolean {
    return HOSTS.some((host) => world.hosts[host].disk.names(`/var/${host}/vms`).includes(vmId));
  }

  /** It was given, in order, to a host that turned bad. */
  function isLost(vmId: string): boolean {
    const record = judge.recordOf('host-c', vmId);
    const isItsOwn = record?.state === 'owner' || world.hosts['host-c'].seemsGood;
    return world.hosts['host-c'].isBad && record !== null && isItsOwn && good.every((host) => ['none', 'retired', undefined].includes(judge.recordOf(host, vmId)?.state));
  }

  /** Its power is cut before anybody says so. */
  async function fenceOff(migrationId: string, host: string) {
    world.hosts[host as HostName].machine.turnOff();
    return people.fence(orderOf(migrationId), host);
  }

  function orderOf(migrationId: string) {
    const order = people.orders.get(migrationId);
    if (!order) throw new Error(`nobody ordered ${migrationId}`);
    return order;
  }

  /** Of the vTPM, wherever it runs or lies. */
  function secretOf(vmId: string): string | null {
    for (const host of good) {
      const { machine, disk, tpm } = world.hosts[host];
      const running = machine.secretOf(vmId);
      if (running) return running;
      const [state, installed] = [disk.files.get(stateFileIn(`/var/${host}/vms/${vmId}/vtpm`)), disk.files.get(`/var/${host}/vms/${vmId}/installed.json`)];
      if (!state || !installed) continue;
      const { vtpm } = JSON.parse(installed.toString()) as { readonly vtpm: { readonly keys: { readonly privateArea: string } } };
      const keys = tpm.opens(vtpm.keys.privateArea);
      const content = keys && readVtpm(state, keys.subarray(0, 32).toString('hex'));
      if (content) return content.secret;
    }
    return null;
  }

  function describe(vmId: string): string {
    return HOSTS.map((host) => `${host} ${judge.recordOf(host, vmId)?.state ?? 'no record'}, ${world.hosts[host].machine.runs(vmId) ? 'runs' : 'does not run'}`).join('; ');
  }
}
