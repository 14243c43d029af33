/**
 * What every hypervisor driver does, whatever stands behind it: start, move, abort, fail, destroy. One suite for all
 * of them, so that the fake driver is held to what the real one is seen to do.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../domain/progress.js';
import type { VmDocument } from '../../domain/vm.js';
import type { HostAccess } from '../../host/port.js';
import type { Hypervisor, VmPlace } from '../../hypervisor/port.js';
import { countsIn } from '../../infra/testbed/guest-console.js';
import { until } from '../../infra/testbed/until.js';
import { runningGuests } from './running-guests.js';

/** One of two hosts, with a vTPM for its one VM. */
export interface DriverSide {
  readonly access: HostAccess;
  readonly hypervisor: Hypervisor;
  readonly place: VmPlace;
  readonly consoleLog: () => Promise<string>;
  readonly runFiles: () => Promise<readonly string[]>;
  /** Ends the VM as SIGKILL ends a process. */
  readonly kill: () => Promise<void>;
  /** Ends what this side runs and gives it a fresh, empty vTPM folder. */
  readonly reset: () => Promise<void>;
  readonly ensureVtpm: () => Promise<void>;
}

export interface DriverTestbed<Side extends DriverSide = DriverSide> {
  readonly folder: string;
  readonly a: Side;
  readonly b: Side;
  /** The project's guest, or what counts and unseals as it does, with a tick of 20 ms. */
  readonly vm: (changes?: { readonly kernelWords?: string; readonly disks?: VmDocument['disks']; readonly networks?: VmDocument['networks'] }) => VmDocument;
  /** Whether a guest takes seconds to boot: then tests in which that is not the point begin with one that runs. */
  readonly isSlowToBoot: boolean;
  readonly close: () => Promise<void>;
}

/** One testbed for the tests of this block; each test finds both sides empty. */
export function opensTestbed<Bed extends DriverTestbed>(create: () => Promise<Bed>): () => Bed {
  let bed: Bed;
  beforeAll(async () => {
    bed = await create();
  }, 120_000);
  afterEach(async () => {
    await bed.a.reset();
    await bed.b.reset();
  }, 60_000);
  afterAll(() => bed?.close(), 60_000);
  return () => bed;
}

