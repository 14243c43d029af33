/** activities/copy.ts and receipts.ts on hosts in memory: what a copy needs, what operators may say of it while it runs, and what each host signs afterwards. */
import { describe, expect, it } from 'vitest';
import { type Hosts, B, beginHosts, installedPath, refusalsOf } from '../support/hosts-in-memory.js';
import { type Move, QUOTE, copying, refusedOf, sessionOn, waiting } from '../support/moves-in-memory.js';
import { roundRecords } from '../../activities/copy.js';
import { createReceipts } from '../../activities/receipts.js';
import { digestOf } from '../../domain/canonical.js';
import { HostId, MigrationId } from '../../domain/ids.js';
import type { OwnershipRecord } from '../../domain/ownership.js';
import { FOREVER, OPERATOR, sign } from '../../infra/testbed/hostile/people.js';

const OTHER = MigrationId.parse('00000000-0000-4000-8000-0000000000ff');
const limitsOf = ({ order }: Move, downtimeLimitMs: number, changes: object = {}) =>
  sign({ kind: 'korora/limits', version: 1, migrationId: order.migrationId, vmId: order.vmId, limits: { ...order.limits, downtimeLimitMs }, by: OPERATOR, notAfter: FOREVER, ...changes } as never);

describe('a copy', () => {
  it('ends with what its rounds were, and with the verdict and the times of the pause', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('copied');
    const [copied, handed, verified] = move.answers ?? [];
    expect(copied).toEqual({ rounds: [] });
    expect(handed?.verdict).toEqual(verified?.statement.verdict);
    const { pausedAtMs, relinquishedAtMs, lastByteAtMs, manifestAtMs, verdictAtMs, pauseMs } = handed?.timings ?? ({} as never);
    expect([lastByteAtMs, manifestAtMs, verdictAtMs].every((ms, i, all) => ms >= (i === 0 ? pausedAtMs : (all[i - 1] ?? 0)))).toBe(true);
    expect([relinquishedAtMs >= pausedAtMs, pauseMs]).toEqual([true, verdictAtMs - pausedAtMs]);
    expect([hosts.state('host-a'), hosts.state('host-b')]).toEqual(['retired', 'owner']);
  });

  it('is for a peer that was appraised, with secrets that were wrapped, of a VM that is installed', async () => {
    const hosts = await beginHosts();
    const refusal = ['NOT_ATTESTED: host-a did not appraise its peer in this move: copying memory was asked for first'];
    for (const stage of ['quoted', 'appraised'] as const) {
      const move = await hosts.move(stage);
      for (const name of ['copyMemory', 'stopAndCopy'] as const) expect(await hosts.refused('host-a', name, { order: move.signed, port: 1 })).toEqual(refusal);
    }
    const sealed = await hosts.move('sealed');
    expect(await hosts.refused('host-b', 'copyMemory', { order: sealed.signed, port: 1 })).toEqual(['ORDER_INVALID: the order is not valid: host-b is not its source']);
    const session = sessionOn(hosts, 'host-a', sealed);
    const { secrets } = session;
    if (secrets) session.secrets = { ...secrets, epoch: 3 as never };
    expect(await hosts.refused('host-a', 'copyMemory', { order: sealed.signed, port: 1 })).toEqual([expect.stringMatching(/^SESSION_LOST: host-a /)]);
    hosts.files('host-a').delete(installedPath('host-a'));
    expect(await hosts.refused('host-a', 'copyMemory', { order: sealed.signed, port: 1 })).toEqual(['VM_UNKNOWN: VM web is not known on any host that answers']);
    expect([session.outgoing, hosts.state('host-a')]).toEqual([null, 'owner']);
  });

  it('goes to the port of the bundle, where that names one', async () => {
    const hosts = await beginHosts();
    await hosts.install(({ hosts: all }) => ({ hosts: all.map((one) => (one.hostId === 'host-b' ? { ...one, address: { host: 'host-b', port: 4444 } } : one)) }));
    const move = await hosts.move('prepared');
    expect(move.port).not.toBe(4444);
    const { handed, copied } = copying(hosts, move);
    expect(await refusalsOf(hosts.drive(handed.answer))).toEqual([expect.stringMatching(/4444/)]);
    expect(await refusalsOf(copied.answer)).toEqual([expect.stringMatching(/4444/)]);
    expect([hosts.state('host-a'), hosts.machine('host-a').runs('web')]).toEqual(['owner', true]);
  });

  it('that the destination rejects lets the VM run here again', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('prepared');
    const session = sessionOn(hosts, 'host-b', move);
    if (session.secrets) session.secrets = { ...session.secrets, vtpmIdentity: 'ee'.repeat(32) as never };
    const { handed } = copying(hosts, move);
    expect(await refusalsOf(hosts.drive(handed.answer))).toEqual([expect.stringMatching(/^DESTINATION_REJECTED: the destination rejected the image: MANIFEST_MISMATCH/)]);
    expect([hosts.state('host-a'), hosts.machine('host-a').runs('web')]).toEqual(['owner', true]);
  });

  it('ends where Temporal gives up its activity, and the VM runs on', async () => {
    const { hosts, copied, handed } = await waiting();
    copied.cancel();
    for (const { answer } of [copied, handed]) expect(await refusalsOf(hosts.drive(answer))).toEqual(['STEP_GIVEN_UP: host-a gave up its step of the move: its worker was out of touch with Temporal for too long']);
    expect([hosts.state('host-a'), hosts.machine('host-a').runs('web')]).toEqual(['owner', true]);
  });

  it('shows each round that was seen, in whole milliseconds', () => {
    const round = { round: 1, sentBytes: 2, remainingBytes: 3, totalBytes: 4, dirtyBytesPerSecond: 5, elapsedMs: 6.4, throttlePercent: 7 };
    const rounds: (typeof round)[] = [];
    [rounds[0], rounds[2]] = [round, { ...round, round: 3, elapsedMs: 6.6 }];
    const seen = { round: 1, sentBytes: 2, remainingBytes: 3, dirtyBytesPerSecond: 5, throttlePercent: 7, elapsedMs: 6 };
    expect(roundRecords({ rounds })).toEqual([seen, { ...seen, round: 3, elapsedMs: 7 }]);
  });
});

