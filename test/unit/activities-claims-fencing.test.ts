/** activities/claims.ts and fencing.ts on hosts in memory: a source takes back what an operator fenced, says so under its AK, and the fenced host gives up what it holds. */
import { describe, expect, it } from 'vitest';
import { A, B, C, type Hosts, WEB, beginHosts, installedPath, recordPath, refusalsOf, runDirOf } from '../support/hosts-in-memory.js';
import { type Move, QUOTE, acceptedUnheard, handedOver } from '../support/moves-in-memory.js';
import { createClaims } from '../../activities/claims.js';
import { createFencing } from '../../activities/fencing.js';
import { createSettlement } from '../../activities/settle.js';
import { refuse } from '../../domain/failures.js';
import type { ClaimStatement } from '../../domain/manifest.js';
import type { OwnershipRecord } from '../../domain/ownership.js';
import { VmDocument } from '../../domain/vm.js';
import type { InstalledVm } from '../../host/vm-store.js';
import { vmOf } from '../../infra/testbed/hostile/people.js';

const withDisk = VmDocument.parse({ ...vmOf('web'), disks: [{ id: 'one', path: '/srv/one.raw', format: 'raw' }] });
const installedOn = (hosts: Hosts) => JSON.parse(hosts.files('host-a').get(installedPath('host-a'))?.toString() ?? '') as InstalledVm;
const fenceOf = (hosts: Hosts, { order }: Move, host = 'host-b') => hosts.people.fence(order, host);

/** host-b accepted, host-a does not know it and took the VM back by a fence of host-b. */
async function fenced() {
  const hosts = await beginHosts();
  const { move, statement } = await acceptedUnheard(hosts);
  const fence = await fenceOf(hosts, move);
  expect(await hosts.ask('host-a', 'fenceDestination', { fence })).toEqual({ state: 'runs', epoch: 4 });
  const claim = await hosts.ask('host-a', 'stateClaim', { vmId: WEB, against: B });
  return { hosts, move, statement, fence, claim: claim as ClaimStatement };
}

/** host-a gave the VM to host-b by a proven verdict. */
async function moved() {
  const hosts = await beginHosts();
  const move = await hosts.move('copied');
  const before = hosts.files('host-a').get(recordPath('host-a'));
  return { hosts, move, before };
}

