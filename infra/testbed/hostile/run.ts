/** One run: a copy of the past, what honest people do, an attacker beside them, perhaps a host that turns bad, and the way back once he has stopped. */
import { Writable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { Incoming } from '../../../channel/incoming.js';
import { openSigned } from '../../../domain/authority.js';
import { MigrationId } from '../../../domain/ids.js';
import type { SecretKey } from '../../../domain/secret-key.js';
import { randomFrom } from '../random.js';
import { type Act, MOMENTS, TURNED, attackOf } from './attacker.js';
import { Driver, withoutClocks } from './driver.js';
import { Terminated, moveVm } from './honest.js';
import type { Breach, InvariantName } from './judge.js';
import { checkTheWayBack } from './liveness.js';
import { type HostName, HOSTS, vmOf } from './people.js';
import type { Beginning } from './past.js';
import { Turns } from './turns.js';
import { type Call, type Planted, World } from './world.js';

/** All that is drawn of a run. Smaller numbers are simpler runs. */
export interface Plan {
  readonly acts: readonly Act[];
  /** Of the disorder in which the first so many turns are given. */
  readonly seed: number;
  readonly disorder: number;
  /** 0: some wait long; 1: any may be next. */
  readonly shuffle: number;
  /** 0: no part is; else this one of `SLUGGISH` waits often and long, where any does. */
  readonly sluggish: number;
  /** What honest people do: 0 moves `web` to host-b, 1 to host-c; 2 creates a VM; 3 both 0 and 2; 4 nothing. */
  readonly honest: number;
  /** Their workflow is terminated after so many questions; 0: never. */
  readonly terminate: number;
  /** host-c: 0 stays honest; 1 is changed after so many turns; 2 is revoked, and changed; 3 is in other hands, and looks as before. */
  readonly turned: number;
  /** 0: once a VM is handed over to it. */
  readonly turnedAt: number;
  /** Whether workers are started anew before the way back. */
  readonly isRestarted: boolean;
}

export interface RunResult {
  readonly breaches: readonly Breach[];
  readonly turns: number;
  readonly attacks: readonly string[];
}

/** The share of turns that is delayed, and by how many others at most. */
const [DELAYED, OFTEN_DELAYED, LONGEST_DELAY] = [0.08, 0.5, 60];
/** Parts that may be slow to answer, by how what they wait for begins. */
export const SLUGGISH = ['hypervisor of host-a', 'host-a', 'hypervisor of host-b', 'host-b'] as const;
const OF_THE_END: readonly InvariantName[] = ['way-back', 'doors-shut'];
const VMS = ['web', 'db', 'old', 'new'] as const;

export async function runOnce(plan: Plan, beginning: Beginning, watched: readonly InvariantName[], planted?: Planted): Promise<RunResult> {
  return withoutClocks(async () => {
    const random = randomFrom(plan.seed);
    const isDisorderly = () => turns.given < plan.disorder;
    const sluggish = SLUGGISH[plan.sluggish - 1];
    const isSluggish = (what: string) => sluggish !== undefined && what.startsWith(sluggish);
    const turns: Turns = new Turns({
      among: (count) => (plan.shuffle === 1 && isDisorderly() ? Math.floor(random() * count) : 0),
      delay: (what) => (plan.shuffle === 0 && isDisorderly() && random() < (isSluggish(what) ? OFTEN_DELAYED : DELAYED) ? Math.floor(random() * LONGEST_DELAY) : 0),
    });
    const world = new World({ past: beginning.past, turns, watched, ...(planted ? { planted } : {}) });
    const loot = beginning.loot.copy();
    const attacks: string[] = [];
    const calls: Call[] = [];
    const ofAct = ({ upon }: Act) => MOMENTS[(upon - 1) % MOMENTS.length] ?? null;
    const inTurn = plan.acts.filter((act) => ofAct(act) === null);
    const inWait = new Set(plan.acts.filter((act) => ofAct(act) !== null));
    let isOn = false;
    let nextAt = 0;
    const attack = () => {
      world.judge.lookAtVms(VMS);
      if (!isOn) return;
      if (plan.turned > 0 && (plan.turnedAt === 0 ? world.judge.handedTo.has('host-c') : turns.given >= plan.turnedAt) && !world.hosts['host-c'].isBad) {
        turn(world, plan.turned);
        driver.come(TURNED);
      }
      for (let [act] = inTurn; act && turns.given >= nextAt + act.wait; [act] = inTurn) {
        inTurn.shift();
        nextAt = turns.given;
        carryOut(act);
      }
      for (const act of inWait) {
        const since = driver.cameAt.get(ofAct(act) ?? '');
        if (since === undefined || turns.given < since + act.wait) continue;
        inWait.delete(act);
        carryOut(act);
      }
    };
    const carryOut = (act: Act) => {
      const { host, activity, argument, scheduledAtMs } = attackOf(act, loot, beginning.activityNames, world.hosts['host-c'].isBad ? world.hosts['host-c'].tpm : null);
      attacks.push(`turn ${turns.given}: ${host} ${activity} ${shown(argument)}${act.when === 0 ? '' : `, at ${scheduledAtMs} ms`}${act.stall === 0 ? '' : `, which waits ${act.stall} turns after ${act.after} of its own`}`);
      loot.asked(host, activity, argument);
      const call = world.call(host, activity, [argument], scheduledAtMs, { after: act.after, turns: act.stall });
      call.answer.then((answer) => loot.answered(answer), (error: unknown) => judgeRefusal(world, activity, error));
      calls.push(call);
    };
    /** Rather than that honest people lose patience, he does what comes next. */
    const hurry = () => {
      const [waiting] = inWait;
      if (!isOn || (inTurn.length === 0 && !waiting)) return false;
      if (inTurn.length > 0) nextAt = Number.NEGATIVE_INFINITY;
      else if (waiting) {
        inWait.delete(waiting);
        carryOut(waiting);
      }
      attack();
      return true;
    };
    const driver = new Driver(world, loot, attack, hurry);
    const result = () => ({ breaches: world.judge.breaches, turns: turns.given, attacks });
    try {
      await driver.until(Promise.all(HOSTS.map((host) => world.startWorker(host))));
      [isOn, nextAt] = [true, turns.given];
      try {
        await driver.until(honestWork(world, driver, plan));
      } catch (error) {
        world.judge.tell('moves-end', String(error));
      }
      while ((await driver.turn()) || hurry());
      for (const call of calls) call.cancel();
      await driver.untilQuiet();
      isOn = false;
      if (world.judge.breaches.length === 0 && OF_THE_END.some((one) => watched.includes(one))) await checkTheWayBack(world, driver, VMS, beginning.past, plan.isRestarted);
      return result();
    } finally {
      for (const host of HOSTS) world.endWorker(host);
    }
  });
}

async function honestWork(world: World, driver: Driver, { honest, terminate }: Plan): Promise<void> {
  const { people } = world;
  const person = () => driver.person(terminate === 0 ? Number.POSITIVE_INFINITY : terminate);
  const ended = (work: Promise<unknown>) =>
    work.catch((error: unknown) => {
      if (!(error instanceof Terminated) && !isAnswer(error)) throw error;
    });
  const move = async (to: HostName) => {
    const epoch = world.judge.recordOf('host-a', 'web')?.epoch ?? 0;
    const signed = await people.order('web', epoch, 'host-a', to);
    const { ask, cancelAll } = person();
    const outcome = await moveVm(ask, cancelAll, signed, vmOf('web'));
    if (outcome === 'failed') world.judge.over.add(openSigned('korora/order', signed).document.migrationId);
  };
  const create = async () => void (await person().ask('host-a', 'startVm', { start: await people.start('new', 'host-a', null), vm: vmOf('new') }));
  const work = [honest === 0 || honest === 3 ? move('host-b') : null, honest === 1 ? move('host-c') : null, honest === 2 || honest === 3 ? create() : null];
  await Promise.all(work.filter((one) => one !== null).map(ended));
}

/** host-c falls into bad hands: what its worker had in memory is theirs, and whoever reaches for it meets them. */
function turn(world: World, how: number): void {
  const host = world.hosts['host-c'];
  host.isBad = true;
  const { sessions } = host.services ?? {};
  const known = [...world.people.orders.keys()].flatMap((id) => sessions?.find(MigrationId.parse(id)) ?? []);
  const session = known.at(-1) ?? null;
  world.endWorker('host-c');
  host.seemsGood = how === 3;
  if (!host.seemsGood) {
    host.tpm.state.pcrs = { '0': 'ee'.repeat(32), '4': 'ee'.repeat(32), '7': 'ee'.repeat(32) };
    host.tpm.state.resetCount += 1;
  }
  if (how === 2) void world.installBundle('revoked', 2);
  world.network.takeOver('host-c', () => session && { key: session.identity.privateKey }, (socket) => meet(world, socket, session));
}

/** A destination that lost its way to the session key: it confirms with what anybody has, zeros. */
function meet(world: World, socket: TLSSocket, session: { readonly order: { readonly migrationId: MigrationId; readonly vmId: string }; readonly identity: never; readonly secrets: unknown } | null | { readonly order: { readonly migrationId: MigrationId; readonly vmId: string } }): void {
  if (!session) return void socket.destroy();
  const { migrationId, vmId } = session.order;
  const terms = { migrationId, identity: { spkiSha256: '', certificate: '', privateKey: '' }, peerSpkiSha256: '', sessionKey: ZEROS };
  const channel: Incoming = new Incoming(socket, terms, () => undefined);
  const sink = new Writable({
    write(_piece, _encoding, done) {
      world.judge.tell('good-hands', `host-c, changed since its quote, gets guest memory of ${vmId}`);
      done();
    },
  });
  channel.confirmed.then(() => channel.receiveImage(sink)).catch(() => undefined);
}

/** What a key that was destroyed once was. */
const ZEROS = { use: <T>(work: (bytes: Uint8Array) => T): T => work(new Uint8Array(32)) } as SecretKey;

const MUST_NOT: readonly string[] = ['INTERNAL'];

function judgeRefusal(world: World, activity: string, error: unknown): void {
  const { type, message } = error as { readonly type?: string; readonly message: string };
  if (type === undefined || MUST_NOT.includes(type)) world.judge.tell('typed-refusals', `${activity}: ${message}`);
}

function isAnswer(error: unknown): boolean {
  return typeof (error as { readonly type?: unknown }).type === 'string' || (error as Error).message === 'TIMED_OUT';
}

function shown(argument: unknown): string {
  const text = JSON.stringify(argument, (_, value: unknown) => (typeof value === 'string' && value.length > 60 ? `${value.slice(0, 20)}…` : value)) ?? 'nothing';
  return text.length > 600 ? `${text.slice(0, 600)}…` : text;
}