describe('other limits', () => {
  it('are those that an operator signed, and are remembered once', async () => {
    const { hosts, move } = await waiting();
    const change = await limitsOf(move, 200);
    for (let i = 0; i < 2; i++) expect(await hosts.ask('host-a', 'tuneCopy', { move: move.key, change })).toBeUndefined();
    await hosts.ask('host-a', 'tuneCopy', { move: move.key, change: await limitsOf(move, 100) });
    await hosts.ask('host-a', 'tuneCopy', { move: move.key, change });
    expect(sessionOn(hosts, 'host-a', move).limitsChanges.map(({ limits }) => limits.downtimeLimitMs)).toEqual([200, 100, 200]);
  });

  it('are for a copy that runs here, of the very move', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('sealed');
    const refusal = ['NOT_COPYING: VM web is not in its memory rounds (phase unknown here)'];
    expect(await hosts.refused('host-a', 'tuneCopy', { move: move.key, change: await limitsOf(move, 200) })).toEqual(refusal);
    expect(await hosts.refused('host-c', 'tuneCopy', { move: move.key, change: await limitsOf(move, 200) })).toEqual(refusal);
    const other = await waiting();
    expect(await other.hosts.refused('host-a', 'tuneCopy', { move: other.move.key, change: await limitsOf(other.move, 200, { migrationId: OTHER }) })).toEqual(['ORDER_INVALID: the order is not valid: migrationId: it is of another move']);
    expect(sessionOn(other.hosts, 'host-a', other.move).limitsChanges).toEqual([]);
  });
});

