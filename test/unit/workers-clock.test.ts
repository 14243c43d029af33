/** workers/clock.ts: what time it is at the least, whatever is done to the clock of the host. */
import { beforeEach, describe, expect, it } from 'vitest';
import { KororaError } from '../../domain/failures.js';
import type { HostAccess } from '../../host/port.js';
import { startClock } from '../../workers/clock.js';

const DAY = 86_400_000;
const NOW = Date.parse('2029-06-01T00:00:00Z');
let disk: string | null;
let host: number;
let running: number;
let powered: number;

beforeEach(() => {
  [disk, host, running, powered] = [null, NOW, 0, 5_000];
});

const access = {
  readFile: async () => (disk === null ? null : Buffer.from(disk)),
  writeFileDurably: async (_: string, content: string) => void (disk = content),
} as Partial<HostAccess> as HostAccess;
const started = () => startClock({ access, tpm: { readClock: async () => powered }, file: '/state/clock.json', hostMs: () => host, processMs: () => running });

describe('the clock of a worker', () => {
  it('is the host’s as long as that goes on', async () => {
    const clock = await started();
    expect(clock.now()).toBe(NOW);
    host += DAY;
    expect(clock.now()).toBe(NOW + DAY);
  });

  it('goes on from the worker’s start where the host’s is set back', async () => {
    const clock = await started();
    host -= 10 * DAY;
    running += 1_000;
    expect(clock.now()).toBe(NOW + 1_000);
  });

  it('goes on by the TPM’s where the host’s was set back while no worker ran, and over a second start, too', async () => {
    await started();
    host -= 10 * DAY;
    powered += 2 * DAY;
    expect((await started()).now()).toBe(NOW + 2 * DAY);
    powered += DAY;
    expect((await started()).now()).toBe(NOW + 3 * DAY);
  });

  it('takes nothing from a TPM that was cleared, and never goes before what it was', async () => {
    await started();
    host -= 10 * DAY;
    powered = 0;
    expect((await started()).now()).toBe(NOW);
  });

  it('does not start by a file that is none of its own', async () => {
    disk = '{"version":1,"atMs":"soon","tpmClockMs":1}';
    await expect(started()).rejects.toThrow(KororaError);
  });
});
