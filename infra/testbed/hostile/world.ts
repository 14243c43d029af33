/**
 * Three hosts in one process: the product's own activities on its own records, ledger, trust, verification and channel, over machines, TPMs, disks and a network in
 * memory. Everything that waits goes by turns. A world is copied from another one, so that each run begins from the same past.
 */
import { randomBytes } from 'node:crypto';
import activity from '@temporalio/activity';
import { ActivityCancellationDetails } from '@temporalio/common/lib/activity-cancellation-details.js';
import { CancelledFailure, defaultPayloadConverter } from '@temporalio/common';
import { type HostActivities, createHostActivities } from '../../../activities/index.js';
import { createReconciliation } from '../../../activities/reconcile.js';
import type { HostServices } from '../../../activities/services.js';
import { type SessionKey, createSessions } from '../../../activities/session.js';
import { createSettlement } from '../../../activities/settle.js';
import { createIdentity } from '../../../channel/identity.js';
import type { ChannelIdentity, Channels } from '../../../channel/port.js';
import { createChannels } from '../../../channel/relay.js';
import { digestOf } from '../../../domain/canonical.js';
import { type Envelope, readEnvelope } from '../../../domain/envelope.js';
import { HostId } from '../../../domain/ids.js';
import { Order } from '../../../domain/order.js';
import { createOwnershipStore } from '../../../host/ownership-store.js';
import { createVmStore } from '../../../host/vm-store.js';
import { createEvidenceVerifier } from '../../../tpm/evidence-verifier.js';
import { startClock } from '../../../workers/clock.js';
import { createTrust } from '../../../workers/trust.js';
import { makeSoftwareKey } from '../software-ak.js';
import { type InvariantName, Judge } from './judge.js';
import { Disk, createMemoryAccess } from './memory-files.js';
import { Machine } from './memory-machine.js';
import { Network, standInForTls } from './memory-tls.js';
import { MemoryTpm, type TpmState } from './memory-tpm.js';
import { GOOD_PCRS, HOSTS, type HostName, POLICY_SIGNER, People, bundleOf, sign } from './people.js';
import type { Turns } from './turns.js';
import { type Life, type Stall, stalling } from './turns.js';

export type Arguments = readonly unknown[];
/** What stands around the parts of a host before its activities are made of them. */
export interface Planted {
  readonly services?: (services: HostServices) => HostServices;
  readonly activities?: (activities: HostActivities, services: HostServices) => HostActivities;
  /** Of what has no place among the parts; returns what takes it out again. */
  readonly plant?: () => () => void;
}

/** What of a world another one may begin with. */
export interface Past {
  readonly disks: Readonly<Record<HostName, Disk>>;
  readonly machines: Readonly<Record<HostName, Machine>>;
  readonly tpms: Readonly<Record<HostName, TpmState>>;
  readonly people: People;
}

interface Host {
  readonly name: HostName;
  readonly disk: Disk;
  readonly machine: Machine;
  readonly tpm: MemoryTpm;
  isBad: boolean;
  seemsGood: boolean;
  life: Life;
  services: HostServices | null;
  activities: HostActivities | null;
}

export interface Call {
  readonly answer: Promise<unknown>;
  /** As Temporal ends an activity of which it knows no more. */
  cancel(): void;
}

export interface WorldOptions {
  readonly past: Past;
  readonly turns: Turns;
  readonly watched: readonly InvariantName[];
  readonly planted?: Planted;
}

const IDENTITIES = 64;
let identities: readonly ChannelIdentity[] = [];

/** Key pairs take the machine's own time to make; those of a world are made before it begins. */
export async function makeReady(): Promise<void> {
  if (identities.length === 0) identities = await Promise.all(Array.from({ length: IDENTITIES }, () => createIdentity()));
}

export async function newPast(): Promise<Past> {
  const ofEach = <T>(make: (host: HostName) => T) => Object.fromEntries(HOSTS.map((host) => [host, make(host)])) as Record<HostName, T>;
  const aks = ofEach(() => makeSoftwareKey());
  const bundle = bundleOf(aks, 1, 'active');
  const bundleFile = Buffer.from(JSON.stringify(await sign(bundle, POLICY_SIGNER)));
  const disks = ofEach((host) => {
    const signers = Buffer.from(JSON.stringify({ version: 1, publicKeys: [POLICY_SIGNER.publicKey] }));
    return new Disk(new Map([[`/etc/${host}/bundle.json`, bundleFile], [`/var/${host}/trust/signers.json`, signers], ['/srv/vmlinuz', Buffer.alloc(1)], ['/srv/initrd.img', Buffer.alloc(1)]]), new Set(['/srv']));
  });
  const ledger = (counter: number) => Buffer.from(JSON.stringify({ version: 1, counter, generations: {}, intent: null, doubt: null }));
  for (const host of HOSTS) disks[host].files.set(`/var/${host}/ledger.json`, ledger(1));
  return {
    disks,
    machines: ofEach((host) => new Machine(HostId.parse(host), disks[host])),
    tpms: ofEach((host) => ({ ak: aks[host], root: randomBytes(32), pcrs: GOOD_PCRS, resetCount: 3, counter: 1, newestBundle: null })),
    people: new People(digestOf(bundle)),
  };
}

