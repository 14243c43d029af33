/**
 * Three hosts in one process for unit tests of activities: the product's activities, records, ledger, trust, verification, sessions and channel over machines, TPMs and files
 * in memory (infra/testbed/hostile/world.ts). What a test with these shows is what activities do of what their parts say. No claim about a real hypervisor, TPM, disk or network
 * rests on it: those are test/parts' and test/e2e's.
 *
 * Clocks stand still, so that nothing comes at the machine's own pace; nothing is done outside of a test, so that each mutant is tried by those that come to it.
 */
import type * as Noble from '@noble/curves/ed25519.js';
import { onTestFinished, vi } from 'vitest';
import type { HostActivities } from '../../activities/index.js';
import type { HostServices } from '../../activities/services.js';
import { digestOf } from '../../domain/canonical.js';
import { type Envelope, readEnvelope } from '../../domain/envelope.js';
import type { Failure } from '../../domain/failures.js';
import { HostId, type Role, VmId } from '../../domain/ids.js';
import { Order, type StartOrder } from '../../domain/order.js';
import type { OwnershipRecord } from '../../domain/ownership.js';
import { TrustBundle } from '../../domain/trust-bundle.js';
import type { VmDocument } from '../../domain/vm.js';
import { Driver } from '../../infra/testbed/hostile/driver.js';
import { Loot } from '../../infra/testbed/hostile/loot.js';
import { FOREVER, HOSTS, type HostName, OPERATOR, POLICY_SIGNER, bundleOf, sign, vmOf } from '../../infra/testbed/hostile/people.js';
import { IN_ORDER, Turns } from '../../infra/testbed/hostile/turns.js';
import { type Call, type Past, World, makeReady, newPast } from '../../infra/testbed/hostile/world.js';
import { textsOf } from './refusal.js';

// As infra/testbed/hostile/hooks.ts does for its program: a signature is checked once a process.
vi.mock('@noble/curves/ed25519.js', async (importReal) => {
  const real = await importReal<typeof Noble>();
  const { remembering } = await import('../../infra/testbed/hostile/remembered.js');
  return { ...real, ed25519: remembering(real.ed25519) };
});

type Name = keyof HostActivities;
type Argument<N extends Name> = Parameters<HostActivities[N]>[0];
type Answer<N extends Name> = Awaited<ReturnType<HostActivities[N]>>;

/** How far a move is to go. */
export const STAGES = ['ordered', 'opened', 'quoted', 'appraised', 'sealed', 'prepared', 'copied'] as const;
export type Stage = (typeof STAGES)[number];

export interface Begun {
  /** What stands around the parts of each host. */
  readonly services?: (services: HostServices) => HostServices;
  /** The VM that host-a starts; null for none. */
  readonly vm?: VmDocument | null;
}

export type Hosts = Awaited<ReturnType<typeof beginHosts>>;