describe('fencing a destination', () => {
  it('takes the VM back above any epoch that the destination can hold, and lets it run on', async () => {
    const hosts = await beginHosts();
    const move = await handedOver(hosts);
    const fence = await fenceOf(hosts, move);
    expect(await hosts.ask('host-c', 'admitFence', { fence })).toBeUndefined();
    expect(await hosts.ask('host-a', 'fenceDestination', { fence })).toEqual({ state: 'runs', epoch: 4 });
    expect(hosts.record('host-a')).toMatchObject({ state: 'owner', epoch: 3, settled: [{ migrationId: move.order.migrationId, epoch: 3, outcome: 'fenced', peer: 'host-b', reason: 'ada: its power is cut', authority: fence }] });
    expect([hosts.status('host-a'), hosts.machine('host-a').runs('web'), installedOn(hosts).bootedAfter]).toEqual(['running', true, null]);
    expect(await hosts.ask('host-a', 'fenceDestination', { fence })).toEqual({ state: 'runs', epoch: 4 });
  });

  it('says where its process is gone', async () => {
    const hosts = await beginHosts();
    const move = await handedOver(hosts);
    hosts.machine('host-a').turnOff();
    expect(await hosts.ask('host-a', 'fenceDestination', { fence: await fenceOf(hosts, move) })).toEqual({ state: 'absent', epoch: 4 });
  });

  it('is of the host that the VM was handed to', async () => {
    const hosts = await beginHosts();
    const move = await handedOver(hosts);
    expect(await hosts.refused('host-a', 'fenceDestination', { fence: await fenceOf(hosts, move, 'host-c') })).toEqual([`OWNERSHIP_REFUSED: host-a refuses fence for VM web: its record says relinquished (epoch 1, move ${move.order.migrationId}, peer host-b)`]);
    expect(hosts.state('host-a')).toBe('relinquished');
  });

  it('is by an operator who may say it', async () => {
    const hosts = await beginHosts();
    const move = await handedOver(hosts);
    const fence = await fenceOf(hosts, move);
    await hosts.install(({ operators }) => ({ operators: operators.map((one) => ({ ...one, scopes: one.scopes.map((scope) => ({ ...scope, actions: ['migrate'] })) })) }));
    for (const name of ['admitFence', 'fenceDestination'] as const) expect(await hosts.refused('host-a', name, { fence })).toEqual([expect.stringMatching(/^OPERATOR_NOT_ALLOWED: /)]);
    expect(hosts.state('host-a')).toBe('relinquished');
  });

  async function withDiskFenced() {
    const hosts = await beginHosts({ vm: null });
    for (const host of ['host-a', 'host-b'] as const) hosts.files(host).set('/srv/one.raw', Buffer.alloc(512));
    await hosts.start(withDisk, 'host-a');
    const move = await handedOver(hosts, { vm: withDisk });
    return { hosts, move, fence: await fenceOf(hosts, move) };
  }

  it('starts a VM that has disks again from them, once', async () => {
    const { hosts, move, fence } = await withDiskFenced();
    const guest = hosts.machine('host-a').guests.get(runDirOf('host-a'));
    const vtpm = hosts.machine('host-a').vtpms.get(runDirOf('host-a'));
    expect(await hosts.ask('host-a', 'fenceDestination', { fence })).toEqual({ state: 'rebooted', epoch: 4 });
    expect(hosts.machine('host-a').guests.get(runDirOf('host-a'))).not.toBe(guest);
    expect(hosts.machine('host-a').vtpms.get(runDirOf('host-a'))).not.toBe(vtpm);
    expect([hosts.status('host-a'), hosts.machine('host-a').runs('web'), installedOn(hosts).bootedAfter]).toEqual(['running', true, move.order.migrationId]);
    const again = hosts.machine('host-a').guests.get(runDirOf('host-a'));
    expect(await hosts.ask('host-a', 'fenceDestination', { fence })).toEqual({ state: 'rebooted', epoch: 4 });
    expect(hosts.machine('host-a').guests.get(runDirOf('host-a'))).toBe(again);
  });

  it('ends a vTPM whose hypervisor is gone before it starts another', async () => {
    const { hosts, fence } = await withDiskFenced();
    hosts.machine('host-a').guests.clear();
    const vtpm = hosts.machine('host-a').vtpms.get(runDirOf('host-a'));
    expect(vtpm).toBeDefined();
    expect(await hosts.ask('host-a', 'fenceDestination', { fence })).toEqual({ state: 'rebooted', epoch: 4 });
    expect(hosts.machine('host-a').vtpms.get(runDirOf('host-a'))).not.toBe(vtpm);
  });

  it('leaves one that runs by itself since its copy broke', async () => {
    const { hosts, fence } = await withDiskFenced();
    const guest = hosts.machine('host-a').guests.get(runDirOf('host-a'));
    if (guest) [guest.status, guest.isRunning] = ['running', true];
    expect(await hosts.ask('host-a', 'fenceDestination', { fence })).toEqual({ state: 'runs', epoch: 4 });
    expect(hosts.machine('host-a').guests.get(runDirOf('host-a'))).toBe(guest);
    expect(installedOn(hosts).bootedAfter).toBeNull();
  });

  it('says why it does not start', async () => {
    const { hosts, move, fence } = await withDiskFenced();
    hosts.files('host-a').delete('/srv/one.raw');
    expect(await hosts.ask('host-a', 'fenceDestination', { fence })).toEqual({ state: 'absent', epoch: 4, problem: 'DISK_NOT_VISIBLE: host-a does not see disk one at /srv/one.raw' });
    expect([hosts.status('host-a'), hosts.machine('host-a').vtpms.size, installedOn(hosts).bootedAfter]).toEqual(['absent', 0, move.order.migrationId]);
    hosts.files('host-a').set('/srv/one.raw', Buffer.alloc(512));
    expect(await hosts.ask('host-a', 'fenceDestination', { fence })).toEqual({ state: 'rebooted', epoch: 4 });
  });

  it('boots nothing that is owned no more by then', async () => {
    const { hosts, fence } = await withDiskFenced();
    const services = hosts.services('host-a');
    const ownership = { ...services.ownership, hold: <T>(_: unknown, work: (held: OwnershipRecord, apply: never) => Promise<T>) => work({ state: 'offering' } as OwnershipRecord, undefined as never) };
    const fencing = createFencing({ ...services, ownership }, createSettlement(services));
    expect(await refusalsOf(hosts.drive(fencing.fenceDestination({ fence })))).toEqual(['VM_NOT_OWNED: host-a does not own VM web: its ownership record says offering']);
    expect(hosts.machine('host-a').guests.size).toBe(1);
  });
});

