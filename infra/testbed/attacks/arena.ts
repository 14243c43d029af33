/**
 * Where attacks happen: a testbed of three enrolled hosts with a small VM on the first, every channel behind a wire that the
 * attacker holds, and the control plane in his hands as well. After each attack it looks for what must still be so.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readSigner } from '../../../cli/keys.js';
import { type KororaClient, MigrationFailedError } from '../../../client/index.js';
import { digestOf } from '../../../domain/canonical.js';
import { type Envelope, type Signer, signEnvelope } from '../../../domain/envelope.js';
import { VmId } from '../../../domain/ids.js';
import { Order } from '../../../domain/order.js';
import { OwnershipRecord } from '../../../domain/ownership.js';
import { DEFAULT_LIMITS } from '../../../domain/progress.js';
import { type HostEntry, type InstalledBundle, installBundle } from '../../../domain/trust-bundle.js';
import type { VmDocument } from '../../../domain/vm.js';
import type { HostConfig } from '../../../workers/config.js';
import { endOfMove } from '../end-of-move.js';
import { built } from '../faults/built.js';
import { processesOf } from '../faults/vm-processes.js';
import { type GuestConsole, countsIn, openGuestConsole } from '../guest-console.js';
import { type Testbed, type TestbedOptions, startTestbed } from '../testbed.js';
import { codesInReason } from './sink-host.js';
import type { Trial } from './flip-trials.js';
import { type Rogue, openRogue } from './rogue.js';
import { type ThirdHost, addThirdHost } from './third-host.js';
import { type Wire, openWire } from './wire.js';

export type ArenaHost = 'host-a' | 'host-b' | 'host-c';

export interface SignedOrder {
  readonly order: Order;
  readonly signed: Envelope;
  readonly move: Pick<Order, 'vmId' | 'migrationId'>;
}

export interface Arena {
  readonly root: string;
  readonly testbed: Testbed;
  readonly rogue: Rogue;
  readonly vm: VmDocument;
  /** Of all three hosts. */
  readonly installed: InstalledBundle;
  /** Signs and installs the next bundle, in which this host has that status. */
  setStatus(host: ArenaHost, status: HostEntry['status']): Promise<void>;
  readonly operator: Signer;
  readonly configs: Readonly<Record<ArenaHost, HostConfig>>;
  /** To the channel of each host. */
  readonly wires: Readonly<Record<ArenaHost, Wire>>;
  /** Of the VM from host-a, which owns it, signed by the operator. */
  orderTo(destination: ArenaHost): Promise<SignedOrder>;
  /** A whole move by the product's own workflow: the codes it was refused with; none where the VM moved. */
  move(destination: ArenaHost): Promise<readonly string[]>;
  /** `attack` gives the codes it was refused with. `expected`: all of these, and no others. */
  attacked(what: string, destination: ArenaHost, expected: readonly string[] | ((codes: readonly string[]) => boolean), attack: () => Promise<readonly string[]>): Promise<Trial>;
  recordAt(host: ArenaHost): OwnershipRecord | null;
  /** 'goes on' where the VM counts on there; else what was seen. */
  countsOn(host: ArenaHost): Promise<string>;
  /** Where host-a's worker looks for a flip inside its channel. */
  readonly insideFile: string;
  close(): Promise<void>;
}

const WATCH_MS = 10;
/** Counts fifty times a second: a vCPU that ran for an instant is heard of. */
const GUEST = { memoryMib: 128, tickMs: 20, unsealEveryS: 1 };

export async function openArena(parts: Pick<TestbedOptions, 'root' | 'guestDir' | 'temporalBinary'>): Promise<Arena> {
  const wires = {} as Record<ArenaHost, Wire>;
  const insideFile = join(parts.root, 'inside.json');
  const reach = async (hostId: string, listen: Wire['target']) => (wires[hostId as ArenaHost] = await openWire(listen)).address;
  const testbed = await startTestbed({
    ...parts,
    channelTap: ({ hostId, listen }) => reach(hostId, listen),
    workerCommands: {
      host: (configFile) => [process.execPath, built('infra/testbed/attacks/host-worker.js'), configFile, insideFile],
      control: (evidenceDir) => [built('cli/main.js'), 'worker', 'control', '--evidence-dir', evidenceDir],
    },
  });
  const ends: (() => Promise<unknown>)[] = [() => Promise.all(Object.values(wires).map((wire) => wire.close())), () => testbed.stop()];
  const close = async () => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  try {
    return await populated(parts.root, testbed, wires, insideFile, reach, ends, close);
  } catch (error) {
    await close();
    throw error;
  }
}

