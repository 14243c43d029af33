/**
 * Holding a copy on real QEMU: the guest runs, QEMU cannot finish, and the copy completes once it is let go on. And
 * slowing a guest, which ends with the copy.
 */
import { PassThrough, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { HostId } from '../../domain/ids.js';
import { DEFAULT_LIMITS } from '../../domain/progress.js';
import type { VmDocument } from '../../domain/vm.js';
import type { HostAccess } from '../../host/port.js';
import type { Hypervisor } from '../../hypervisor/port.js';
import { createQemu } from '../../hypervisor/qemu/driver.js';
import { marginBytes } from '../../hypervisor/qemu/hold.js';
import { countsIn } from '../../infra/testbed/guest-console.js';
import { until } from '../../infra/testbed/until.js';
import { opensTestbed } from '../support/driver-contract.js';
import { createQemuTestbed, type QemuSide } from '../support/qemu-testbed.js';
import { runningGuests } from '../support/running-guests.js';

const MIB = 1024 * 1024;
const open = opensTestbed(createQemuTestbed);
let bed: ReturnType<typeof open>;
let a: QemuSide;
let b: QemuSide;
let margin: number;
let bringUp: (side: QemuSide) => Promise<void>;
beforeAll(async () => {
  bed = open();
  ({ a, b } = bed);
  bringUp = runningGuests(bed);
  margin = marginBytes(Number(await a.access.readFile('/proc/sys/net/core/wmem_default')));
});

/** The testbed's guest, as it runs. */
async function run(): Promise<VmDocument> {
  await b.ensureVtpm();
  await bringUp(a);
  return bed.vm();
}

async function boot(vm: VmDocument): Promise<VmDocument> {
  await a.ensureVtpm();
  await b.ensureVtpm();
  await a.hypervisor.start(vm, a.place);
  await until('the counter', a.consoleLog, (text) => countsIn(text).length > 2);
  return vm;
}

const statusOf = (side: QemuSide) => side.hypervisor.status(bed.vm().vmId, side.place.runDir);
const lastCount = async (side: QemuSide) => countsIn(await side.consoleLog()).at(-1) ?? 0;
/** The guest ran for at least so many of its ticks more. */
async function ranFor(ticks: number): Promise<void> {
  const before = await lastCount(a);
  await until(`${ticks} ticks after ${before}`, () => lastCount(a), (count) => count >= before + ticks);
}

/** Takes what comes and counts it. */
function counting() {
  let bytes = 0;
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  return { stream, bytes: () => bytes };
}

/** How much flows while the guest runs on: once nothing has for a second of its time, it is this much. */
async function standstill(bytes: () => number): Promise<number> {
  const { now } = await until(
    'what flows to come to a standstill',
    async () => {
      const before = bytes();
      await ranFor(50);
      return { before, now: bytes() };
    },
    ({ before, now }) => now === before,
    { everyMs: 0 },
  );
  return now;
}

describe('a copy that is held from its start', () => {
  it('lets an idle guest run on and only as much flow as proves that, then completes', async () => {
    const vm = await run();
    const incoming = await b.hypervisor.openIncoming(vm, b.place);
    const outgoing = await a.hypervisor.openOutgoing(vm, a.place.runDir, DEFAULT_LIMITS, { isHeld: true });
    let isPaused = false;
    void outgoing.paused.then(() => (isPaused = true), () => undefined);
    const { stream, bytes } = counting();
    const carried = pipeline(outgoing.image, stream, incoming.sink);
    carried.catch(() => undefined);
    await until('the first bytes', bytes, (flowed) => flowed > 0);

    const flowed = await standstill(bytes);
    const held = await outgoing.progress();
    expect([isPaused, await statusOf(a), held.round]).toEqual([false, 'moving-out', 1]);
    // It stopped because of the proof, not before: the rest is the margin and less than one chunk of zero pages.
    expect(held.remainingBytes).toBeLessThanOrEqual(margin + (64 * 1024 * 4096) / 9);
    expect(held.remainingBytes).toBeGreaterThan(0);
    await outgoing.setLimits({ ...DEFAULT_LIMITS, downtimeLimitMs: 10_000 });
    expect(await standstill(bytes)).toBe(flowed);
    expect(isPaused).toBe(false);

    expect(await outgoing.setHeld(false)).toEqual({ isHeld: false, isCertain: true });
    await outgoing.release();
    await Promise.all([carried, incoming.loaded()]);
    const stoppedAt = await lastCount(a);
    await incoming.activate();
    await until(`the counter at the destination beyond ${stoppedAt}`, () => lastCount(b), (count) => count > stoppedAt);
    const counts = countsIn((await a.consoleLog()) + (await b.consoleLog()));
    expect(counts).toEqual(counts.map((_, i) => i + 1));
    await outgoing.close();
    await incoming.close();
  }, 180_000);

  it('does not begin with a guest that is smaller than the margin', async () => {
    const vm = await boot({ ...bed.vm(), memoryBytes: 192 * MIB - 8192 });
    expect(vm.memoryBytes).toBeLessThan(margin);
    const outgoing = await a.hypervisor.openOutgoing(vm, a.place.runDir, DEFAULT_LIMITS, { isHeld: true });
    outgoing.image.resume();
    await ranFor(50);
    expect([(await outgoing.progress()).sentBytes, await statusOf(a)]).toEqual([0, 'running']);
    await outgoing.setHeld(false);
    await outgoing.paused;
    await a.hypervisor.ensureNotMoving(vm.vmId, a.place.runDir);
    await outgoing.close();
  }, 120_000);

  it('can be aborted', async () => {
    const vm = await run();
    const outgoing = await a.hypervisor.openOutgoing(vm, a.place.runDir, DEFAULT_LIMITS, { isHeld: true });
    outgoing.image.resume();
    await until('the first pages', () => outgoing.progress(), ({ sentBytes }) => sentBytes > 0);
    await a.hypervisor.ensureNotMoving(vm.vmId, a.place.runDir);
    await expect(outgoing.paused).rejects.toMatchObject({ code: 'COPY_FAILED' });
    expect(await statusOf(a)).toBe('running');
    await ranFor(5);
    await outgoing.close();
  }, 120_000);
});

describe('a copy that is held on its way', () => {
  it('in the first round stands still for certain; once the source is paused nothing can hold it', async () => {
    const vm = await run();
    const outgoing = await a.hypervisor.openOutgoing(vm, a.place.runDir, { ...DEFAULT_LIMITS, bandwidthBytesPerSecond: 4 * MIB });
    const { stream, bytes } = counting();
    const carried = pipeline(outgoing.image, stream.resume());
    carried.catch(() => undefined);
    await until('the first pages', bytes, (flowed) => flowed > 0);
    expect(await outgoing.setHeld(true)).toEqual({ isHeld: true, isCertain: true });
    await outgoing.setLimits(DEFAULT_LIMITS);
    await standstill(bytes);
    expect(await statusOf(a)).toBe('moving-out');
    await outgoing.setHeld(false);
    await outgoing.paused;
    expect(await outgoing.setHeld(true)).toEqual({ isHeld: false, isCertain: true });
    await outgoing.release();
    await carried;
    expect(await statusOf(a)).toBe('moved-out');
    await outgoing.close();
  }, 120_000);

  it('in a late round is not certain, and is over where the source is paused all the same', async () => {
    const vm = await boot(bed.vm({ kernelWords: 'korora.dirty_mib_per_s=32' }));
    const outgoing = await a.hypervisor.openOutgoing(vm, a.place.runDir, { ...DEFAULT_LIMITS, downtimeLimitMs: 1 });
    const carried = pipeline(outgoing.image, counting().stream.resume());
    carried.catch(() => undefined);
    await until('a late round', () => outgoing.progress(), ({ round }) => round >= 3);
    const hold = await outgoing.setHeld(true);
    expect(hold.isCertain).toBe(!hold.isHeld);
    await outgoing.setHeld(false);
    await outgoing.setLimits({ ...DEFAULT_LIMITS, downtimeLimitMs: 10_000 });
    await outgoing.release();
    await carried;
    expect(await statusOf(a)).toBe('moved-out');
    await outgoing.close();
  }, 120_000);
});

describe('a hold that does not hold', () => {
  /** Between QEMU and the driver there is room for the whole stream, which the margin does not know of. */
  function roomy(): Hypervisor {
    const listenUnixSocket: HostAccess['listenUnixSocket'] = async (path) => {
      const listener = await a.access.listenUnixSocket(path);
      return { close: () => listener.close(), accept: async () => (await listener.accept()).pipe(new PassThrough({ highWaterMark: 1024 * MIB })) };
    };
    return createQemu({ access: { ...a.access, listenUnixSocket }, hostId: HostId.parse('host-a') });
  }

  it('is over when the source is paused, and the move goes on at once', async () => {
    const vm = await run();
    const outgoing = await roomy().openOutgoing(vm, a.place.runDir, DEFAULT_LIMITS, { isHeld: true });
    const carried = pipeline(outgoing.image, counting().stream.resume());
    await outgoing.paused;
    await outgoing.release();
    await carried;
    expect(await statusOf(a)).toBe('moved-out');
    await outgoing.close();
  }, 60_000);
});

describe('a guest that may be slowed', () => {
  it('is when that is asked, as far as asked, and no longer than the copy lasts', async () => {
    const vm = await boot(bed.vm({ kernelWords: 'korora.dirty_mib_per_s=16' }));
    const slow = { ...DEFAULT_LIMITS, downtimeLimitMs: 1, bandwidthBytesPerSecond: 16 * MIB };
    const first = await a.hypervisor.openOutgoing(vm, a.place.runDir, { ...slow, autoConverge: { initialPercent: 20, incrementPercent: 20, maxPercent: 60 } });
    first.image.resume();
    const throttle = async () => (await first.progress()).throttlePercent ?? 0;
    await until('a later round', () => first.progress(), ({ round }) => round >= 3);
    expect(await throttle()).toBeLessThanOrEqual(1);
    await first.setThrottle(30);
    await until('30 %', throttle, (percent) => percent === 30);
    await first.setThrottle(60);
    await until('60 %', throttle, (percent) => percent === 60);
    await a.hypervisor.ensureNotMoving(vm.vmId, a.place.runDir);
    await first.close();

    const second = await a.hypervisor.openOutgoing(vm, a.place.runDir, slow);
    second.image.resume();
    await until('the first pages', () => second.progress(), ({ sentBytes }) => sentBytes > 0);
    expect((await second.progress()).throttlePercent).toBeNull();
    await a.hypervisor.ensureNotMoving(vm.vmId, a.place.runDir);
    await second.close();
  }, 180_000);
});
