/**
 * The main job on real parts: a VM with a vTPM moves there and back again, and what the evidence,
 * the history and the guest say of it. Guards promises P1–P6 on the happy path.
 */
import { spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Evidence } from '../../domain/evidence.js';
import { endOfMove } from '../../infra/testbed/end-of-move.js';
import { countsIn, firstGap, unsealsIn } from '../../infra/testbed/guest-console.js';
import { KORORA_WORKERS, type Testbed } from '../../infra/testbed/testbed.js';
import { KororaError } from '../../domain/failures.js';
import { readPublicKey } from '../../cli/keys.js';
import { type EvidenceReport, type StartedMigration, checkChain, tryEvidence, verifyEvidence } from '../../client/index.js';
import { everyChange } from '../support/tamper.js';
import { consoleOn, evidenceOf, moveTo, openTestbed, startGuest, untilCopying } from './support.js';

let testbed: Testbed;
beforeAll(async () => {
  testbed = await openTestbed(() => ({ workerCommands: KORORA_WORKERS }));
});
afterAll(() => testbed?.stop());

/** With what an auditor has: the file, the trust bundle, and the key that signs such bundles. */
async function verified(evidence: unknown): Promise<EvidenceReport> {
  const bundle: unknown = JSON.parse(await readFile(join(testbed.root, 'trust.json'), 'utf8'));
  return verifyEvidence(evidence, bundle, [await readPublicKey(testbed.keys.policy.publicFile)]);
}

describe('a VM that moves to host-b and back', () => {
  let consoles = '';
  let there: Evidence;
  let back: Evidence;
  let started: StartedMigration;

  beforeAll(async () => {
    const { console: atA } = await startGuest(testbed, 'pilgrim', 'host-a', { dirtyMibPerSecond: 8 });
    started = await testbed.client.migrate({ vmId: 'pilgrim', destination: 'host-b', requiresApproval: true });
    await untilCopying(testbed, 'pilgrim');
    await testbed.client.setLimits('pilgrim', { maxRounds: 99 });
    await testbed.client.approve('pilgrim', { reason: 'a test wants it' });
    there = await evidenceOf(await endOfMove(testbed.client, 'pilgrim', started.runId));
    const lastAtA = atA.counts().at(-1) ?? 0;
    const atB = await consoleOn(testbed, 'pilgrim', 'host-b');
    await atB.until((c) => c.unseals().some((u) => u.count > lastAtA), 'an unsealing at host-b');
    back = await evidenceOf(await moveTo(testbed, 'pilgrim', 'host-a'));
    await atA.close();
    await atB.until(() => true, 'reading the rest');
    await atB.close();
    const again = await consoleOn(testbed, 'pilgrim', 'host-a');
    const lastAtB = countsIn(atA.text() + atB.text()).at(-1) ?? 0;
    await again.until((c) => c.unseals().some((u) => u.count > lastAtB), 'an unsealing back at host-a');
    await again.close();
    consoles = atA.text() + atB.text() + again.text();
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

  it('leaves evidence that an auditor checks offline: all that matters is proven, and the moves are a chain', async () => {
    const { standing, proven, problems, unproven, told } = await verified(there);
    expect([standing, problems]).toEqual(['holds', []]);
    const FIELDS = ['trust bundle', 'order', 'vm', 'attestation.source', 'attestation.destination', 'verdict', 'manifest', 'receipts.source', 'receipts.destination', 'limitsChanges.0', 'approval'];
    expect(proven.map(({ field }) => field)).toEqual(FIELDS);
    for (const [role, host] of [['source', 'host-a'], ['destination', 'host-b']] as const) {
      const ak = testbed.bundle.bundle.hosts.find(({ hostId }) => hostId === host)?.attestationKey.name;
      expect(proven.filter(({ field }) => field.endsWith(role)).map(({ by }) => by)).toEqual([`${host}, AK ${ak}`, `${host}, AK ${ak}`]);
    }
    expect(unproven.map(({ field }) => field)).toEqual(['nonces']);
    expect(told.map(({ field }) => field)).toEqual(['limitsChanges.0.atMs', 'approval.atMs', 'timings.startedAtMs', 'timings.endedAtMs', 'timings.phases']);
    expect(await verified(back)).toMatchObject({ standing: 'holds', problems: [] });
    expect([checkChain([there, back]), checkChain([back, there])]).toEqual(Array.from({ length: 2 }, () => ({ problems: [], gaps: [] })));
    expect(checkChain([there, back, there]).problems).toEqual([expect.stringContaining('VM pilgrim: the move to epoch 2 does not follow the one to epoch 2')]);
  });

  it('leaves evidence by which a trust bundle can be tried', () => {
    const { bundle } = testbed.bundle;
    expect(tryEvidence(bundle, there).map(({ hostId, by, failures }) => [hostId, by, failures])).toEqual(['host-a', 'host-b'].map((host) => [host, started.migrationId, []]));
    const suspended = { ...bundle, hosts: bundle.hosts.map((host) => ({ ...host, status: host.hostId === 'host-b' ? ('suspended' as const) : host.status })) };
    expect(tryEvidence(suspended, there).map(({ failures }) => failures.map(({ code }) => code))).toEqual([[], ['HOST_NOT_ACTIVE']]);
  });

  it('leaves evidence in which no field can be changed unnoticed', async () => {
    const { unproven, told } = await verified(there);
    const isUnproven = (path: string) => [...unproven, ...told].some(({ field }) => path === field || path.startsWith(`${field}.`));
    const unnoticed: string[] = [];
    for (const { path, document } of everyChange(there)) {
      const noticed = await verified(document).then(({ problems }) => problems.length > 0, (error: unknown) => error instanceof KororaError && error.code === 'EVIDENCE_INVALID');
      if (!noticed && !isUnproven(path)) unnoticed.push(path);
      if (noticed && isUnproven(path)) unnoticed.push(`${path}, which is said to be unproven`);
    }
    expect(unnoticed).toEqual([]);
  });

  it('leaves evidence that the command checks, too, and names what was changed', async () => {
    const [evidence, changed] = [join(testbed.root, 'there.json'), join(testbed.root, 'changed.json')];
    await writeFile(evidence, JSON.stringify(there));
    await writeFile(changed, JSON.stringify({ ...there, manifest: { ...there.manifest, streamBytes: 1 } }));
    const verify = (file: string) => spawnSync('node', ['dist/cli/main.js', 'verify', file, '--trust', join(testbed.root, 'trust.json'), '--signer', testbed.keys.policy.publicFile], { encoding: 'utf8' });
    expect(verify(evidence)).toMatchObject({ status: 0, stderr: '', stdout: expect.stringMatching(/there\.json: holds\n {2}proven .*told by the control plane, and signed by nobody:.* {4}timings\.startedAtMs/s) as string });
    expect(verify(changed)).toMatchObject({ status: 1, stdout: expect.stringContaining('WRONG       manifest: it is not the one that was accepted') as string });
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