describe('a claim', () => {
  it('is of the epoch that the host owned by the fence, with what made it so', async () => {
    const { move, fence, claim } = await fenced();
    expect(claim).toEqual({ claim: { protocol: 'korora/1', purpose: 'claim', vmId: 'web', hostId: 'host-a', epoch: 3, migrationId: move.order.migrationId }, quote: QUOTE, authority: fence });
  });

  it('is of the order by which the VM came, against the host that it came from', async () => {
    const { hosts, move } = await moved();
    expect(await hosts.ask('host-b', 'stateClaim', { vmId: WEB, against: A })).toMatchObject({ claim: { hostId: 'host-b', epoch: 2, migrationId: move.order.migrationId }, authority: move.signed });
    expect(await hosts.ask('host-b', 'stateClaim', { vmId: WEB, against: C })).toBeNull();
    expect(await hosts.ask('host-a', 'stateClaim', { vmId: WEB, against: B })).toBeNull();
    expect(await hosts.ask('host-c', 'stateClaim', { vmId: WEB, against: B })).toBeNull();
  });

  it('is against the fenced host alone', async () => {
    const { hosts } = await fenced();
    expect(await hosts.ask('host-a', 'stateClaim', { vmId: WEB, against: C })).toBeNull();
  });

  it('is of the latest epoch, of those that count against that host', async () => {
    const { hosts, move } = await moved();
    const services = hosts.services('host-b');
    const { settled } = await hosts.drive(services.ownership.read(WEB));
    const [own] = settled;
    const others = [{ ...own, epoch: 4 }, { ...own, epoch: 6, outcome: 'rejected' }, { ...own, epoch: 7, authority: null }, { ...own, epoch: 5, migrationId: '00000000-0000-4000-8000-0000000000ff' }, { ...own, epoch: 3 }];
    const ownership = { ...services.ownership, read: () => Promise.resolve({ settled: others } as never) };
    const { stateClaim } = createClaims({ ...services, ownership }, createSettlement(services));
    expect(await hosts.drive(stateClaim({ vmId: WEB, against: A }))).toMatchObject({ claim: { epoch: 5, migrationId: '00000000-0000-4000-8000-0000000000ff' }, authority: move.signed });
  });

  it('that is proven has the fenced host give up what it holds, and keep it for as long as the bundle says', async () => {
    const { hosts, move, claim } = await fenced();
    expect([hosts.state('host-b'), hosts.status('host-b')]).toEqual(['owner', 'running']);
    const before = Date.now();
    expect(await hosts.ask('host-b', 'yieldToClaim', { statement: claim })).toBeUndefined();
    const record = hosts.record('host-b');
    expect(record).toMatchObject({ state: 'retired', epoch: 2, migrationId: move.order.migrationId, peer: 'host-a' });
    if (record?.state !== 'retired' || record.keptUntil === null) throw new Error('it keeps nothing');
    expect(Math.abs(Date.parse(record.keptUntil) - before - 86_400_000)).toBeLessThan(600_000);
    expect([hosts.status('host-b'), hosts.files('host-b').has(installedPath('host-b'))]).toEqual(['absent', true]);
    expect(await hosts.ask('host-b', 'yieldToClaim', { statement: claim })).toBeUndefined();
  });

  it('that says something else than was signed changes nothing', async () => {
    const { hosts, claim } = await fenced();
    const before = hosts.record('host-b');
    const said = { ...claim, claim: { ...claim.claim, epoch: 9 as never } };
    expect(await hosts.refused('host-b', 'yieldToClaim', { statement: said })).toEqual([expect.stringMatching(/^CLAIM_UNPROVEN: the claim of host-a does not count: QUALIFYING_DATA_MISMATCH/)]);
    expect([hosts.record('host-b'), hosts.machine('host-b').runs('web')]).toEqual([before, true]);
  });

  it('whose authority no operator signed, or who may not, counts as unproven', async () => {
    const { hosts, claim } = await fenced();
    const forged = { ...claim, authority: { ...claim.authority, signatures: [{ ...claim.authority.signatures[0], sig: Buffer.alloc(64).toString('base64') }] } } as ClaimStatement;
    expect(await hosts.refused('host-b', 'yieldToClaim', { statement: forged })).toEqual([expect.stringMatching(/^CLAIM_UNPROVEN: the claim of host-a does not count: ORDER_NOT_SIGNED: /)]);
    await hosts.install(({ operators }) => ({ operators: operators.map((one) => ({ ...one, scopes: one.scopes.map((scope) => ({ ...scope, actions: ['migrate'] })) })) }));
    expect(await hosts.refused('host-b', 'yieldToClaim', { statement: claim })).toEqual([expect.stringMatching(/^CLAIM_UNPROVEN: the claim of host-a does not count: OPERATOR_NOT_ALLOWED: /)]);
    expect(hosts.state('host-b')).toBe('owner');
  });

  it('is not called unproven where the host has no bundle to judge by, or something else fails', async () => {
    const { hosts, claim } = await fenced();
    const services = hosts.services('host-b');
    for (const error of [refuse('BUNDLE_INVALID', { host: 'host-b', problem: 'a test' } as never), new Error('the disk is gone')]) {
      const { yieldToClaim } = createClaims({ ...services, installedBundle: () => Promise.reject(error) }, createSettlement(services));
      await expect(hosts.drive(yieldToClaim({ statement: claim }))).rejects.toBe(error);
    }
  });

  it('does not have a host give up by an order what it still owns', async () => {
    const { hosts, move } = await moved();
    const claim = (await hosts.ask('host-b', 'stateClaim', { vmId: WEB, against: A })) as ClaimStatement;
    await hosts.ask('host-a', 'resolveSource', { statement: move.answers?.[2].statement as never });
    expect(await hosts.ask('host-a', 'yieldToClaim', { statement: claim })).toBeUndefined();
    expect(hosts.record('host-a')).toMatchObject({ state: 'retired', keptUntil: null });
  });

  it('that its record does not end by changes nothing', async () => {
    const hosts = await beginHosts();
    const { statement, move } = await acceptedUnheard(hosts);
    const claim = (await hosts.ask('host-b', 'stateClaim', { vmId: WEB, against: A })) as ClaimStatement;
    expect(statement.verdict.verdict).toBe('accepted');
    // It waits for the verdict of that move: by the order of it, it gives way.
    expect(await hosts.ask('host-a', 'yieldToClaim', { statement: claim })).toBeUndefined();
    expect(hosts.record('host-a')).toMatchObject({ state: 'retired', epoch: 1, migrationId: move.order.migrationId, peer: 'host-b' });
    const other = await beginHosts();
    expect(await other.refused('host-a', 'yieldToClaim', { statement: claim })).not.toEqual([]);
    expect([other.state('host-a'), other.machine('host-a').runs('web')]).toEqual(['owner', true]);
  });
});
