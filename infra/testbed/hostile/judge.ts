/**
 * What must hold in a world whatever its control plane does, looked at when it may have changed. Knows the truth of the world (what runs, what stands on disks, what people
 * signed, who is in whose hands), and takes no host's word for it.
 */
import { OwnershipRecord, mayRun, ownedEpoch, settlementOf } from '../../../domain/ownership.js';
import { VerdictStatement } from '../../../domain/manifest.js';
import type { Order } from '../../../domain/order.js';
import type { Disk } from './memory-files.js';
import type { Machine } from './memory-machine.js';
import type { People } from './people.js';

export const INVARIANTS = {
  'attested-first': 'no byte of guest memory leaves before both hosts have appraised each other (P1)',
  'good-hands': 'no guest memory and no key reaches a host that is no longer what it was attested as (P2, P3)',
  'accepted-first': 'no vCPU runs where the record on disk does not let it (P4)',
  'one-runs': 'no VM runs on two hosts (P5)',
  'one-may-run': 'no two records let one VM run (P5)',
  'records-readable': 'every record and ledger is as its own schema has it',
  'settled-as-ordered': 'only a move that an order shows is settled, at exactly its epoch, on one of its hosts',
  'nothing-erased': 'no vTPM state and no key goes that nobody else has taken over',
  'keys-of-their-own': 'no key of zeros is used or sealed',
  'settled-for-good': 'a settlement stays as it is for as long as its order could be shown, and none takes its place',
  'gives-up-to-an-owner': 'a host gives a VM up where another one owned a later epoch, and not otherwise (P5)',
  'takes-back-on-a-refusal': 'a source that handed over takes the VM back where its destination refused it, and not otherwise (P5)',
  'says-what-was': 'no host says that it accepted what it did not accept',
  'refused-is-refused': 'an order that was settled opens no session again',
  'over-is-over': 'a move that ended without success is not accepted later',
  'typed-refusals': 'whatever is asked, the answer or refusal is one that the product knows',
  'moves-end': 'an honest move comes to an end',
  'way-back': 'once the attacker stops, every VM can be started, moved and moved back, with its own vTPM',
  'doors-shut': 'no listener and no process is left of a move that is over',
} as const;
export type InvariantName = keyof typeof INVARIANTS;

export interface Breach {
  readonly invariant: InvariantName;
  readonly what: string;
  /** Turns given before. */
  readonly at: number;
}

export interface JudgedHost {
  readonly disk: Pick<Disk, 'files'>;
  readonly machine: Pick<Machine, 'runs'>;
  /** In the attacker's hands. */
  readonly isBad: boolean;
  /** And yet in a state that meets the reference values: what such a host signs is believed, of moves to it. */
  readonly seemsGood: boolean;
}

export class Judge {
  readonly breaches: Breach[] = [];
  /** Of moves that ended without success, by the word of whoever made them. */
  readonly over = new Set<string>();
  /** Of hosts that appraised their peer, by move and host. */
  readonly #appraised = new Set<string>();
  /** Hosts that a VM was handed over to, whether or not they took it. */
  readonly handedTo = new Set<string>();
  now = () => 0;

  constructor(
    private readonly hosts: Readonly<Record<string, JudgedHost>>,
    private readonly people: Pick<People, 'orders' | 'fences' | 'decided'>,
    private readonly watched: readonly InvariantName[],
  ) {}

  tell(invariant: InvariantName, what: string): void {
    if (this.watched.includes(invariant) && !this.breaches.some((one) => one.invariant === invariant && one.what === what)) this.breaches.push({ invariant, what, at: this.now() });
  }

  /** Null where none stands on disk, or it cannot be read. */
  recordOf(host: string, vmId: string): OwnershipRecord | null {
    const content = this.hosts[host]?.disk.files.get(recordPath(host, vmId));
    return content ? readRecord(content) : null;
  }

