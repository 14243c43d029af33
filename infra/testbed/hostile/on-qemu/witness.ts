/**
 * Looks at what the hosts of a testbed keep on their disks, many times a second, and has the judge of the hostile control plane (judge.ts) say what is wrong. What is
 * there between two looks is not seen.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type InvariantName, Judge, recordPath } from '../judge.js';
import type { Testbed } from '../../testbed.js';
import { HOSTS, type HostName } from '../../faults/move.js';
import type { Order } from '../../../../domain/order.js';

/** Those that the disks and answers of real hosts show; run.ts looks for the others. */
const WATCHED: readonly InvariantName[] = ['one-may-run', 'records-readable', 'settled-as-ordered', 'nothing-erased', 'settled-for-good', 'gives-up-to-an-owner', 'takes-back-on-a-refusal', 'says-what-was', 'refused-is-refused', 'over-is-over', 'typed-refusals', 'moves-end', 'way-back', 'doors-shut'];
const EVERY_MS = 15;
/** Of what must not go while it is a VM's. */
export const KEPT = ['installed.json', 'vtpm/tpm2-00.permall'] as const;

export interface Witness {
  readonly judge: Judge;
  /** One look now. */
  look(): void;
  /** Whether it looks; while it does not, nothing is judged. An order has to be known before hosts act on it. */
  setLooking(isLooking: boolean): void;
  knows(order: Order): void;
  /** Which of `KEPT` a host has of a VM now. */
  keptOf(host: HostName, vmId: string): readonly string[];
  close(): void;
}

export function openWitness({ hosts }: Pick<Testbed, 'hosts'>): Witness {
  const files: Readonly<Record<HostName, Map<string, Buffer>>> = { 'host-a': new Map(), 'host-b': new Map() };
  const people = { orders: new Map<string, Order>(), fences: [], decided: new Map() };
  // That a vCPU ran, the consoles say (run.ts): fifty lines a second.
  const machine = { runs: () => false };
  const judge = new Judge(
    Object.fromEntries(HOSTS.map((host) => [host, { disk: { files: files[host] }, machine, isBad: false, seemsGood: false }])),
    people,
    WATCHED,
  );
  let isLooking = true;
  let kept = new Set<string>();
  const timer = setInterval(look, EVERY_MS);

  function look(): void {
    if (!isLooking) return;
    // What went is looked for first: a record that lets it go was written before.
    const still = new Set(HOSTS.flatMap(keptOn));
    const records = atOneTime();
    const changed = HOSTS.flatMap((host) => [...records[host]].flatMap(([path, content]) => {
      const before = files[host].get(path) ?? null;
      return before?.equals(content) ? [] : [{ host, path, content, before }];
    }));
    for (const { host, path, content } of changed) files[host].set(path, content);
    // All settlements before any change: one host's change may rest on what its peer settled in the same instant.
    for (const { host, path, content } of changed) judge.written(host, path, content, null);
    for (const { host, path, content, before } of changed) judge.written(host, path, content, before);
    for (const gone of kept) if (!still.has(gone)) judge.removed(gone.split(' ')[0] ?? '', [gone.split(' ')[1] ?? '']);
    kept = still;
  }

  /** Records of all hosts that stood on disk at one and the same time. */
  function atOneTime(): Record<HostName, Map<string, Buffer>> {
    for (let last = readBoth(); ; ) {
      const again = readBoth();
      if (HOSTS.every((host) => again[host].size === last[host].size && [...again[host]].every(([path, content]) => last[host].get(path)?.equals(content)))) return again;
      last = again;
    }
  }

  function readBoth(): Record<HostName, Map<string, Buffer>> {
    const of = (host: HostName) => new Map(vmsOn(host).flatMap((vmId) => {
      const content = readWhereThere(join(vmsDir(host), vmId, 'ownership.json'));
      return content ? [[recordPath(host, vmId), content] as const] : [];
    }));
    return { 'host-a': of('host-a'), 'host-b': of('host-b') };
  }

  function keptOn(host: HostName): string[] {
    return vmsOn(host).flatMap((vmId) => keptOf(host, vmId).map((name) => `${host} ${recordPath(host, vmId).replace('ownership.json', name)}`));
  }

  function keptOf(host: HostName, vmId: string): readonly string[] {
    return KEPT.filter((name) => existsSync(join(vmsDir(host), vmId, name)));
  }

  function vmsOn(host: HostName): string[] {
    return existsSync(vmsDir(host)) ? readdirSync(vmsDir(host)) : [];
  }

  function vmsDir(host: HostName): string {
    return join(hosts[host].config.stateDir, 'vms');
  }

  return {
    judge,
    look,
    setLooking(next) {
      isLooking = next;
      look();
    },
    knows: (order) => void people.orders.set(order.migrationId, order),
    keptOf,
    close: () => clearInterval(timer),
  };
}

function readWhereThere(path: string): Buffer | null {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
