/**
 * host/ledger.ts under host/ownership-store.ts, on real files and the NV counter of a real software TPM: a record that came back from a
 * backup is not acted on, whatever part of the folder was put back; a worker that dies at any write leaves nothing in doubt.
 */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { VmId } from '../../domain/ids.js';
import type { OwnershipEvent } from '../../domain/ownership.js';
import { ledgerDigestOf } from '../../domain/survey.js';
import { createLocalHost } from '../../host/local.js';
import { type OwnershipStore, createOwnershipStore } from '../../host/ownership-store.js';
import type { HostAccess } from '../../host/port.js';
import { createHostTpm } from '../../tpm/host-tpm.js';
import type { HostTpm, MonotonicCounter } from '../../tpm/port.js';
import { DESTINATION, PEER_BOOT, SIGNED_ORDER, SOURCE, VM, manifestOf, migrationId, orderOf, verdictOf } from '../support/documents.js';
import { refusalOf } from '../support/refusal.js';
import { type TpmTestbed, startTpmTestbed } from './tpm-testbed.js';

const OTHER = VmId.parse('web-2');
const access = createLocalHost(SOURCE);
let testbed: TpmTestbed;
let tpm: HostTpm;
let folder: string;

beforeAll(async () => {
  testbed = await startTpmTestbed();
  tpm = createHostTpm({ access, hostId: SOURCE, tcti: testbed.tcti, stateDir: join(testbed.folder, 'keys') });
}, 60_000);
afterAll(() => testbed?.stop());

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'korora-ledger-'));
  await opened().begin();
});
afterEach(() => rm(folder, { recursive: true }));

const state = () => join(folder, 'state');
const recordOf = (vmId: VmId) => join(state(), 'vms', vmId, 'ownership.json');
const ledgerFile = () => join(state(), 'ledger.json');
/** As a worker that has just started sees it. */
const opened = (through: HostAccess = access, counter: MonotonicCounter = tpm.ownershipCounter) => createOwnershipStore(through, { hostId: SOURCE, vmsDir: join(state(), 'vms'), ledgerFile: ledgerFile(), counter });

const signedForBy = async (store: OwnershipStore) => ledgerDigestOf(SOURCE, await store.showLedger());

const CREATE: OwnershipEvent = { type: 'create' };
const OFFER: OwnershipEvent = { type: 'offer', migrationId: migrationId(1), destination: DESTINATION, epoch: 2, order: SIGNED_ORDER, peerBoot: PEER_BOOT };
const RELINQUISH: OwnershipEvent = { type: 'relinquish', migrationId: migrationId(1) };
const RETIRE: OwnershipEvent = { type: 'learn-verdict', proven: { verdict: verdictOf(), proof: 'channel' } };
const WITHDRAW: OwnershipEvent = { type: 'withdraw', migrationId: migrationId(1), shown: null };
const EXPECT: OwnershipEvent = { type: 'expect', migrationId: migrationId(1), source: DESTINATION, epoch: 2, order: SIGNED_ORDER };
const ACCEPT: OwnershipEvent = { type: 'accept', migrationId: migrationId(1), epoch: 2, manifest: manifestOf() };
const CLAIM: OwnershipEvent = { type: 'learn-claim', keptUntil: '2030-01-08T00:00:00Z', proven: { proof: 'quote', authority: orderOf(), claim: { protocol: 'korora/1', purpose: 'claim', vmId: VM, hostId: DESTINATION, epoch: 2 as never, migrationId: migrationId(1) } } };

async function does(...events: readonly OwnershipEvent[]): Promise<void> {
  const store = opened();
  for (const event of events) await store.apply(VM, event);
}

const stale = (what: RegExp) => new RegExp(`^RECORD_STALE: the ownership record of VM web-1 on host-a may not be its last: ${what.source}`);

/** The state folder, or a part of it, as it was before `events`. */
async function putBackAfter(events: readonly OwnershipEvent[], part: () => string = state): Promise<void> {
  const backup = join(folder, 'backup');
  await cp(part(), backup, { recursive: true });
  await does(...events);
  await rm(part(), { recursive: true });
  await cp(backup, part(), { recursive: true });
}

