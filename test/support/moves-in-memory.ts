/** What tests of moves on hosts in memory (hosts-in-memory.ts) begin and end them with. */
import { expect } from 'vitest';
import { createSettlement } from '../../activities/settle.js';
import type { Session } from '../../activities/session.js';
import type { MigrationId } from '../../domain/ids.js';
import type { VerdictStatement } from '../../domain/manifest.js';
import { type OwnershipEvent, type OwnershipRecord, type Settlement, noRecord } from '../../domain/ownership.js';
import type { HostName } from '../../infra/testbed/hostile/people.js';
import { A, B, type Hosts, WEB, beginHosts, orderIn } from './hosts-in-memory.js';

export type Move = Awaited<ReturnType<Hosts['move']>>;
export const REASON = 'its operator thought better of it';

export const ending = ({ signed }: Pick<Move, 'signed'>, reason = REASON) => ({ order: signed, reason });
export const settlementOn = (hosts: Hosts, host: HostName) => createSettlement(hosts.services(host));
export const ofVerdict = ({ order: { vmId, migrationId, destination, epoch } }: Pick<Move, 'order'>) => ({ protocol: 'korora/1', purpose: 'verdict', vmId, migrationId, destination, epoch: epoch + 1 });
export const rejected = (move: Pick<Move, 'order'>, reason = REASON) => ({ ...ofVerdict(move), verdict: 'rejected', manifestDigest: null, reason });
export const QUOTE = { attest: expect.any(String) as string, signature: expect.any(String) as string };

/** The source has handed over, and both workers are new: neither knows more than its record. */
export async function handedOver(hosts: Hosts, changes?: Parameters<Hosts['move']>[1]): Promise<Move> {
  const move = await hosts.move('prepared', changes);
  copying(hosts, move);
  await hosts.until(() => hosts.state('host-a') === 'relinquished');
  for (const host of ['host-b', 'host-a'] as const) hosts.world.endWorker(host);
  await hosts.quiet();
  await hosts.startWorker('host-a');
  return move;
}

/** The destination accepted, and its source, whose worker is new, does not know it. */
export async function acceptedUnheard(hosts: Hosts): Promise<{ readonly move: Move; readonly statement: VerdictStatement }> {
  const move = await hosts.move('prepared');
  const { verified } = copying(hosts, move);
  await hosts.until(() => hosts.state('host-b') === 'owner');
  hosts.world.endWorker('host-a');
  const { statement } = (await hosts.drive(verified.answer)) as { statement: VerdictStatement };
  await hosts.startWorker('host-a');
  return { move, statement };
}

/** As a worker has them that finds this record, whatever it applies; `applied` is what was. */
export function settlementOver(hosts: Hosts, host: HostName, record: OwnershipRecord, apply: (event: OwnershipEvent) => Promise<OwnershipRecord> = () => Promise.resolve(record)) {
  const applied: OwnershipEvent[] = [];
  const noting = (event: OwnershipEvent) => {
    applied.push(event);
    return apply(event);
  };
  const ownership = { ...hosts.services(host).ownership, read: () => Promise.resolve(record), hold: <T>(_: unknown, work: (held: OwnershipRecord, apply: (event: OwnershipEvent) => Promise<OwnershipRecord>) => Promise<T>) => work(record, noting), apply: (_: unknown, event: OwnershipEvent) => noting(event) };
  return { settlement: createSettlement({ ...hosts.services(host), ownership }), applied };
}

export async function orderOfEpoch(hosts: Hosts, epoch: number) {
  const signed = await hosts.people.order('web', epoch, 'host-a', 'host-b');
  return { signed, order: orderIn(signed) };
}

export const offeringOf = (migrationId: MigrationId) => ({ ...noRecord(WEB, A), state: 'offering', epoch: 1, migrationId, peer: B, order: {}, peerBoot: {} }) as unknown as OwnershipRecord;

/** Starts all three of a copy. */
export function copying(hosts: Hosts, { signed, port }: Move) {
  const [copied, handed] = (['copyMemory', 'stopAndCopy'] as const).map((name) => hosts.call('host-a', name, { order: signed, port }));
  const verified = hosts.call('host-b', 'verifyImage', { order: signed });
  if (!copied || !handed) throw new Error('not asked');
  return { copied, handed, verified };
}

export function sessionOn(hosts: Hosts, host: HostName, { order }: Pick<Move, 'order'>): Session {
  const session = hosts.services(host).sessions.find(order.migrationId);
  if (!session) throw new Error('no session');
  return session;
}

/** As a record has it of a move that was refused. */
export function refusedOf(migrationId: MigrationId, changes: Partial<Settlement> = {}): Settlement {
  return { migrationId, epoch: 2, outcome: 'rejected', manifest: null, reason: 'x', peer: null, authority: null, notAfter: null, ...changes };
}

/** A copy that waits for its approval. */
export async function waiting() {
  const hosts = await beginHosts();
  const move = await hosts.move('prepared', { requiresApproval: true });
  const calls = copying(hosts, move);
  await hosts.quiet();
  return { hosts, move, ...calls };
}