async function populated(root: string, testbed: Testbed, wires: Record<ArenaHost, Wire>, insideFile: string, reach: (hostId: string, listen: Wire['target']) => Promise<Wire['address']>, ends: (() => Promise<unknown>)[], close: () => Promise<void>): Promise<Arena> {
  // Of this arena alone: a VM of that name on another testbed of this machine could be taken for a stranger.
  const vmId = VmId.parse(`prize-${randomBytes(3).toString('hex')}`);
  const [policy, operator] = [await readSigner(testbed.keys.policy.privateFile), await readSigner(testbed.keys.operator.privateFile)];
  const third: ThirdHost = await addThirdHost(testbed, vmId, policy.publicKey, (listen) => reach('host-c', listen));
  ends.push(third.close);
  const rogue = await openRogue(testbed);
  ends.push(rogue.close);
  const readInstalled = () => installBundle(JSON.parse(readFileSync(join(root, 'trust.json'), 'utf8')), 'the attacks', [policy.publicKey]);
  let [installed, client] = [readInstalled(), third.client];
  const configs = { 'host-a': testbed.hosts['host-a'].config, 'host-b': testbed.hosts['host-b'].config, 'host-c': third.config };
  const vm = await testbed.guest(vmId, GUEST);
  await client.startVm(vm, 'host-a');
  const consoleAt = (host: ArenaHost) => join(configs[host].runDir, vmId, 'console.log');
  await withConsole(consoleAt('host-a'), (guest) => guest.until((c) => c.unseals().length > 0, 'its first unsealing', 120_000));

  const recordAt = (host: ArenaHost): OwnershipRecord | null => {
    const path = join(configs[host].stateDir, 'vms', vmId, 'ownership.json');
    return existsSync(path) ? OwnershipRecord.parse(JSON.parse(readFileSync(path, 'utf8'))) : null;
  };

  const countsOn = (host: ArenaHost) =>
    withConsole(consoleAt(host), async (guest) => {
      const last = guest.counts().at(-1) ?? 0;
      await guest.until((c) => (c.counts().at(-1) ?? 0) > last + 2, `counting on at ${host}`);
      return 'goes on';
    }).catch((error: Error) => error.message);

  /** What of the VM is not as it was before the attack. */
  async function harm(destination: ArenaHost, epoch: number, settledBefore: number): Promise<readonly string[]> {
    const [source, there] = [recordAt('host-a'), recordAt(destination)];
    const processes = await processesOf(configs[destination], destination as 'host-b', vmId);
    const counts = await countsOn('host-a');
    const accepted = (there?.settled ?? []).filter(({ outcome }) => outcome === 'accepted').length;
    return [
      ...(source?.state === 'owner' && source.epoch === epoch ? [] : [`host-a holds it as ${source?.state} of epoch ${source?.epoch}, not as owner of ${epoch}`]),
      ...(there?.state === 'owner' ? [`${destination} owns it`] : []),
      ...(accepted > settledBefore ? [`${destination} accepted a move`] : []),
      ...(processes.length > 0 ? [`processes of it are left on ${destination}: ${processes.map(({ kind }) => kind).join(', ')}`] : []),
      ...(counts === 'goes on' ? [] : [counts]),
    ];
  }

  const arena: Arena = {
    root,
    testbed,
    rogue,
    vm,
    get installed() {
      return installed;
    },
    async setStatus(host, status) {
      const hosts = installed.bundle.hosts.map((entry) => (entry.hostId === host ? { ...entry, status } : entry));
      client = await testbed.installBundle({ ...installed.bundle, hosts });
      installed = readInstalled();
    },
    operator,
    configs,
    wires,
    insideFile,
    recordAt,
    countsOn,
    async orderTo(destination) {
      const order = Order.parse({
        kind: 'korora/order', version: 2, migrationId: crypto.randomUUID(), vmId, vmDigest: digestOf(vm), epoch: recordAt('host-a')?.epoch, source: 'host-a', destination, bundleDigest: installed.digest,
        limits: DEFAULT_LIMITS, requiresApproval: false, by: 'operator', notAfter: new Date(Date.now() + 3_600_000).toISOString(),
      });
      return { order, signed: await signEnvelope(order, operator), move: { vmId, migrationId: order.migrationId } };
    },
    move: (destination) => moveBy(client, vmId, destination),
    async attacked(what, destination, expected, attack) {
      const accepted = (recordAt(destination)?.settled ?? []).filter(({ outcome }) => outcome === 'accepted').length;
      const epoch = recordAt('host-a')?.epoch ?? 0;
      const watch = watchConsole(consoleAt(destination));
      const codes = [...new Set(await attack())];
      const said = await watch.end();
      const isExpected = typeof expected === 'function' ? expected(codes) : [...codes].sort().join() === [...expected].sort().join();
      const problems = [
        ...(codes.length === 0 ? ['it was not refused'] : []),
        ...(isExpected ? [] : [`refused by ${codes.join(', ')}${typeof expected === 'function' ? '' : `, not by ${expected.join(', ')}`}`]),
        ...(countsIn(said).length > 0 ? [`its vCPUs ran on ${destination}: it counted there`] : []),
        ...(await harm(destination, epoch, accepted)),
      ];
      // An attack that succeeded must not decide what the next one finds.
      if (recordAt(destination)?.state === 'owner') await moveBy(client, vmId, 'host-a');
      return { what, codes, problems };
    },
    close,
  };
  return arena;
}

async function moveBy(client: KororaClient, vmId: string, destination: string): Promise<readonly string[]> {
  const { runId } = await client.migrate({ vmId, destination });
  try {
    await endOfMove(client, vmId, runId);
    return [];
  } catch (error) {
    if (!(error instanceof MigrationFailedError)) throw error;
    // The destination's own reason stands in the text of its rejection.
    return error.failures.flatMap(({ code, message }) => [code, ...codesInReason(message)]);
  }
}

async function withConsole<T>(path: string, work: (guest: GuestConsole) => Promise<T>): Promise<T> {
  const guest = await openGuestConsole(path);
  try {
    return await work(guest);
  } finally {
    await guest.close();
  }
}

/** Whatever a copy of the VM says on a console that may come, and be removed again before the attack is over. */
function watchConsole(path: string): { end(): Promise<string> } {
  const over = new AbortController();
  const watching = (async () => {
    while (!over.signal.aborted) {
      if (existsSync(path)) {
        const guest = await openGuestConsole(path).catch(() => null);
        if (guest) return guest;
      }
      await delay(WATCH_MS);
    }
    return null;
  })();
  return {
    async end() {
      over.abort();
      const guest = await watching;
      await guest?.close();
      return guest?.text() ?? '';
    },
  };
}