describe('a state folder that was put back', () => {
  it.each<[string, readonly OwnershipEvent[], readonly OwnershipEvent[]]>([
    ['of the source, from before the move', [CREATE], [OFFER, RELINQUISH, RETIRE]],
    ['of the source, from before a move that is still open', [CREATE], [OFFER, RELINQUISH]],
    ['of the source, from the midst of the copy', [CREATE, OFFER], [RELINQUISH, RETIRE]],
    ['of the source, from before it was told', [CREATE, OFFER, RELINQUISH], [RETIRE]],
    ['of the destination, from before the move', [], [EXPECT, ACCEPT]],
  ])('%s is in doubt: nothing is read from it, nothing applied', async (_, before, since) => {
    await does(...before);
    await putBackAfter(since);
    const store = opened();
    expect(await store.doubt()).toMatch(/^the counter of the TPM is at \d+, and their ledger is of \d+$/);
    for (const vmId of [VM, OTHER]) expect(await refusalOf(store.read(vmId))).toMatch(/^RECORD_STALE: .*the counter of the TPM is at/);
    expect(await refusalOf(store.apply(VM, WITHDRAW))).toMatch(stale(/the counter/));
    expect(await refusalOf(store.apply(OTHER, CREATE))).toContain('RECORD_STALE');
    expect(await refusalOf(store.hold(VM, () => Promise.reject(new Error('held'))))).toMatch(stale(/the counter/));
    // The doubt is on disk: no restart takes it away.
    expect(await refusalOf(opened().read(VM))).toMatch(stale(/the counter/));
  });

  it('of a destination that accepted is in doubt as soon as the record was renewed after the pause', async () => {
    await does(EXPECT, ACCEPT);
    const backup = join(folder, 'backup');
    await cp(state(), backup, { recursive: true });
    await opened().renew(VM);
    await rm(state(), { recursive: true });
    await cp(backup, state(), { recursive: true });
    expect(await refusalOf(opened().read(VM))).toMatch(stale(/the counter/));
  });

  it('with only the folder of one VM leaves the others as they are', async () => {
    await does(CREATE);
    await putBackAfter([OFFER, RELINQUISH, RETIRE], () => join(state(), 'vms', VM));
    const store = opened();
    await store.apply(OTHER, CREATE);
    expect(await store.doubt()).toBeNull();
    expect(await refusalOf(store.read(VM))).toMatch(stale(/it is of generation \d+, the last one is of \d+/));
    expect((await store.inspect(VM)).record.state).toBe('owner');
  });

  it('without the record of a VM that had one is not taken for a host that never had it', async () => {
    await does(CREATE, OFFER);
    await rm(recordOf(VM));
    expect(await refusalOf(opened().read(VM))).toMatch(stale(/it is missing/));
  });

  it('without its ledger is in doubt', async () => {
    await does(CREATE);
    await rm(ledgerFile());
    expect(await refusalOf(opened().read(VM))).toMatch(stale(/there is no ledger of them/));
    expect(await refusalOf(opened().read(OTHER))).toContain('there is no ledger');
  });

  it('on a machine with another TPM is in doubt', async () => {
    await does(CREATE);
    await testbed.tool('tpm2_nvundefine', '-C', 'o', '0x1806b01');
    expect(await refusalOf(opened().read(VM))).toMatch(stale(/the TPM lacks the counter, which stood at \d+/));
  });

  it('gives way to a proven claim of another host, and is sure of that', async () => {
    await does(CREATE);
    await putBackAfter([OFFER, RELINQUISH, RETIRE]);
    const store = opened();
    expect((await store.apply(VM, CLAIM)).state).toBe('retired');
    expect((await opened().read(VM)).state).toBe('retired');
    expect(await refusalOf(opened().read(OTHER))).toContain('RECORD_STALE');
  });
});