export class World {
  readonly turns: Turns;
  readonly network: Network;
  readonly people: People;
  readonly judge: Judge;
  readonly hosts: Readonly<Record<HostName, Host>>;
  readonly #planted: Planted;
  #identity = 0;

  constructor({ past, turns, watched, planted = {} }: WorldOptions) {
    this.turns = turns;
    this.network = new Network(turns);
    standInForTls(this.network);
    this.people = past.people.copy();
    this.#planted = planted;
    this.hosts = Object.fromEntries(
      HOSTS.map((name): [HostName, Host] => {
        const disk = past.disks[name].copy();
        const host: Host = { name, disk, machine: past.machines[name].copyTo(disk), tpm: new MemoryTpm(HostId.parse(name), { ...past.tpms[name] }), isBad: false, seemsGood: false, life: { isOver: true }, services: null, activities: null };
        return [name, host];
      }),
    ) as Record<HostName, Host>;
    this.judge = new Judge(this.hosts, this.people, watched);
    this.judge.now = () => turns.given;
  }

  past(): Past {
    const ofEach = <T>(make: (host: Host) => T) => Object.fromEntries(HOSTS.map((name) => [name, make(this.hosts[name])])) as Record<HostName, T>;
    const disks = ofEach(({ disk }) => disk.copy());
    return { disks, machines: ofEach(({ name, machine }) => machine.copyTo(disks[name])), tpms: ofEach(({ tpm }) => ({ ...tpm.state })), people: this.people.copy() };
  }

  /** A worker starts on the host, and does what it does before it takes work. */
  async startWorker(name: HostName): Promise<void> {
    const host = this.hosts[name];
    this.endWorker(name);
    host.life = { isOver: false };
    const parts = this.#services(host, host.life);
    const built = { ...parts, clock: await startClock({ access: parts.access, tpm: parts.tpm, file: `/var/${name}/clock.json` }) };
    const services = this.#planted.services?.(built) ?? built;
    await services.installedBundle();
    const findings = await createReconciliation(services, createSettlement(services)).reconcile();
    host.services = { ...services, findings };
    const activities = createHostActivities(host.services);
    host.activities = this.#planted.activities?.(activities, host.services) ?? activities;
  }

  endWorker(name: HostName): void {
    const host = this.hosts[name];
    [host.life.isOver, host.activities, host.services] = [true, null, null];
    this.network.cutOff(name);
    host.machine.forgetWorker();
  }

  get activityNames(): readonly string[] {
    const some = HOSTS.map((name) => this.hosts[name].activities).find((activities) => activities !== null);
    return Object.keys(some ?? {});
  }

  /** As Temporal calls it: what goes in and comes out is a payload. */
  call(name: HostName, activityName: string, args: Arguments, scheduledAtMs = Date.now(), stall: Stall = { after: 0, turns: 0 }): Call {
    const controller = new AbortController();
    const details: { details?: ActivityCancellationDetails } = {};
    const cancelled = new Promise<never>((_, reject) => controller.signal.addEventListener('abort', () => reject(new CancelledFailure('cancelled'))));
    cancelled.catch(() => undefined);
    const context = new activity.Context({ activityType: activityName, heartbeatTimeoutMs: 1000, currentAttemptScheduledTimestampMs: scheduledAtMs } as activity.Info, cancelled, controller.signal, () => undefined, undefined as never, undefined as never, undefined as never, details as never);
    const run = (this.hosts[name].activities as Record<string, (...args: Arguments) => Promise<unknown>> | null)?.[activityName];
    const order = activityName === 'openSession' ? this.#orderIn(args[0]) : null;
    const isRefused = order !== null && this.judge.isOver(name, order.migrationId);
    const answer = run
      ? stalling(stall, () => activity.asyncLocalStorage.run(context, () => run(...args.map(throughTemporal)))).then(throughTemporal)
      : new Promise<never>(() => undefined); // nobody takes it from the queue
    answer.then(
      (said) => {
        this.judge.answered(name, said);
        if (isRefused) this.judge.tell('refused-is-refused', `${name} opens a session of ${order?.migrationId}, which it settled`);
      },
      () => undefined,
    );
    return {
      answer,
      cancel() {
        details.details = new ActivityCancellationDetails({ notFound: true });
        controller.abort(new CancelledFailure('NOT_FOUND'));
      },
    };
  }