describe('holding a copy', () => {
  const hold = (_: Hosts, move: Move, isHeld: boolean, approval: unknown = null) => ({ move: move.key, isHeld, approval }) as never;

  it('needs nobody’s word; letting go on before an approval does', async () => {
    const { hosts, move } = await waiting();
    expect(await hosts.ask('host-a', 'holdCopy', hold(hosts, move, false))).toMatchObject({ isHeld: true });
    expect(sessionOn(hosts, 'host-a', move)).toMatchObject({ isHeld: true, approval: null });
    const approval = await hosts.people.approve(move.order);
    expect(await hosts.ask('host-a', 'holdCopy', hold(hosts, move, true, approval))).toMatchObject({ isHeld: true });
    expect(sessionOn(hosts, 'host-a', move).approval).toMatchObject({ by: 'grace', orderDigest: digestOf(move.order) });
    expect(await hosts.ask('host-a', 'holdCopy', hold(hosts, move, false, await hosts.people.approve(move.order)))).toMatchObject({ isHeld: false });
    await hosts.quiet();
    expect([hosts.state('host-a'), hosts.state('host-b')]).toEqual(['retired', 'owner']);
    expect(await hosts.refused('host-a', 'holdCopy', hold(hosts, move, true))).toEqual(['NOT_COPYING: VM web is not in its memory rounds (phase stopped)']);
  });

  it('is remembered for a copy that has yet to open', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('opened');
    expect(await hosts.ask('host-a', 'holdCopy', hold(hosts, move, true))).toEqual({ isHeld: true, isCertain: true });
    expect(sessionOn(hosts, 'host-a', move).isHeld).toBe(true);
    expect(await hosts.refused('host-c', 'holdCopy', hold(hosts, move, true))).toEqual(['NOT_COPYING: VM web is not in its memory rounds (phase unknown here)']);
  });

  it('takes no approval of another order', async () => {
    const { hosts, move } = await waiting();
    const approval = (changes: object) => hosts.people.approve({ ...move.order, ...changes } as never);
    expect(await hosts.refused('host-a', 'holdCopy', hold(hosts, move, false, await approval({ notAfter: '2099-01-01T00:00:00Z' })))).toEqual(['ORDER_INVALID: the order is not valid: orderDigest: it approves another order']);
    expect(await hosts.refused('host-a', 'holdCopy', hold(hosts, move, false, await approval({ migrationId: OTHER })))).toEqual(['ORDER_INVALID: the order is not valid: migrationId: it is of another move']);
    expect(sessionOn(hosts, 'host-a', move)).toMatchObject({ isHeld: true, approval: null });
  });

  it.each([true, false])('takes an approval of whoever ordered the move unless the bundle wants another: %s', async (approverMustDiffer) => {
    const hosts = await beginHosts();
    await hosts.install(({ operators, parameters }) => ({ parameters: { ...parameters, approverMustDiffer }, operators: operators.map((one) => ({ ...one, scopes: one.scopes.map((scope) => ({ ...scope, actions: ['start', 'migrate', 'approve'] })) })) }));
    const move = await hosts.move('opened', { requiresApproval: true });
    const { migrationId, vmId } = move.order;
    const approval = await sign({ kind: 'korora/approval', version: 1, migrationId, vmId, orderDigest: digestOf(move.order), reason: null, by: OPERATOR, notAfter: FOREVER } as never);
    if (approverMustDiffer) expect(await hosts.refused('host-a', 'holdCopy', hold(hosts, move, false, approval))).toEqual(['APPROVER_IS_REQUESTER: ada ordered the move of VM web, and the trust bundle wants another to approve it']);
    else expect(await hosts.ask('host-a', 'holdCopy', hold(hosts, move, false, approval))).toEqual({ isHeld: false, isCertain: true });
  });
});

