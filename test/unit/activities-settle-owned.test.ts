/** activities/settle.ts on hosts in memory: a VM that is owned here runs on, and what is surplus goes. */
import { describe, expect, it } from 'vitest';
import { A, B, WEB, beginHosts, runDirOf, refusalsOf } from '../support/hosts-in-memory.js';
import { offeringOf, settlementOn, settlementOver } from '../support/moves-in-memory.js';
import { createSettlement } from '../../activities/settle.js';
import { refuse } from '../../domain/failures.js';
import { type OwnershipRecord, noRecord } from '../../domain/ownership.js';

describe('what is surplus', () => {
  it('goes, and nothing else does', async () => {
    const hosts = await beginHosts();
    const before = new Map(hosts.files('host-a'));
    await hosts.drive(settlementOn(hosts, 'host-a').discard(WEB));
    expect([hosts.status('host-a'), new Map(hosts.files('host-a'))]).toEqual(['running', before]);
  });

  it.each([
    ['stays on the disk until the time is over for which it is kept', '2100-01-01T00:00:00Z', true],
    ['goes from the disk with the moment at which that is over', '2000-01-01T00:00:00Z', false],
    ['goes from the disk where it is kept for nobody', null, false],
  ])('%s, and is ended', async (_, keptUntil, isThere) => {
    const hosts = await beginHosts();
    const record: OwnershipRecord = { ...noRecord(WEB, A), state: 'retired', epoch: 1, migrationId: (await hosts.move('ordered')).order.migrationId, peer: B, keptUntil };
    await hosts.drive(settlementOver(hosts, 'host-a', record).settlement.discard(WEB));
    expect([hosts.status('host-a'), hosts.machine('host-a').vtpms.size]).toEqual(['absent', 0]);
    expect([...hosts.files('host-a').keys()].some((path) => path.startsWith('/var/host-a/vms/web/vtpm'))).toBe(isThere);
  });

  it('is kept to the millisecond', async () => {
    const hosts = await beginHosts();
    const keptUntil = '2030-01-01T00:00:00.000Z';
    const record: OwnershipRecord = { ...noRecord(WEB, A), state: 'retired', epoch: 1, migrationId: (await hosts.move('ordered')).order.migrationId, peer: B, keptUntil };
    const ownership = { ...hosts.services('host-a').ownership, hold: <T>(_v: unknown, work: (held: OwnershipRecord, apply: never) => Promise<T>) => work(record, undefined as never) };
    const at = (ms: number) => createSettlement({ ...hosts.services('host-a'), ownership, clock: { now: () => ms } }).discard(WEB);
    const isThere = () => hosts.files('host-a').has('/var/host-a/vms/web/installed.json');
    await hosts.drive(at(Date.parse(keptUntil) - 1));
    expect(isThere()).toBe(true);
    await hosts.drive(at(Date.parse(keptUntil)));
    expect(isThere()).toBe(false);
  });

  it('has its vTPM ended, also where no hypervisor is left that would end it', async () => {
    const hosts = await beginHosts();
    const record: OwnershipRecord = { ...noRecord(WEB, A), state: 'retired', epoch: 1, migrationId: (await hosts.move('ordered')).order.migrationId, peer: B, keptUntil: null };
    hosts.machine('host-a').guests.clear();
    await hosts.drive(settlementOver(hosts, 'host-a', record).settlement.discard(WEB));
    expect(hosts.machine('host-a').vtpms.size).toBe(0);
  });
});

describe('a VM that is owned here', () => {
  it('runs on where its process is, out of whatever copy it was in', async () => {
    const hosts = await beginHosts();
    await hosts.drive(hosts.services('host-a').hypervisor.ensurePaused(WEB, runDirOf('host-a')));
    expect(await hosts.drive(settlementOn(hosts, 'host-a').bringBack(WEB))).toBe('runs');
    expect(hosts.machine('host-a').runs('web')).toBe(true);
    const image = await hosts.drive(hosts.services('host-a').hypervisor.openOutgoing((await hosts.move('ordered')).vm, runDirOf('host-a'), {} as never));
    expect(await hosts.drive(settlementOn(hosts, 'host-a').bringBack(WEB))).toBe('runs');
    await expect(image.paused).rejects.toMatchObject({ code: 'COPY_FAILED' });
  });

  it('is absent where it is not', async () => {
    const hosts = await beginHosts();
    hosts.machine('host-a').turnOff();
    expect(await hosts.drive(settlementOn(hosts, 'host-a').bringBack(WEB))).toBe('absent');
    expect(hosts.status('host-a')).toBe('absent');
  });

  it('is brought back in no other state', async () => {
    const hosts = await beginHosts();
    const { order } = await hosts.move('ordered');
    const offering = offeringOf(order.migrationId);
    for (const record of [noRecord(WEB, A), offering, { ...offering, state: 'relinquished' } as OwnershipRecord]) {
      expect(await refusalsOf(hosts.drive(settlementOver(hosts, 'host-a', record).settlement.bringBack(WEB)))).toEqual([`VM_NOT_OWNED: host-a does not own VM web: its ownership record says ${record.state}`]);
    }
  });

  it('is off the offer of the move that offered it, and of no other', async () => {
    const hosts = await beginHosts();
    const [{ key }, other] = [await hosts.move('ordered'), await hosts.move('ordered')];
    const own = settlementOver(hosts, 'host-a', offeringOf(key.migrationId));
    expect(await hosts.drive(own.settlement.withdrawOffer(key))).toBe('runs');
    expect(own.applied).toEqual([{ type: 'withdraw', migrationId: key.migrationId, shown: null }]);
    const others = settlementOver(hosts, 'host-a', offeringOf(other.key.migrationId));
    expect(await refusalsOf(hosts.drive(others.settlement.withdrawOffer(key)))).toEqual(['VM_NOT_OWNED: host-a does not own VM web: its ownership record says offering']);
    expect(others.applied).toEqual([]);
  });

  it('needs no offer to be taken back: but what else goes wrong is said', async () => {
    const hosts = await beginHosts();
    const { key } = await hosts.move('ordered');
    expect(await hosts.drive(settlementOn(hosts, 'host-a').withdrawOffer(key))).toBe('runs');
    expect(hosts.record('host-a')).toMatchObject({ state: 'owner', settled: [] });
    const owner: OwnershipRecord = { ...noRecord(WEB, A), state: 'owner', epoch: 1 };
    const refusedAs = refuse('OWNERSHIP_REFUSED', { host: 'host-a', event: 'withdraw', vm: 'web', state: 'a test' });
    for (const [record, error] of [[owner, new Error('the disk is full')], [owner, refuse('VM_UNKNOWN', { vm: 'web' })], [offeringOf(key.migrationId), refusedAs]] as const) {
      await expect(hosts.drive(settlementOver(hosts, 'host-a', record, () => Promise.reject(error)).settlement.withdrawOffer(key))).rejects.toBe(error);
    }
    await expect(hosts.drive(settlementOver(hosts, 'host-a', owner, () => Promise.reject(refusedAs)).settlement.withdrawOffer(key))).resolves.toBe('runs');
    // Like it, but none of this house's.
    const likeIt = Object.assign(new Error('like it'), { code: 'OWNERSHIP_REFUSED' });
    await expect(hosts.drive(settlementOver(hosts, 'host-a', owner, () => Promise.reject(likeIt)).settlement.withdrawOffer(key))).rejects.toBe(likeIt);
  });
});