describe('a reinstatement', () => {
  it('has the records believed as they are, once', async () => {
    await does(CREATE);
    await putBackAfter([OFFER, WITHDRAW]);
    const store = opened();
    const signedFor = await signedForBy(store);
    await store.reinstate(signedFor);
    expect([await store.doubt(), (await opened().read(VM)).state, (await opened().read(OTHER)).state]).toEqual([null, 'owner', 'none']);
    expect(await refusalOf(opened().reinstate(signedFor))).toContain('REINSTATEMENT_STALE');
  });

  it('of records that another backup replaced is refused', async () => {
    await does(CREATE, OFFER);
    const older = join(folder, 'older');
    await cp(join(state(), 'vms'), older, { recursive: true });
    await does(RELINQUISH);
    await putBackAfter([RETIRE]);
    const signedFor = await signedForBy(opened());
    await rm(join(state(), 'vms'), { recursive: true });
    await cp(older, join(state(), 'vms'), { recursive: true });
    expect(await refusalOf(opened().reinstate(signedFor))).toContain('REINSTATEMENT_STALE');
    expect(await refusalOf(opened().read(VM))).toContain('RECORD_STALE');
  });

  it('that was signed before something changed is refused', async () => {
    await does(CREATE);
    await putBackAfter([OFFER, WITHDRAW]);
    const signedFor = await signedForBy(opened());
    await opened().apply(VM, CLAIM);
    expect(await refusalOf(opened().reinstate(signedFor))).toContain('REINSTATEMENT_STALE');
    expect(await opened().doubt()).not.toBeNull();
  });
});

describe('a worker that dies', () => {
  const events = [CREATE, OFFER, RELINQUISH, RETIRE];

  it.each(['before', 'after'] as const)('%s any of its writes, or of the counter’s steps, leaves a record that is believed', async (when) => {
    let isDone = false;
    for (let step = 1; !isDone; step++) {
      await rm(state(), { recursive: true, force: true });
      await opened().begin();
      let left = step;
      const dying = async <T>(effect: () => Promise<T>): Promise<T> => {
        if (left < 0) throw new Error('dead');
        left -= 1;
        if (left > 0) return effect();
        left = -1;
        if (when === 'after') await effect();
        throw new Error('dead');
      };
      const through: HostAccess = { ...access, writeFileDurably: (path, content) => dying(() => access.writeFileDurably(path, content)) };
      const counter: MonotonicCounter = { ...tpm.ownershipCounter, raise: () => dying(() => tpm.ownershipCounter.raise()) };
      const store = opened(through, counter);
      let died = false;
      for (const event of events) await store.apply(VM, event).catch(() => (died = true));
      isDone = !died;
      const after = opened();
      expect([step, await after.doubt()]).toEqual([step, null]);
      expect(['none', 'owner', 'offering', 'relinquished', 'retired']).toContain((await after.read(VM)).state);
      // And the next worker goes on from there.
      for (const event of events) await after.apply(VM, event).catch(() => undefined);
      expect((await opened().read(VM)).state).toBe('retired');
    }
  });

  it('while another one drives its host is found out', async () => {
    const [one, other] = [opened(), opened()];
    await one.apply(VM, CREATE);
    await other.read(VM);
    await one.apply(OTHER, CREATE);
    expect(await refusalOf(other.apply(VM, OFFER))).toContain('RECORDS_IN_DOUBT');
  });
});

it('a VM has the records of its own name, also where every object has a member of that name', async () => {
  const vmId = VmId.parse('constructor');
  expect((await opened().read(vmId)).state).toBe('none');
  await opened().apply(vmId, CREATE);
  expect((await opened().read(vmId)).state).toBe('owner');
});

describe('the counter', () => {
  it('goes on above its last value where it was deleted and made again', async () => {
    const before = await tpm.ownershipCounter.raise();
    await testbed.tool('tpm2_nvundefine', '-C', 'o', '0x1806b01');
    expect(await tpm.ownershipCounter.read()).toBeNull();
    expect(await tpm.ownershipCounter.raise()).toBeGreaterThan(before);
  });

  it('survives a TPM that lost its power', async () => {
    const before = await tpm.ownershipCounter.raise();
    await testbed.restart('killed');
    expect([await tpm.ownershipCounter.read(), await tpm.ownershipCounter.raise()]).toEqual([before, before + 1]);
  });
});