  #orderIn(argument: unknown): SessionKey | null {
    const { order, role } = (argument ?? {}) as { readonly order?: unknown; readonly role?: SessionKey['role'] };
    const opened = readEnvelope(Order, 'korora/order', order);
    return 'document' in opened && role ? { migrationId: opened.document.migrationId, orderDigest: digestOf(opened.document), role } : null;
  }

  async installBundle(statusOfC: 'active' | 'revoked', serial: number): Promise<Envelope> {
    const aks = Object.fromEntries(HOSTS.map((name) => [name, this.hosts[name].tpm.state.ak])) as never;
    const bundle = bundleOf(aks, serial, statusOfC);
    const envelope = await sign(bundle, POLICY_SIGNER);
    this.people.bundleDigest = digestOf(bundle);
    for (const name of HOSTS) this.hosts[name].disk.files.set(`/etc/${name}/bundle.json`, Buffer.from(JSON.stringify(envelope)));
    return envelope;
  }

  #services(host: Host, life: Life): Omit<HostServices, 'clock'> {
    const { name, disk, machine, tpm: module } = host;
    const { turns, judge } = this;
    const hostId = HostId.parse(name);
    const access = createMemoryAccess(hostId, disk, {
      turns, life, watcher: { written: (path, content, before) => judge.written(name, path, content, before), removed: (files) => judge.removed(name, files) },
    });
    const tpm = module.port(turns, life);
    const parts = { turns, life, power: { isOver: false }, watcher: { ran: (vmId: string) => judge.ran(name, vmId) } };
    const [stateDir, runDir] = [`/var/${name}`, `/run/${name}`];
    const vmsDir = `${stateDir}/vms`;
    const verifier = createEvidenceVerifier();
    const vtpms = machine.vtpmManager(parts);
    return {
      hostId,
      access,
      tpm: {
        ...tpm,
        sealAtRest: (secret) => {
          for (let at = 0; at < secret.length; at += 32) judge.usesKey(`${name} seals`, secret.subarray(at, at + 32));
          return tpm.sealAtRest(secret);
        },
      },
      verifier: {
        ...verifier,
        appraise(spec) {
          const result = verifier.appraise(spec);
          if (result.ok) judge.appraised(name, spec.migrationId);
          return result;
        },
      },
      vtpms: {
        ...vtpms,
        ensureRunning: (spec) => {
          for (const key of [spec.stateKey, spec.migrationKey]) judge.usesKey(`${name} starts a vTPM with`, key);
          return vtpms.ensureRunning(spec);
        },
      },
      hypervisor: machine.hypervisor(parts),
      channels: this.#channels(host, life),
      ownership: createOwnershipStore(access, { hostId, vmsDir, ledgerFile: `${stateDir}/ledger.json`, counter: tpm.ownershipCounter }),
      vms: createVmStore(access, { vmsDir, runDir }),
      sessions: createSessions(name),
      findings: [],
      installedBundle: createTrust(access, { hostId, stateDir, trustBundle: `/etc/${name}/bundle.json` } as never, tpm.newestBundle).installedBundle,
      eventLog: async () => null,
      channelListen: { host: name, port: 0 },
      storage: { disks: ['/srv'], boot: ['/srv'], reserved: [stateDir, runDir, `/etc/${name}`] },
    };
  }

  /** The product's own, on this world's network. */
  #channels({ name }: Host, life: Life): Channels {
    const { turns, judge, network } = this;
    const real = createChannels();
    return {
      createIdentity: async () => {
        await turns.take(`${name} makes a TLS key`, life);
        const identity = identities[(this.#identity += 1) % IDENTITIES];
        if (!identity) throw new Error('call makeReady first');
        return identity;
      },
      listen: async (address, terms) => {
        await turns.take(`${name} listens`, life);
        terms.sessionKey.use((key) => judge.usesKey(`${name} listens with`, key));
        network.from(name, life);
        return real.listen(address, terms);
      },
      connect: async (address, terms, signal) => {
        await turns.take(`${name} connects`, life);
        terms.sessionKey.use((key) => judge.usesKey(`${name} connects with`, key));
        network.from(name, life);
        const channel = await real.connect(address, terms, signal);
        return {
          broken: channel.broken,
          get sentBytes() {
            return channel.sentBytes;
          },
          sendImage: (image) => {
            const order = this.people.orders.get(terms.migrationId);
            if (order) judge.sends(order);
            return channel.sendImage(image);
          },
          sendManifest: (manifest) => channel.sendManifest(manifest),
          receiveVerdict: () => channel.receiveVerdict(),
          abort: (reason) => channel.abort(reason),
          close: () => channel.close(),
        };
      },
    };
  }
}

/** Null for undefined: that is what arrives. */
function throughTemporal(value: unknown): unknown {
  return defaultPayloadConverter.fromPayload(defaultPayloadConverter.toPayload(value));
}
