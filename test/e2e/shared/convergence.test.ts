/**
 * Copies that come no closer, copies that are held, and moves that wait for an approval, on the real parts: the guest
 * counts on without a gap whatever is decided about its copy.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSigned } from '../../../domain/authority.js';
import { signersOf } from '../../../domain/envelope.js';
import type { CopyLimits } from '../../../domain/progress.js';
import { untilView } from '../../../infra/testbed/until-view.js';
import { endOfMove } from '../../../infra/testbed/end-of-move.js';
import { type GuestConsole, firstGap } from '../../../infra/testbed/guest-console.js';
import type { Testbed } from '../../../infra/testbed/testbed.js';
import { type HostName, consoleOn, evidenceOf, failedMove, startGuest, untilCopying } from '../support.js';
import { onSharedTestbed } from '../../support/shared-testbed.js';

const MIB = 1024 * 1024;
/** What the busy guest dirties again and again does not pass within 20 ms at this rate. */
const TIGHT: Partial<CopyLimits> = { bandwidthBytesPerSecond: 8 * MIB, downtimeLimitMs: 20, stallRounds: 3 };
const KORORA = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));
let testbed: Testbed;

onSharedTestbed((shared) => ({ testbed } = shared));

async function korora(...words: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [KORORA, ...words], { env: { ...process.env, ...testbed.environment } });
  return stdout.trim();
}

/** The guest counts for longer than a silent channel lives, without a gap. */
async function countsOn(guest: GuestConsole): Promise<void> {
  const before = guest.counts().at(-1) ?? 0;
  await guest.until((c) => (c.counts().at(-1) ?? 0) > before + 80, 'going on');
  expect(firstGap(guest.counts())).toBeNull();
}

async function endsMoved(vmId: string, runId: string, from: GuestConsole, to: HostName) {
  const result = await endOfMove(testbed.client, vmId, runId);
  expect(result.outcome).toMatchObject({ kind: 'moved', runsOn: to });
  const there = await consoleOn(testbed, vmId, to);
  await there.until((c) => c.counts().length > 5, 'counting where it moved to');
  await from.until((c) => c.counts().at(-1) === (there.counts()[0] ?? 0) - 1, 'the end of its counting where it was');
  await there.close();
  return result;
}

describe('a guest that dirties faster than may be sent', () => {
  const vmId = 'busy';
  let atA: GuestConsole;
  beforeAll(async () => {
    ({ console: atA } = await startGuest(testbed, vmId, 'host-a', { dirtyMibPerSecond: 32, dirtySetMib: 24 }));
  });
  afterAll(() => atA?.close());

  it('ends as stalled, long before its rounds do, without having been paused or slowed', async () => {
    const { runId } = await testbed.client.migrate({ vmId, destination: 'host-b', limits: TIGHT });
    const { codes, result, error } = await failedMove(endOfMove(testbed.client, vmId, runId));
    expect(codes).toEqual(['COPY_STALLED']);
    expect(error.message).toContain('3 rounds in a row');
    expect(result?.outcome).toMatchObject({ kind: 'source-resumed', runsOn: 'host-a' });
    expect(result?.timings.source).toBeNull();
    await countsOn(atA);
  });

  it('moves with a budget that is raised while its rounds run', async () => {
    const { runId } = await testbed.client.migrate({ vmId, destination: 'host-b', limits: { ...TIGHT, stallRounds: 100 } });
    await untilView(testbed, vmId, runId, 'round 5', ({ progress }) => (progress?.round ?? 0) >= 5);
    expect((await failedMove(testbed.client.setLimits(vmId, { autoConverge: { initialPercent: 20, incrementPercent: 10, maxPercent: 99 } }))).codes).toEqual(['LIMITS_INVALID']);
    expect(await testbed.client.setLimits(vmId, { downtimeLimitMs: 10_000, stallRounds: 3 })).toMatchObject({ downtimeLimitMs: 10_000, stallRounds: 3 });
    const { rounds } = await evidenceOf(await endsMoved(vmId, runId, atA, 'host-b'));
    expect(rounds.map(({ throttlePercent }) => throttlePercent)).toEqual(rounds.map(() => null));
  });

  it('moves back within a budget that it does not keep to by itself, where it may be slowed', async () => {
    const atB = await consoleOn(testbed, vmId, 'host-b');
    const { runId } = await testbed.client.migrate({ vmId, destination: 'host-a', limits: { ...TIGHT, downtimeLimitMs: 160, autoConverge: { initialPercent: 90, incrementPercent: 5, maxPercent: 95 } } });
    const { rounds } = await evidenceOf(await endsMoved(vmId, runId, atB, 'host-a'));
    expect(Math.max(...rounds.map(({ throttlePercent }) => throttlePercent ?? 0))).toBeGreaterThanOrEqual(90);
    await atB.close();
  });
});