  written(host: string, path: string, content: Buffer, before: Buffer | null): void {
    const vmId = /\/vms\/([^/]+)\/ownership\.json$/.exec(path)?.[1];
    if (path.endsWith('/ledger.json')) return void JSON.parse(content.toString());
    if (vmId === undefined) return;
    const record = readRecord(content);
    if (!record) return this.tell('records-readable', `the record of ${vmId} on ${host}: ${content.toString().replaceAll(/\s+/g, ' ')}`);
    this.#judgeSettlements(host, record);
    const earlier = before && readRecord(before);
    if (earlier) this.#judgeChange(host, earlier, record);
    const owners = Object.keys(this.hosts).filter((name) => this.#mayRunOn(name, vmId));
    if (owners.length > 1) this.tell('one-may-run', `${vmId} may run on ${owners.join(' and ')}`);
  }

  removed(host: string, files: readonly string[]): void {
    for (const path of files) {
      const vmId = /\/vms\/([^/]+)\/(?:installed\.json$|vtpm\/)/.exec(path)?.[1];
      if (vmId === undefined) continue;
      const record = this.recordOf(host, vmId);
      const isHeld = record !== null && ['owner', 'offering', 'relinquished'].includes(record.state);
      const wasOwned = record?.state === 'retired' && !this.hosts[record.peer]?.seemsGood;
      const isElsewhere = Object.keys(this.hosts).some((other) => other !== host && (this.recordOf(other, vmId)?.epoch ?? 0) > (record?.epoch ?? 0) && this.#hasTaken(other, vmId));
      if (isHeld || (wasOwned && !isElsewhere)) this.tell('nothing-erased', `${path}, while the record of ${host} says ${record.state} and nobody else has the VM`);
    }
  }

  ran(host: string, vmId: string): void {
    const record = this.recordOf(host, vmId);
    if (!record || !mayRun(record)) this.tell('accepted-first', `${vmId} is let run on ${host}, whose record says ${record?.state ?? 'nothing'}`);
  }

  lookAtVms(vmIds: readonly string[]): void {
    const hosts = Object.entries(this.hosts);
    for (const vmId of vmIds) {
      const running = hosts.filter(([, { machine }]) => machine.runs(vmId));
      if (running.length > 1) this.tell('one-runs', `${vmId} runs on ${running.map(([name]) => name).join(' and ')}`);
    }
  }

  appraised(host: string, migrationId: string): void {
    this.#appraised.add(`${migrationId} ${host}`);
  }

  sends({ migrationId, source, destination }: Pick<Order, 'migrationId' | 'source' | 'destination'>): void {
    const missing = [source, destination].filter((host) => !this.#appraised.has(`${migrationId} ${host}`));
    if (missing.length > 0) this.tell('attested-first', `${source} sends an image that ${missing.join(' and ')} did not appraise the peer of`);
  }

  usesKey(where: string, key: Uint8Array): void {
    if (key.every((byte) => byte === 0)) this.tell('keys-of-their-own', `${where}: ${key.length} bytes, all zero`);
  }

  /** Whether an order that this host is asked to open a session by was refused or withdrawn here. */
  isOver(host: string, migrationId: string): boolean {
    const decided = this.people.decided.get(`${migrationId} ${host}`);
    return decided === 'rejected' || decided === 'withdrawn';
  }

  /** What a host answered to anybody. */
  answered(host: string, answer: unknown): void {
    const { verdict } = verdictIn(answer) ?? {};
    if (verdict?.verdict !== 'accepted' || verdict.destination !== host || this.hosts[host]?.isBad) return;
    if (this.people.decided.get(`${verdict.migrationId} ${host}`) !== 'accepted') this.tell('says-what-was', `${host} says that it accepted ${verdict.migrationId} of ${verdict.vmId}`);
  }

  #hasTaken(host: string, vmId: string): boolean {
    const record = this.recordOf(host, vmId);
    return record !== null && !['none', 'incoming'].includes(record.state);
  }

  /** A host that a fence took for off, and one in other hands, are not counted: the operator answers for the first, nobody for the second. */
  #mayRunOn(name: string, vmId: string): boolean {
    const record = this.recordOf(name, vmId);
    if (this.hosts[name]?.isBad || !record || !mayRun(record)) return false;
    return !this.people.fences.some(({ host, vmId: fenced }) => host === name && fenced === vmId);
  }

  #judgeChange(host: string, before: OwnershipRecord, after: OwnershipRecord): void {
    for (const one of before.settled) {
      const isGood = one.notAfter === null || Date.parse(one.notAfter) >= Date.now();
      if (!isGood || one.epoch < ownedEpoch(after)) continue;
      const now = settlementOf(after, one.migrationId);
      if (now?.outcome !== one.outcome || now.epoch !== one.epoch) this.tell('settled-for-good', `${host} had ${one.outcome} ${one.migrationId} of ${before.vmId}, and now ${now?.outcome ?? 'knows nothing of it'}`);
    }
    const { vmId } = before;
    if (after.state === 'relinquished') this.handedTo.add(after.peer);
    const isToBad = before.state === 'relinquished' && this.hosts[before.peer]?.seemsGood;
    if (isToBad) return;
    if ((mayRun(before) || before.state === 'relinquished') && after.state === 'retired') {
      const others = Object.keys(this.hosts).filter((other) => other !== host && this.#hasTaken(other, vmId) && ownedEpoch(this.recordOf(other, vmId) ?? before) > before.epoch);
      if (others.length === 0) this.tell('gives-up-to-an-owner', `${host} gives up ${vmId}, of epoch ${before.epoch}, which nobody owned since`);
    }
    if (before.state === 'relinquished' && after.state === 'owner' && after.epoch === before.epoch && this.people.decided.get(`${before.migrationId} ${before.peer}`) !== 'rejected') {
      this.tell('takes-back-on-a-refusal', `${host} takes ${vmId} back, which ${before.peer} did not refuse`);
    }
  }

  #judgeSettlements(host: string, record: OwnershipRecord): void {
    for (const { migrationId, epoch, outcome } of record.settled) {
      this.people.decided.set(`${migrationId} ${host}`, outcome);
      const order = this.people.orders.get(migrationId);
      const isOfOrder = order && order.vmId === record.vmId && (order.source === host || order.destination === host);
      const isFenced = outcome === 'fenced' && this.people.fences.some((fence) => fence.migrationId === migrationId && fence.vmId === record.vmId);
      if (!isOfOrder || epoch !== order.epoch + (isFenced ? 2 : 1)) this.tell('settled-as-ordered', `${host} has ${outcome} ${migrationId} of ${record.vmId} at epoch ${epoch}; ${order ? `ordered for ${order.vmId} from epoch ${order.epoch}` : 'nobody ordered it'}`);
      if (outcome === 'accepted' && this.over.has(migrationId)) this.tell('over-is-over', `${host} accepted ${migrationId} of ${record.vmId}, which had ended`);
    }
  }
}

/** In an answer of settleDestination or verifyImage. */
function verdictIn(answer: unknown): VerdictStatement | null {
  const { statement = answer } = (answer ?? {}) as { readonly statement?: unknown };
  return VerdictStatement.safeParse(withoutOthers(statement)).data ?? null;
}

function withoutOthers(statement: unknown): unknown {
  const { verdict, quote } = (statement ?? {}) as Partial<VerdictStatement>;
  return { verdict, quote };
}

export function recordPath(host: string, vmId: string): string {
  return `/var/${host}/vms/${vmId}/ownership.json`;
}

function readRecord(content: Buffer): OwnershipRecord | null {
  try {
    return OwnershipRecord.safeParse(JSON.parse(content.toString())).data ?? null;
  } catch {
    return null;
  }
}