/** Workers on three hosts, until the test is finished; `web`, or `vm`, runs on host-a, which owns its epoch 1. */
export async function beginHosts({ services, vm = vmOf('web') }: Begun = {}) {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  bare ??= makeReady().then(newPast);
  const isUsual = vm !== null && digestOf(vm) === digestOf(vmOf('web'));
  const past = isUsual ? await (usual ??= bare.then(withWeb)) : await bare;
  const world = new World({ past, turns: new Turns(IN_ORDER), watched: [], ...(services ? { planted: { services } } : {}) });
  onTestFinished(() => HOSTS.forEach((host) => world.endWorker(host)));
  const driver = new Driver(world, new Loot());
  const { people } = world;
  const { ask: asked } = driver.person();
  const ofWorker = (host: HostName): HostServices => {
    const found = world.hosts[host].services;
    if (!found) throw new Error(`no worker on ${host}`);
    return found;
  };

  const hosts = {
    world,
    people,
    machine: (host: HostName) => world.hosts[host].machine,
    files: (host: HostName) => world.hosts[host].disk.files,
    services: ofWorker,
    /** Gives turns until `work` is done. */
    drive: <T>(work: Promise<T>) => driver.until(work),
    ask: <N extends Name>(host: HostName, name: N, argument?: Argument<N>): Promise<Answer<N>> => driver.until((asked as (...args: unknown[]) => Promise<Answer<N>>)(host, name, argument)),
    /** Asks, and comes back at once. */
    call: <N extends Name>(host: HostName, name: N, argument?: Argument<N>): Call => {
      const call = world.call(host, name, [argument]);
      call.answer.catch(() => undefined);
      return call;
    },
    /** "CODE: message" of each failure by which a host refuses. */
    async refused<N extends Name>(host: HostName, name: N, argument?: Argument<N>): Promise<readonly string[]> {
      return refusalsOf(hosts.ask(host, name, argument));
    },
    /** Gives turns until it is so. */
    async until(isSo: () => boolean): Promise<void> {
      while (!isSo()) if (!(await driver.turn())) throw new Error('it never is so');
    },
    quiet: () => driver.untilQuiet(),
    startWorker: (host: HostName) => driver.until(world.startWorker(host)),
    record: (host: HostName, vmId = 'web'): OwnershipRecord | null => world.judge.recordOf(host, vmId),
    state: (host: HostName, vmId = 'web') => world.judge.recordOf(host, vmId)?.state ?? 'none',
    /** As its hypervisor has it. */
    status: (host: HostName, vmId = 'web') => world.hosts[host].machine.guests.get(runDirOf(host, vmId))?.status ?? 'absent',
    /** The bundle with other members, on every host or on some. */
    async install(changes: (bundle: TrustBundle) => object, on: readonly HostName[] = HOSTS, serial = 2): Promise<TrustBundle> {
      const aks = Object.fromEntries(HOSTS.map((name) => [name, world.hosts[name].tpm.state.ak])) as Parameters<typeof bundleOf>[0];
      const bundle = bundleOf(aks, serial, 'active');
      const changed = TrustBundle.parse({ ...bundle, ...changes(bundle) });
      const envelope = Buffer.from(JSON.stringify(await sign(changed, POLICY_SIGNER)));
      for (const host of on) world.hosts[host].disk.files.set(`/etc/${host}/bundle.json`, envelope);
      people.bundleDigest = digestOf(changed);
      return changed;
    },
    /** A move from host-a to host-b, as far as asked. */
    move: (stage: Stage, changes: Partial<Order> & { readonly vm?: VmDocument } = {}) => move(stage, changes),
    async start(document: VmDocument, host: HostName, epoch: number | null = null): Promise<Answer<'startVm'>> {
      return hosts.ask(host, 'startVm', { start: await startOf(document, host, epoch), vm: document });
    },
  };

  async function move(stage: Stage, { vm: document = vm ?? vmOf('web'), source = HostId.parse('host-a'), destination = HostId.parse('host-b'), epoch, ...others }: Partial<Order> & { readonly vm?: VmDocument }) {
    const [from, to] = [source as HostName, destination as HostName];
    const signed = await people.order(document.vmId, epoch ?? hosts.record(from, document.vmId)?.epoch ?? 0, source, destination, { vmDigest: digestOf(document), ...others });
    const order = orderIn(signed);
    const made = { signed, order, key: { vmId: order.vmId, migrationId: order.migrationId }, vm: document };
    const isOver = (last: Stage) => STAGES.indexOf(stage) < STAGES.indexOf(last);
    const both = <T>(work: (host: HostName, role: Role, peer: HostName) => Promise<T>) => Promise.all([work(from, 'source', to), work(to, 'destination', from)]);
    const ask = <N extends Name>(host: HostName, name: N, argument: Argument<N>) => asked(host, name, ...([argument] as unknown as Parameters<HostActivities[N]>));
    const work = async () => {
      if (isOver('opened')) return { ...made, port: 0, offers: null, evidence: null, wrapped: null, answers: null };
      const offers = await both((host, role) => ask(host, 'openSession', { order: signed, role }));
      const [ofSource, ofDestination] = offers;
      if (isOver('quoted')) return { ...made, port: 0, offers, evidence: null, wrapped: null, answers: null };
      const evidence = await Promise.all([
        ask(from, 'quoteHost', { order: signed, role: 'source', peer: ofDestination }),
        ask(to, 'quoteHost', { order: signed, role: 'destination', peer: ofSource }),
      ]);
      if (isOver('appraised')) return { ...made, port: 0, offers, evidence, wrapped: null, answers: null };
      await Promise.all([
        ask(from, 'appraisePeer', { order: signed, role: 'source', evidence: evidence[1] }),
        ask(to, 'appraisePeer', { order: signed, role: 'destination', evidence: evidence[0] }),
      ]);
      if (isOver('sealed')) return { ...made, port: 0, offers, evidence, wrapped: null, answers: null };
      const wrapped = await ask(from, 'wrapSecrets', { order: signed });
      await ask(to, 'unwrapSecrets', { order: signed, wrapped });
      if (isOver('prepared')) return { ...made, port: 0, offers, evidence, wrapped, answers: null };
      const { port } = await ask(to, 'prepareDestination', { order: signed, vm: document });
      if (isOver('copied')) return { ...made, port, offers, evidence, wrapped, answers: null };
      const answers = await Promise.all([ask(from, 'copyMemory', { order: signed, port }), ask(from, 'stopAndCopy', { order: signed, port }), ask(to, 'verifyImage', { order: signed })]);
      return { ...made, port, offers, evidence, wrapped, answers };
    };
    return driver.until(work());
  }

  for (const host of HOSTS) await hosts.startWorker(host);
  if (vm && !isUsual) await hosts.start(vm, 'host-a');
  return hosts;
}

