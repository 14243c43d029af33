/** In the middle of a move: what the hosts keep is for nobody else, a second move is refused, limits change, an abort leaves the source running. */
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../domain/progress.js';
import { endOfMove } from '../../infra/testbed/end-of-move.js';
import { firstGap } from '../../infra/testbed/guest-console.js';
import { KORORA_WORKERS, type Testbed } from '../../infra/testbed/testbed.js';
import { failedMove, moveTo, openTestbed, startGuest, untilCopying } from './support.js';

const SLOW = { bandwidthBytesPerSecond: 16 * 1024 * 1024 };
let testbed: Testbed;

/** Started with a umask that keeps nothing private. */
const OPEN = ['bash', '-c', 'umask 0; exec "$@"', 'bash'];

beforeAll(async () => {
  const { host, control } = KORORA_WORKERS;
  testbed = await openTestbed(() => ({ workerCommands: { host: (file) => [...OPEN, ...host(file)], control: (folder) => [...OPEN, ...control(folder)] } }));
});
afterAll(() => testbed?.stop());

describe('what a host and the control worker keep', () => {
  /** Paths, with their kind and mode, that group or others could do anything with. */
  async function openIn(path: string): Promise<string[]> {
    const found = await lstat(path).catch(() => null);
    if (!found) return [];
    const names = found.isDirectory() ? await readdir(path) : [];
    const kind = found.isSocket() ? 'socket' : found.isDirectory() ? 'folder' : 'file';
    seen.add(kind);
    return [...((found.mode & 0o077) === 0 ? [] : [`${kind} ${path}: ${(found.mode & 0o777).toString(8)}`]), ...(await Promise.all(names.map((name) => openIn(join(path, name))))).flat()];
  }
  const seen = new Set<string>();

  it('is for its owner alone while a VM runs and another moves, whatever umask the workers were started with', async () => {
    const [running, moving] = [await startGuest(testbed, 'private', 'host-a'), await startGuest(testbed, 'moving', 'host-a', { dirtyMibPerSecond: 8 })];
    const { runId } = await testbed.client.migrate({ vmId: 'moving', destination: 'host-b', limits: SLOW });
    await untilCopying(testbed, 'moving');
    const look = async () => (await Promise.all(Object.values(testbed.hosts).flatMap(({ config: { stateDir, runDir } }) => [openIn(stateDir), openIn(runDir)]))).flat();
    // What a tool has just written may be made private when it ends.
    const [first, second] = [await look(), await look()];
    expect(second.filter((path) => first.includes(path))).toEqual([]);
    expect([...seen].sort()).toEqual(['file', 'folder', 'socket']);
    await testbed.client.abort('moving', 'it was looked at');
    const { result } = await failedMove(endOfMove(testbed.client, 'moving', runId));
    expect(await openIn(result?.evidencePath ?? '')).toEqual([]);
    await Promise.all([running.console.close(), moving.console.close()]);
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
    const { codes, result, error } = await failedMove(endOfMove(testbed.client, 'busy', first.runId));
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
