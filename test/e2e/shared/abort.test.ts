/**
 * An abort at any moment before the point of no return: the move says ABORTED, the source runs on as if
 * nothing had been, nothing is left on the destination, and both host workers live (a rejection that nobody
 * awaited once ended one).
 */
import { afterAll, describe, expect, it } from 'vitest';
import type { MigrationStatus } from '../../../domain/status.js';
import { PHASES, type Phase } from '../../../domain/steps.js';
import { endOfMove } from '../../../infra/testbed/end-of-move.js';
import { type GuestConsole, firstGap } from '../../../infra/testbed/guest-console.js';
import type { Testbed } from '../../../infra/testbed/testbed.js';
import { until } from '../../../infra/testbed/until.js';
import { failedMove, moveTo, startGuest, untilCopying } from '../support.js';
import { onSharedTestbed } from '../../support/shared-testbed.js';

/** Enough rounds and seconds to abort in: the guest dirties half of what may be sent. */
const SLOW = { bandwidthBytesPerSecond: 16 * 1024 * 1024 };
const VM = 'fickle';
let testbed: Testbed;
let guest: GuestConsole;

onSharedTestbed(async (shared) => {
  ({ testbed } = shared);
  ({ console: guest } = await startGuest(testbed, VM, 'host-a', { dirtyMibPerSecond: 8 }));
});
afterAll(() => guest?.close());

/** Resolves as soon as the move says that it is in `phase`, or past it. */
function untilPhase(phase: Phase): Promise<MigrationStatus> {
  return until(`phase ${phase}`, () => testbed.client.status(VM), (status) => PHASES.indexOf(status.phase) >= PHASES.indexOf(phase), { limitMs: 120_000, everyMs: 0 });
}

describe('an abort', () => {
  it.each<[string, () => Promise<unknown>]>([
    ['at once', async () => undefined],
    ['while the hosts attest', () => untilPhase('admitted')],
    ['while the secrets are sealed', () => untilPhase('attested')],
    ['while the destination is prepared', () => untilPhase('sealed')],
    ['while the hosts connect', () => untilPhase('copying')],
    ['in the rounds', () => untilCopying(testbed, VM)],
    ['in the rounds, again', () => untilCopying(testbed, VM)],
  ])('%s leaves the source running and the destination clean', async (_, moment) => {
    const workers = Object.values(testbed.hosts).map(({ worker }) => worker.pid);
    const before = guest.counts().at(-1) ?? 0;
    const { runId } = await testbed.client.migrate({ vmId: VM, destination: 'host-b', limits: SLOW });
    await moment();
    await testbed.client.abort(VM, 'a test wanted it');

    const { codes, result } = await failedMove(endOfMove(testbed.client, VM, runId));
    expect(codes).toEqual(['ABORTED']);
    // It may come before the source has said that the VM is there.
    expect(['host-a', null]).toContain(result?.outcome.runsOn);
    await guest.until((c) => (c.counts().at(-1) ?? 0) > before + 10, 'going on at host-a');
    expect(firstGap(guest.counts())).toBeNull();
    const vms = (await testbed.client.vms()).filter(({ vmId }) => vmId === VM);
    expect(vms.map(({ hostId, ownership, status }) => ({ hostId, ownership, status })).filter(({ ownership }) => ownership !== 'none')).toEqual([
      { hostId: 'host-a', ownership: 'owner', status: 'running' },
    ]);
    expect(Object.values(testbed.hosts).map(({ worker }) => (worker.child.exitCode ?? worker.child.signalCode ?? worker.pid))).toEqual(workers);
  });

  it('takes nothing away: the VM moves afterwards', async () => {
    expect((await moveTo(testbed, VM, 'host-b')).outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' });
  });
});