/** With a clock that tests set. */
export async function timedHosts() {
  const clock = { ms: Date.now() };
  const hosts = await beginHosts({ services: (services) => ({ ...services, clock: { now: () => clock.ms } }) });
  return { hosts, clock };
}

/** What the hosts of a file's tests begin with is made once: the same documents need no new signatures. */
let bare: Promise<Past> | null = null;
let usual: Promise<Past> | null = null;

async function withWeb(past: Past): Promise<Past> {
  const world = new World({ past, turns: new Turns(IN_ORDER), watched: [] });
  const driver = new Driver(world, new Loot());
  await driver.until(world.startWorker('host-a'));
  await driver.until(world.call('host-a', 'startVm', [{ start: await startOf(vmOf('web'), 'host-a', null), vm: vmOf('web') }]).answer);
  const reached = world.past();
  world.endWorker('host-a');
  return reached;
}

export async function startOf(vm: VmDocument, host: HostName, epoch: number | null, changes: Partial<StartOrder> = {}): Promise<Envelope> {
  return sign({ kind: 'korora/start', version: 1, vmId: vm.vmId, vmDigest: digestOf(vm), host: HostId.parse(host), epoch: epoch as StartOrder['epoch'], by: OPERATOR, notAfter: FOREVER, ...changes } satisfies StartOrder);
}

export function orderIn(signed: Envelope): Order {
  const opened = readEnvelope(Order, 'korora/order', signed);
  if (!('document' in opened)) throw new Error('it is no order');
  return opened.document;
}

/** "CODE: message" of each failure; what came instead, where it is not refused. */
export async function refusalsOf(work: Promise<unknown>): Promise<readonly string[]> {
  const error = await work.then((answer) => new Error(`it answers ${JSON.stringify(answer)}`), (reason: unknown) => reason);
  const { failures, details, message } = error as { readonly failures?: readonly Failure[]; readonly details?: readonly [readonly Failure[]]; readonly message: string };
  const found = failures ?? details?.[0];
  return found ? textsOf(found) : [message];
}

export const WEB = VmId.parse('web');
const HOST_IDS = { 'host-a': HostId.parse('host-a'), 'host-b': HostId.parse('host-b'), 'host-c': HostId.parse('host-c') } as const;
export const { 'host-a': A, 'host-b': B, 'host-c': C } = HOST_IDS;

export function runDirOf(host: HostName, vmId = 'web'): string {
  return `/run/${host}/${vmId}`;
}
export const recordPath = (host: HostName, vmId = 'web') => `/var/${host}/vms/${vmId}/ownership.json`;
export const installedPath = (host: HostName, vmId = 'web') => `/var/${host}/vms/${vmId}/installed.json`;

/** The parts of host-b alone with others. */
export const onB = (changes: (services: HostServices) => Partial<HostServices>): Begun => ({ services: (services) => (services.hostId === 'host-b' ? { ...services, ...changes(services) } : services) });
export const onBWithImage = (change: (image: Awaited<ReturnType<HostServices['hypervisor']['openIncoming']>>) => object, log?: string[]): Begun =>
  onB(({ hypervisor }) => ({ hypervisor: { ...hypervisor, openIncoming: async (...args) => {
    const image = await hypervisor.openIncoming(...args);
    const closing = { close: () => (log?.push('close image'), image.close()) };
    return { sink: image.sink, loaded: () => image.loaded(), activate: () => image.activate(), ...closing, ...change(image) };
  } } }));
