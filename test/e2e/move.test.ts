/**
 * The main job on real parts: a VM with a vTPM moves there and back again, and what the evidence,
 * the history and the guest say of it. Guards promises P1–P6 on the happy path.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Evidence } from '../../domain/evidence.js';
import { DEFAULT_LIMITS } from '../../domain/progress.js';
import { openSigned } from '../../domain/authority.js';
import { digestOf } from '../../domain/canonical.js';
import { signersOf } from '../../domain/envelope.js';
import { compareManifest } from '../../activities/verify.js';
import { countsIn, firstGap, unsealsIn } from '../../infra/testbed/guest-console.js';
import type { Testbed } from '../../infra/testbed/testbed.js';
import { createEvidenceVerifier } from '../../tpm/evidence-verifier.js';
import type { StartedMigration } from '../../client/index.js';
import { consoleOn, evidenceOf, failedMove, moveTo, openTestbed, startGuest, untilCopying } from './support.js';

const SLOW = { bandwidthBytesPerSecond: 16 * 1024 * 1024 };
let testbed: Testbed;

beforeAll(async () => {
  testbed = await openTestbed();
});
afterAll(() => testbed?.stop());

describe('a VM that moves to host-b and back', () => {
  let consoles = '';
  let there: Evidence;
  let started: StartedMigration;

  beforeAll(async () => {
    const { console: atA } = await startGuest(testbed, 'pilgrim', 'host-a', { dirtyMibPerSecond: 8 });
    started = await testbed.client.migrate({ vmId: 'pilgrim', destination: 'host-b' });
    there = await evidenceOf(await testbed.client.result('pilgrim', started.runId));
    const lastAtA = atA.counts().at(-1) ?? 0;
    const atB = await consoleOn(testbed, 'pilgrim', 'host-b');
    await atB.until((c) => c.unseals().some((u) => u.count > lastAtA), 'an unsealing at host-b');
    await moveTo(testbed, 'pilgrim', 'host-a');
    await atA.close();
    await atB.until(() => true, 'reading the rest');
    await atB.close();
    const back = await consoleOn(testbed, 'pilgrim', 'host-a');
    const lastAtB = countsIn(atA.text() + atB.text()).at(-1) ?? 0;
    await back.until((c) => c.unseals().some((u) => u.count > lastAtB), 'an unsealing back at host-a');
    await back.close();
    consoles = atA.text() + atB.text() + back.text();
  });

  it('counts without a gap or a repetition over both moves', () => {
    const counts = countsIn(consoles);
    expect(counts[0]).toBe(1);
    expect(firstGap(counts)).toBeNull();
  });

  it('unseals one secret with one vTPM everywhere', () => {
    const unseals = unsealsIn(consoles);
    expect(unseals.length).toBeGreaterThanOrEqual(3);
    expect(new Set(unseals.map((u) => `${u.secretSha256} ${u.ek} ${u.pcr}`)).size).toBe(1);
    expect(consoles).not.toContain('unseal-failed');
  });

  it('is owned once, with an epoch that went up by one a move', async () => {
    const records = (await testbed.client.vms()).filter((vm) => vm.vmId === 'pilgrim');
    expect(records.map(({ hostId, ownership, epoch, mayRun }) => ({ hostId, ownership, epoch, mayRun }))).toEqual([
      { hostId: 'host-a', ownership: 'owner', epoch: 3, mayRun: true },
      { hostId: 'host-b', ownership: 'retired', epoch: 2, mayRun: false },
    ]);
  });

  it('leaves evidence whose parts fit: order, quotes, manifest, verdict', () => {
    const verifier = createEvidenceVerifier();
    const { attestation, manifest, verdict } = there;
    const { document: order, envelope } = openSigned('korora/order', there.order);
    expect(signersOf(envelope, [testbed.keys.operator.publicKey])).toHaveLength(1);
    for (const role of ['source', 'destination'] as const) {
      const evidence = attestation[role];
      const host = testbed.bundle.bundle.hosts.find((h) => h.hostId === order[role]);
      if (!evidence || !host) throw new Error(`no evidence of the ${role}`);
      expect(verifier.isSignedBy(host.attestationKey, evidence.quote)).toBe(true);
      expect(verifier.parseQuote(evidence.quote, role).extraData).toBe(digestOf(evidence.binding));
      expect(evidence.binding).toMatchObject({ migrationId: order.migrationId, orderDigest: digestOf(order), role });
      expect(verifier.parseQuote(evidence.quote, role).pcrDigest).toBe(verifier.pcrDigest(evidence.pcrValues));
    }
    if (!manifest || !verdict) throw new Error('no manifest or verdict');
    expect(manifest).toMatchObject({ migrationId: order.migrationId, vmId: 'pilgrim', epoch: 2 });
    expect(verdict.verdict).toMatchObject({ verdict: 'accepted', epoch: 2, destination: 'host-b', manifestDigest: digestOf(manifest) });
    const destination = testbed.bundle.bundle.hosts.find((h) => h.hostId === 'host-b');
    expect(destination && verifier.isSignedBy(destination.attestationKey, verdict.quote)).toBe(true);
    expect(verifier.parseQuote(verdict.quote, 'host-b').extraData).toBe(digestOf(verdict.verdict));
    expect(compareManifest(manifest, { bytes: manifest.streamBytes, sha256: manifest.streamSha256 }, order, { epoch: manifest.epoch, vtpmIdentity: manifest.vtpmIdentity })).toEqual([]);
  });

  it('says when it paused, relinquished, sent, decided and resumed, in that order', () => {
    const { source, destination } = there.timings;
    if (!source || !destination) throw new Error('no timings');
    // What the source saw, then what binds the two hosts: nothing is decided before the last byte left, and the verdict follows the first instruction.
    const atSource = [Math.floor(source.pausedAtMs), source.relinquishedAtMs, source.lastByteAtMs, source.manifestAtMs, source.verdictAtMs];
    expect(atSource).toEqual([...atSource].sort((x, y) => x - y));
    const between = [source.lastByteAtMs, destination.loadedAtMs, destination.decidedAtMs, Math.ceil(destination.runningAtMs), source.verdictAtMs + 1];
    expect(between).toEqual([...between].sort((x, y) => x - y));
    expect(there.rounds.length).toBeGreaterThan(0);
  });

  it('has no Temporal round trip inside the pause', async () => {
    const { events } = await testbed.temporal.workflow.getHandle(started.workflowId, started.runId).fetchHistory();
    const source = there.timings.source;
    const atMs = (time: { seconds?: unknown; nanos?: unknown } | null | undefined) => Number(time?.seconds ?? 0) * 1000 + Number(time?.nanos ?? 0) / 1e6;
    const scheduledAtMs = (activity: string) => atMs(events?.find((e) => e.activityTaskScheduledEventAttributes?.activityType?.name === activity)?.eventTime);
    for (const activity of ['copyMemory', 'stopAndCopy', 'verifyImage']) {
      expect(scheduledAtMs(activity)).toBeGreaterThan(0);
      expect(scheduledAtMs(activity)).toBeLessThan(source?.pausedAtMs ?? 0);
    }
    const scheduledInPause = events?.filter((e) => e.activityTaskScheduledEventAttributes && atMs(e.eventTime) > (source?.pausedAtMs ?? 0) && atMs(e.eventTime) < (source?.verdictAtMs ?? 0));
    expect(scheduledInPause).toEqual([]);
  });
});

describe('while the rounds of a move run', () => {
  it('a second move of the VM is refused, limits can be changed, and an abort leaves the source running', async () => {
    const { console: guest } = await startGuest(testbed, 'busy', 'host-a', { dirtyMibPerSecond: 8 });
    const first = await testbed.client.migrate({ vmId: 'busy', destination: 'host-b', limits: SLOW });
    await untilCopying(testbed, 'busy');

    expect((await failedMove(testbed.client.migrate({ vmId: 'busy', destination: 'host-b' }))).codes).toEqual(['MIGRATION_IN_PROGRESS']);
    expect((await failedMove(testbed.client.setLimits('busy', { downtimeLimitMs: 0 }))).codes).toEqual(['LIMITS_INVALID']);
    expect(await testbed.client.setLimits('busy', { bandwidthBytesPerSecond: 8 * 1024 * 1024 })).toMatchObject({ bandwidthBytesPerSecond: 8 * 1024 * 1024, downtimeLimitMs: DEFAULT_LIMITS.downtimeLimitMs });

    const before = guest.counts().at(-1) ?? 0;
    await testbed.client.abort('busy', 'a test wanted it');
    const { codes, result, error } = await failedMove(testbed.client.result('busy', first.runId));
    expect(codes).toEqual(['ABORTED']);
    expect(error.message).toContain('a test wanted it');
    expect(result?.outcome).toMatchObject({ kind: 'source-resumed', runsOn: 'host-a' });
    await guest.until((c) => (c.counts().at(-1) ?? 0) > before + 10 && c.unseals().some((u) => u.count > before), 'going on at host-a');
    expect(firstGap(guest.counts())).toBeNull();

    expect((await failedMove(testbed.client.abort('busy', 'too late'))).codes).toEqual(['MIGRATION_NOT_FOUND']);
    await moveTo(testbed, 'busy', 'host-b');
    expect((await testbed.client.vms()).find((vm) => vm.vmId === 'busy' && vm.mayRun)?.hostId).toBe('host-b');
    await guest.close();
  });
});