describe('a move that was ordered with approval', () => {
  const vmId = 'approved';
  let atA: GuestConsole;
  beforeAll(async () => {
    ({ console: atA } = await startGuest(testbed, vmId, 'host-a', { dirtyMibPerSecond: 4 }));
  });
  afterAll(() => atA?.close());
  const order = () => testbed.client.migrate({ vmId, destination: 'host-b', requiresApproval: true });

  it('can be aborted while it waits', async () => {
    expect((await failedMove(testbed.client.approve(vmId))).codes).toEqual(['MIGRATION_NOT_FOUND']);
    const { runId } = await order();
    await untilView(testbed, vmId, runId, 'the wait for its approval, while it is copied', ({ status, progress }) => status.awaits === 'approval' && (progress?.sentBytes ?? 0) > 0);
    await testbed.client.abort(vmId, 'a test wanted it');
    const { codes, result } = await failedMove(endOfMove(testbed.client, vmId, runId));
    expect(codes).toEqual(['ABORTED']);
    if (!result) throw new Error('no result');
    expect((await evidenceOf(result)).approval).toBeNull();
    await countsOn(atA);
  });

  it('stands by, the guest running, until somebody approves it, and records who did', async () => {
    const { runId } = await order();
    const { status } = await untilView(testbed, vmId, runId, 'the wait for its approval', (view) => view.status.awaits !== null);
    expect(status).toMatchObject({ phase: 'copying', awaits: 'approval', isHeld: true, isAbortable: true });
    expect(status.nextAction).toContain(`korora approve ${vmId}`);
    await countsOn(atA);
    expect((await testbed.client.status(vmId)).phase).toBe('copying');
    expect(await korora('continue', vmId)).toContain('still held');
    expect((await failedMove(testbed.client.approve(vmId, { reason: '' }))).codes).toEqual(['ORDER_INVALID']);
    expect((await testbed.client.status(vmId)).awaits).toBe('approval');

    // Nobody is asked here, and so nobody signs.
    await expect(korora('approve', vmId, '--reason', 'the window is open')).rejects.toThrow('CONFIRMATION_MISSING');
    expect((await testbed.client.status(vmId)).awaits).toBe('approval');
    expect(await korora('approve', vmId, '--reason', 'the window is open', '--yes')).toContain('approved');
    const { approval } = await evidenceOf(await endsMoved(vmId, runId, atA, 'host-b'));
    if (!approval) throw new Error('no approval');
    expect(openSigned('korora/approval', approval.envelope).document).toMatchObject({ vmId, by: 'operator', reason: 'the window is open' });
    expect(signersOf(approval.envelope, [testbed.keys.operator.publicKey])).toHaveLength(1);
  });
});

describe('a copy whose rounds are held', () => {
  const vmId = 'held';
  let atA: GuestConsole;
  beforeAll(async () => {
    ({ console: atA } = await startGuest(testbed, vmId, 'host-a', { dirtyMibPerSecond: 4 }));
  });
  afterAll(() => atA?.close());

  it('goes on only when it is let, and cannot be approved', async () => {
    const { runId } = await testbed.client.migrate({ vmId, destination: 'host-b', limits: { bandwidthBytesPerSecond: 8 * MIB } });
    await untilCopying(testbed, vmId);
    expect((await failedMove(testbed.client.approve(vmId))).codes).toEqual(['NOTHING_TO_APPROVE']);
    expect(await korora('hold', vmId)).toContain(`the copy of ${vmId} is held`);
    await testbed.client.setLimits(vmId, { bandwidthBytesPerSecond: null });
    const held = await testbed.client.status(vmId);
    expect(held).toMatchObject({ isHeld: true, awaits: null, nextAction: `Let the copy go on: \`korora continue ${vmId}\`.` });
    await countsOn(atA);
    expect((await testbed.client.status(vmId)).phase).toBe('copying');

    expect(await korora('continue', vmId)).toBe(`the copy of ${vmId} goes on`);
    await endsMoved(vmId, runId, atA, 'host-b');
    expect((await failedMove(testbed.client.setHeld(vmId, true))).codes).toEqual(['MIGRATION_NOT_FOUND']);
  });
});