/** Gives the testbed that the suite runs on, for further tests of one driver. */
export function describesDriver<Bed extends DriverTestbed>(create: () => Promise<Bed>): () => Bed {
  const open = opensTestbed(create);
  let bed: Bed;
  let a: DriverSide;
  let b: DriverSide;
  let bringUp: (side: DriverSide) => Promise<void>;
  beforeAll(() => {
    bed = open();
    ({ a, b } = bed);
    bringUp = runningGuests(bed);
  });

  /** The testbed's guest, wherever it comes from. */
  async function run(side: DriverSide) {
    if (!bed.isSlowToBoot) return boot(side);
    await bringUp(side);
    return bed.vm();
  }

  async function boot(side: DriverSide, vm = bed.vm()) {
    await side.ensureVtpm();
    await side.hypervisor.start(vm, side.place);
    await until('the counter', side.consoleLog, (text) => countsIn(text).length > 2);
    return vm;
  }

  async function openBoth(vm: VmDocument, limits = DEFAULT_LIMITS) {
    await b.ensureVtpm();
    const incoming = await b.hypervisor.openIncoming(vm, b.place);
    const outgoing = await a.hypervisor.openOutgoing(vm, a.place.runDir, limits);
    return { incoming, outgoing };
  }

  const statusOf = (side: DriverSide) => side.hypervisor.status(bed.vm().vmId, side.place.runDir);
  const goesOn = async (side: DriverSide) => {
    const before = countsIn(await side.consoleLog()).at(-1) ?? 0;
    await until(`the counter to go on from ${before}`, side.consoleLog, (text) => (countsIn(text).at(-1) ?? 0) > before);
  };

  describe('a move', () => {
    it('takes the running guest across: counter without gap, vTPM with its secret, one copy', async () => {
      const vm = await boot(a, bed.vm({ kernelWords: 'korora.unseal_every_s=1' }));
      await until('the seal', a.consoleLog, (text) => /^sealed /m.test(text));
      expect(await statusOf(a)).toBe('running');
      const { incoming, outgoing } = await openBoth(vm);
      expect([await statusOf(a), await statusOf(b)]).toEqual(['running', 'incoming']);
      await expect(b.hypervisor.ensureRunning(vm.vmId, b.place.runDir)).rejects.toMatchObject({ code: 'HYPERVISOR_COMMAND_FAILED' });

      const carried = pipeline(outgoing.image, incoming.sink);
      const { stoppedAtMs } = await outgoing.paused;
      expect(await statusOf(a)).toBe('moving-out');
      await outgoing.release();
      const releasedAtMs = Date.now();
      await Promise.all([carried, incoming.loaded()]);
      expect([await statusOf(a), await statusOf(b)]).toEqual(['moved-out', 'paused']);
      const { runningAtMs } = await incoming.activate();
      expect(runningAtMs).toBeGreaterThan(stoppedAtMs);
      expect(releasedAtMs).toBeGreaterThan(stoppedAtMs);
      expect(await statusOf(b)).toBe('running');
      const progress = await outgoing.progress();
      expect(progress).toMatchObject({ totalBytes: expect.any(Number), remainingBytes: 0 });
      expect(progress.sentBytes).toBeGreaterThan(1_000_000);

      await goesOn(b);
      const counts = countsIn((await a.consoleLog()) + (await b.consoleLog()));
      expect(counts).toEqual(counts.map((_, i) => i + 1));
      const sealed = /^sealed sha256=(\S+)/m.exec(await a.consoleLog())![1];
      await until('an unseal at the destination', b.consoleLog, (text) => text.includes(`unsealed sha256=${sealed}`));
      await outgoing.close();
      await incoming.close();
      await a.hypervisor.ensureDestroyed(vm.vmId, a.place.runDir);
      expect(await statusOf(a)).toBe('absent');
      expect(await a.runFiles()).toEqual([]);
      await b.hypervisor.ensureRunning(vm.vmId, b.place.runDir);
      expect(await statusOf(b)).toBe('running');
    }, 120_000);

    it('carries disks; the source may go on while the destination is loaded and waits', async () => {
      const disk = { id: 'root', path: join(bed.folder, 'disk.raw'), format: 'raw' as const };
      await writeFile(disk.path, Buffer.alloc(1024 * 1024));
      const vm = await boot(a, bed.vm({ disks: [disk] }));
      const recorded = async () => Number(/^korora-count (\d+)/.exec(await readFile(disk.path, 'utf8'))?.[1]);
      expect(await recorded()).toBeGreaterThan(0);
      const { incoming, outgoing } = await openBoth(vm);
      await expect(incoming.activate()).rejects.toMatchObject({ code: 'HYPERVISOR_COMMAND_FAILED' });
      const carried = pipeline(outgoing.image, incoming.sink);
      await outgoing.paused;
      await outgoing.release();
      await Promise.all([carried, incoming.loaded()]);
      await a.hypervisor.ensureRunning(vm.vmId, a.place.runDir);
      expect(await statusOf(a)).toBe('running');
      const before = await recorded();
      await until(`the disk to change from ${before}`, recorded, (now) => now > before);
      await expect(incoming.activate()).rejects.toMatchObject({ code: 'HYPERVISOR_COMMAND_FAILED' });
      await outgoing.close();
      await incoming.close();
    }, 120_000);
  });

  describe('an abort', () => {
    it('in the rounds leaves the guest running', async () => {
      const vm = await run(a);
      const { incoming, outgoing } = await openBoth(vm, { ...DEFAULT_LIMITS, bandwidthBytesPerSecond: 1024 * 1024 });
      const carried = pipeline(outgoing.image, incoming.sink);
      carried.catch(() => undefined);
      await until('the first pages', () => outgoing.progress(), ({ sentBytes }) => sentBytes > 0);
      expect(await statusOf(a)).toBe('moving-out');
      await a.hypervisor.ensureNotMoving(vm.vmId, a.place.runDir);
      expect(await statusOf(a)).toBe('running');
      await expect(outgoing.paused).rejects.toMatchObject({ code: 'COPY_FAILED' });
      await expect(carried).rejects.toMatchObject({ code: 'COPY_FAILED' });
      await goesOn(a);
      await a.hypervisor.ensureNotMoving(vm.vmId, a.place.runDir);
      await outgoing.close();
      await expect(incoming.loaded()).rejects.toMatchObject({ code: 'IMAGE_NOT_LOADED' });
      await incoming.close();
      await until('the destination to be gone', () => statusOf(b), (status) => status === 'absent');
    }, 120_000);

    it('while the tail is held brings the vCPUs back, and the next move works', async () => {
      const vm = await run(a);
      const first = await a.hypervisor.openOutgoing(vm, a.place.runDir, DEFAULT_LIMITS);
      first.image.resume();
      await first.paused;
      await a.hypervisor.ensureNotMoving(vm.vmId, a.place.runDir);
      expect(await statusOf(a)).toBe('running');
      await expect(first.release()).rejects.toMatchObject({ code: 'COPY_FAILED' });
      await first.close();
      expect(await statusOf(a)).toBe('running');
      await a.hypervisor.ensureRunning(vm.vmId, a.place.runDir);
      await goesOn(a);
      const { incoming, outgoing } = await openBoth(vm);
      const carried = pipeline(outgoing.image, incoming.sink);
      await outgoing.release();
      await Promise.all([carried, incoming.loaded()]);
      await incoming.activate();
      await goesOn(b);
      await outgoing.close();
      await incoming.close();
    }, 120_000);

    it('nothing is sent before the image is read; limits change while rounds run', async () => {
      const vm = await run(a);
      const outgoing = await a.hypervisor.openOutgoing(vm, a.place.runDir, { ...DEFAULT_LIMITS, bandwidthBytesPerSecond: 1024 * 1024 });
      await goesOn(a);
      expect(await outgoing.progress()).toEqual({ round: 1, sentBytes: 0, remainingBytes: 0, totalBytes: 0, dirtyBytesPerSecond: null, elapsedMs: 0, throttlePercent: null });
      expect(await statusOf(a)).toBe('running');
      outgoing.image.resume();
      await until('the first pages', () => outgoing.progress(), ({ sentBytes }) => sentBytes > 0);
      await outgoing.setLimits(DEFAULT_LIMITS);
      await outgoing.paused;
      await a.hypervisor.ensureNotMoving(vm.vmId, a.place.runDir);
      await outgoing.close();
    }, 120_000);
  });

  describe('failures', () => {
    it('the destination dies in the rounds: COPY_FAILED, source running', async () => {
      const vm = await run(a);
      const { incoming, outgoing } = await openBoth(vm, { ...DEFAULT_LIMITS, bandwidthBytesPerSecond: 1024 * 1024 });
      const carried = pipeline(outgoing.image, incoming.sink);
      carried.catch(() => undefined);
      await until('the first pages', () => outgoing.progress(), ({ sentBytes }) => sentBytes > 0);
      await b.kill();
      await expect(outgoing.paused).rejects.toMatchObject({ code: 'COPY_FAILED' });
      await expect(incoming.loaded()).rejects.toMatchObject({ code: 'IMAGE_NOT_LOADED' });
      await a.hypervisor.ensureNotMoving(vm.vmId, a.place.runDir);
      expect(await statusOf(a)).toBe('running');
      await goesOn(a);
      await outgoing.close();
      await incoming.close();
    }, 120_000);

    it('the reader goes before the tail: release rejects, the source stands still and can be resumed', async () => {
      const vm = await run(a);
      const outgoing = await a.hypervisor.openOutgoing(vm, a.place.runDir, DEFAULT_LIMITS);
      outgoing.image.resume();
      await outgoing.paused;
      outgoing.image.destroy();
      await expect(outgoing.release()).rejects.toMatchObject({ code: 'COPY_FAILED' });
      expect(await statusOf(a)).toBe('paused');
      await outgoing.close();
      await a.hypervisor.ensureRunning(vm.vmId, a.place.runDir);
      await goesOn(a);
    }, 120_000);

    it('a truncated image is not loaded, says why, and never runs', async () => {
      const vm = await run(a);
      const { incoming, outgoing } = await openBoth(vm);
      let left = 1_000_000;
      const cut = new Transform({
        transform(chunk: Buffer, _encoding, done) {
          const kept = chunk.subarray(0, Math.max(0, left));
          left -= kept.length;
          done(null, kept.length > 0 ? kept : undefined);
        },
      });
      const carried = pipeline(outgoing.image, cut, incoming.sink);
      carried.catch(() => undefined);
      await outgoing.release();
      await expect(incoming.loaded()).rejects.toMatchObject({ code: 'IMAGE_NOT_LOADED', message: expect.stringContaining('load of migration failed') });
      await incoming.close();
      await outgoing.close();
      await until('the destination to be gone', () => statusOf(b), (status) => status === 'absent');
      expect(await b.consoleLog()).toBe('');
      expect(await statusOf(a)).toBe('moved-out');
      await a.hypervisor.ensureRunning(vm.vmId, a.place.runDir);
      await goesOn(a);
    }, 120_000);

    it('what is no image is not loaded', async () => {
      await b.ensureVtpm();
      const incoming = await b.hypervisor.openIncoming(bed.vm(), b.place);
      const noise = new PassThrough();
      noise.end('this is no image');
      await pipeline(noise, incoming.sink).catch(() => undefined);
      await expect(incoming.loaded()).rejects.toMatchObject({ code: 'IMAGE_NOT_LOADED' });
      await incoming.close();
    }, 60_000);

    it('a start that fails says why in the words of the hypervisor and leaves nothing running', async () => {
      const vm = bed.vm();
      await expect(a.hypervisor.start(vm, a.place)).rejects.toMatchObject({
        code: 'HYPERVISOR_COMMAND_FAILED', message: expect.stringContaining("control.sock': No such file"),
      });
      await a.ensureVtpm();
      await expect(a.hypervisor.start({ ...vm, boot: { ...vm.boot, kernel: '/nowhere/kernel' } }, a.place)).rejects.toMatchObject({
        code: 'HYPERVISOR_COMMAND_FAILED', message: expect.stringContaining('/nowhere/kernel'),
      });
      expect(await statusOf(a)).toBe('absent');
    }, 60_000);
  });

  describe('what is not there', () => {
    it('is absent, destroyed and not moving, and refuses the rest; what runs is not started again', async () => {
      const vm = bed.vm();
      expect(await statusOf(a)).toBe('absent');
      await a.hypervisor.ensureDestroyed(vm.vmId, a.place.runDir);
      await a.hypervisor.ensureNotMoving(vm.vmId, a.place.runDir);
      await expect(a.hypervisor.ensureRunning(vm.vmId, a.place.runDir)).rejects.toMatchObject({ code: 'HYPERVISOR_COMMAND_FAILED' });
      await expect(a.hypervisor.openOutgoing(vm, a.place.runDir, DEFAULT_LIMITS)).rejects.toMatchObject({ code: 'HYPERVISOR_COMMAND_FAILED' });
      await run(a);
      await expect(a.hypervisor.start(vm, a.place)).rejects.toMatchObject({ code: 'HYPERVISOR_COMMAND_FAILED' });
      await goesOn(a);
      await a.kill();
      await until('its end', () => statusOf(a), (status) => status === 'absent');
    }, 60_000);

    it('a disk that another VM writes is refused', async () => {
      const disk = { id: 'root', path: join(bed.folder, 'disk.raw'), format: 'raw' as const };
      await writeFile(disk.path, Buffer.alloc(1024 * 1024));
      const vm = await boot(a, bed.vm({ disks: [disk] }));
      await b.ensureVtpm();
      await expect(b.hypervisor.start(vm, b.place)).rejects.toMatchObject({ code: 'HYPERVISOR_COMMAND_FAILED', message: expect.stringContaining('Failed to get "write" lock') });
      expect(await statusOf(b)).toBe('absent');
      await goesOn(a);
    }, 60_000);
  });

  return () => bed;
}