describe('a receipt', () => {
  const asking = (move: Move, changes: object = {}) => ({ move: move.key, statement: { ...move.answers?.[2].statement, ...changes } }) as never;

  it('is signed by each host, over what it saw of the move', async () => {
    const hosts = await beginHosts();
    const move = await hosts.move('copied');
    const verdict = move.answers?.[2].statement.verdict;
    const [ofSource, ofDestination] = [await hosts.ask('host-a', 'giveReceipt', asking(move)), await hosts.ask('host-b', 'giveReceipt', asking(move))];
    const common = { protocol: 'korora/1', purpose: 'receipt', migrationId: move.order.migrationId, vmId: 'web', epoch: 2, orderDigest: digestOf(move.order), verdictDigest: digestOf(verdict) };
    const observed = { role: 'source', rounds: [], timings: move.answers?.[1].timings, approval: null, limitsChanges: [] };
    expect(ofSource).toEqual({ statement: { receipt: { ...common, role: 'source', hostId: 'host-a', observedDigest: digestOf(observed) }, quote: QUOTE }, observed });
    const seen = { role: 'destination', timings: move.answers?.[2].timings };
    expect(ofDestination).toEqual({ statement: { receipt: { ...common, role: 'destination', hostId: 'host-b', observedDigest: digestOf(seen) }, quote: QUOTE }, observed: seen });
  });

  it('names the approval and the limits that the source went by', async () => {
    const { hosts, move, handed, verified } = await waiting();
    await hosts.ask('host-a', 'tuneCopy', { move: move.key, change: await limitsOf(move, 200) });
    await hosts.ask('host-a', 'holdCopy', { move: move.key, isHeld: false, approval: await hosts.people.approve(move.order) });
    const { statement } = (await hosts.drive(verified.answer)) as { statement: never };
    await hosts.drive(handed.answer);
    const { approval, limitsChanges } = sessionOn(hosts, 'host-a', move);
    expect(await hosts.ask('host-a', 'giveReceipt', { move: move.key, statement })).toMatchObject({ observed: { approval: digestOf(approval), limitsChanges: limitsChanges.map(digestOf) } });
    expect(limitsChanges).toHaveLength(1);
  });

  it('is none without a session, for a verdict that is unproven, or of a move that has not ended so', async () => {
    const hosts = await beginHosts();
    const [move, other] = [await hosts.move('copied'), await hosts.move('opened', { source: B, destination: HostId.parse('host-c') })];
    expect(await hosts.refused('host-c', 'giveReceipt', asking(move))).toEqual([expect.stringMatching(/^SESSION_LOST: host-c /)]);
    const verdict = { ...move.answers?.[2].statement.verdict, manifestDigest: 'ab'.repeat(32) };
    expect(await hosts.refused('host-a', 'giveReceipt', asking(move, { verdict }))).toEqual([expect.stringMatching(/^VERDICT_UNPROVEN: what host-b says of the move does not count: QUALIFYING_DATA_MISMATCH/)]);
    for (const key of [{ ...move.key, vmId: 'db' }, other.key]) {
      expect(await hosts.refused('host-b', 'giveReceipt', { ...(asking(move) as object), move: key } as never)).toEqual([expect.stringMatching(/^OWNERSHIP_REFUSED: host-b refuses receipt for VM (?:web|db): its record says (?:owner|none)$/)]);
    }
    const rejecting = await beginHosts();
    const refused = await rejecting.move('opened');
    const answer = await rejecting.ask('host-b', 'settleDestination', { order: refused.signed, reason: 'x' });
    if (!('verdict' in answer)) throw new Error('no verdict');
    expect(await rejecting.refused('host-a', 'giveReceipt', { move: refused.key, statement: { verdict: answer.verdict, quote: answer.quote } })).toEqual(['OWNERSHIP_REFUSED: host-a refuses receipt for VM web: its record says owner']);
  });

  interface Changes {
    readonly verdict?: object;
    readonly record?: (move: Move) => object;
    readonly session?: object;
  }

  /** Asked of a host that believes any statement, and whose record and session are as a test says. */
  async function asked(host: 'host-a' | 'host-b', { verdict = {}, record = () => ({}), session = {} }: Changes) {
    const hosts = await beginHosts();
    const move = await hosts.move('copied');
    const services = hosts.services(host);
    const found = { ...hosts.record(host), ...record(move) } as OwnershipRecord;
    Object.assign(sessionOn(hosts, host, move), session);
    const receipts = createReceipts({ ...services, verifier: { ...services.verifier, appraiseStatement: () => [] }, ownership: { ...services.ownership, read: () => Promise.resolve(found) } });
    const { statement } = move.answers?.[2] ?? {};
    return hosts.drive(receipts.giveReceipt({ move: move.key, statement: { ...statement, verdict: { ...statement?.verdict, ...verdict } } as never }));
  }

  describe('is refused, though the statement is proven,', () => {
    const refusedBy = (host: string, state: string) => [`OWNERSHIP_REFUSED: ${host} refuses receipt for VM web: its record says ${state}`];

    it('for a verdict that is no acceptance of this move', async () => {
      for (const verdict of [{ verdict: 'rejected' }, { migrationId: OTHER }, { vmId: 'db' }]) {
        for (const [host, state] of [['host-a', 'retired'], ['host-b', 'owner']] as const) expect(await refusalsOf(asked(host, { verdict }))).toEqual(refusedBy(host, state));
      }
      for (const host of ['host-a', 'host-b'] as const) expect(await asked(host, {})).toMatchObject({ statement: { receipt: { hostId: host } } });
    });

    it.each([['retired', { migrationId: OTHER }], ['relinquished', { state: 'relinquished' }], ['owner', { state: 'owner' }]])('by a source whose record is %s %j', async (state, record) => {
      expect(await refusalsOf(asked('host-a', { record: () => record }))).toEqual(refusedBy('host-a', state));
    });

    it.each<[string, (move: Move) => readonly unknown[]]>([['nothing', () => []], ['another', () => [refusedOf(OTHER)]], ['it by a rejection', ({ order }) => [refusedOf(order.migrationId)]]])(
      'by a destination that settled %s',
      async (_, settledOf) => {
        expect(await refusalsOf(asked('host-b', { record: (move) => ({ settled: settledOf(move) }) }))).toEqual(refusedBy('host-b', 'owner'));
      },
    );
  });

  it('of a source without a copy says that it saw nothing', async () => {
    expect((await asked('host-a', { session: { outgoing: null } })).observed).toEqual({ role: 'source', rounds: [], timings: null, approval: null, limitsChanges: [] });
  });

  it('of a source whose copy did not end well says what it saw until then', async () => {
    const round = { round: 1, sentBytes: 7, remainingBytes: 3, dirtyBytesPerSecond: 2, elapsedMs: 4, throttlePercent: null };
    const outgoing = { rounds: [round], finish: () => Promise.reject(new Error('a test')) } as never;
    expect((await asked('host-a', { session: { outgoing } })).observed).toEqual({ role: 'source', rounds: roundRecords(outgoing), timings: null, approval: null, limitsChanges: [] });
    expect(roundRecords(outgoing)).toHaveLength(1);
  });
});
