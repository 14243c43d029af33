/** hypervisor/qemu on real QEMU processes: start, move, abort, fail, destroy. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../domain/progress.js';
import { countsIn, createQemuTestbed, eventually, type QemuTestbed, type QemuSide } from '../support/qemu-testbed.js';

let bed: QemuTestbed;
let a: QemuSide;
let b: QemuSide;
beforeAll(async () => {
  bed = await createQemuTestbed();
  ({ a, b } = bed);
}, 120_000);
afterEach(async () => {
  await a.reset();
  await b.reset();
}, 60_000);
afterAll(() => bed.close(), 60_000);


async function boot(side: QemuSide, vm = bed.vm()) {
  await side.ensureVtpm();
  await side.qemu.start(vm, side.place);
  await eventually('the counter', async () => countsIn(await side.consoleLog()).length > 2);
  return vm;
}

async function openBoth(vm: ReturnType<QemuTestbed['vm']>, limits = DEFAULT_LIMITS) {
  await b.ensureVtpm();
  const incoming = await b.qemu.openIncoming(vm, b.place);
  const outgoing = await a.qemu.openOutgoing(vm, a.place.runDir, limits);
  return { incoming, outgoing };
}

const statusOf = (side: QemuSide) => side.qemu.status(bed.vm().vmId, side.place.runDir);
const goesOn = async (side: QemuSide) => {
  const before = countsIn(await side.consoleLog()).at(-1) ?? 0;
  await eventually('the counter to go on', async () => (countsIn(await side.consoleLog()).at(-1) ?? 0) > before);
};

describe('a move', () => {
  it('takes the running guest across: counter without gap, vTPM with its secret, one copy', async () => {
    const vm = await boot(a, bed.vm({ kernelWords: 'korora.unseal_every_s=1' }));
    await eventually('the seal', async () => /^sealed /m.test(await a.consoleLog()));
    expect(await statusOf(a)).toBe('running');
    const { incoming, outgoing } = await openBoth(vm);
    expect([await statusOf(a), await statusOf(b)]).toEqual(['running', 'incoming']);
    await expect(b.qemu.ensureRunning(vm.vmId, b.place.runDir)).rejects.toMatchObject({ code: 'HYPERVISOR_COMMAND_FAILED' });

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
    await eventually('an unseal at the destination', async () => (await b.consoleLog()).includes(`unsealed sha256=${sealed}`));
    await outgoing.close();
    await incoming.close();
    await a.qemu.ensureDestroyed(vm.vmId, a.place.runDir);
    expect(await statusOf(a)).toBe('absent');
    expect(await a.runFiles()).toEqual([]);
    await b.qemu.ensureRunning(vm.vmId, b.place.runDir);
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
    await a.qemu.ensureRunning(vm.vmId, a.place.runDir);
    expect(await statusOf(a)).toBe('running');
    const before = await recorded();
    await eventually('the disk to change', async () => (await recorded()) > before);
    await expect(incoming.activate()).rejects.toMatchObject({ code: 'HYPERVISOR_COMMAND_FAILED' });
    await outgoing.close();
    await incoming.close();
  }, 120_000);
});

describe('an abort', () => {
  it('in the rounds leaves the guest running', async () => {
    const vm = await boot(a);
    const { incoming, outgoing } = await openBoth(vm, { ...DEFAULT_LIMITS, bandwidthBytesPerSecond: 1024 * 1024 });
    const carried = pipeline(outgoing.image, incoming.sink);
    carried.catch(() => undefined);
    await eventually('the first pages', async () => (await outgoing.progress()).sentBytes > 0);
    expect(await statusOf(a)).toBe('moving-out');
    await a.qemu.ensureNotMoving(vm.vmId, a.place.runDir);
    expect(await statusOf(a)).toBe('running');
    await expect(outgoing.paused).rejects.toMatchObject({ code: 'COPY_FAILED' });
    await expect(carried).rejects.toMatchObject({ code: 'COPY_FAILED' });
    await goesOn(a);
    await a.qemu.ensureNotMoving(vm.vmId, a.place.runDir);
    await outgoing.close();
    await expect(incoming.loaded()).rejects.toMatchObject({ code: 'IMAGE_NOT_LOADED' });
    await incoming.close();
    await eventually('the destination to be gone', async () => (await statusOf(b)) === 'absent');
  }, 120_000);

  it('while the tail is held brings the vCPUs back, and the next move works', async () => {
    const vm = await boot(a);
    const first = await a.qemu.openOutgoing(vm, a.place.runDir, DEFAULT_LIMITS);
    first.image.resume();
    await first.paused;
    await a.qemu.ensureNotMoving(vm.vmId, a.place.runDir);
    expect(await statusOf(a)).toBe('running');
    await expect(first.release()).rejects.toMatchObject({ code: 'COPY_FAILED' });
    await first.close();
    expect(await statusOf(a)).toBe('running');
    await a.qemu.ensureRunning(vm.vmId, a.place.runDir);
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
    const vm = await boot(a);
    const outgoing = await a.qemu.openOutgoing(vm, a.place.runDir, { ...DEFAULT_LIMITS, bandwidthBytesPerSecond: 1024 * 1024 });
    await goesOn(a);
    expect(await outgoing.progress()).toEqual({ round: 1, sentBytes: 0, remainingBytes: 0, totalBytes: 0, dirtyBytesPerSecond: null, elapsedMs: 0, throttlePercent: null });
    expect(await statusOf(a)).toBe('running');
    outgoing.image.resume();
    await eventually('the first pages', async () => (await outgoing.progress()).sentBytes > 0);
    await outgoing.setLimits(DEFAULT_LIMITS);
    await outgoing.paused;
    await a.qemu.ensureNotMoving(vm.vmId, a.place.runDir);
    await outgoing.close();
  }, 120_000);
});

describe('failures', () => {
  it('the destination dies in the rounds: COPY_FAILED, source running', async () => {
    const vm = await boot(a);
    const { incoming, outgoing } = await openBoth(vm, { ...DEFAULT_LIMITS, bandwidthBytesPerSecond: 1024 * 1024 });
    const carried = pipeline(outgoing.image, incoming.sink);
    carried.catch(() => undefined);
    await eventually('the first pages', async () => (await outgoing.progress()).sentBytes > 0);
    await b.access.signal(await b.pid(), 'SIGKILL');
    await expect(outgoing.paused).rejects.toMatchObject({ code: 'COPY_FAILED' });
    await expect(incoming.loaded()).rejects.toMatchObject({ code: 'IMAGE_NOT_LOADED' });
    await a.qemu.ensureNotMoving(vm.vmId, a.place.runDir);
    expect(await statusOf(a)).toBe('running');
    await goesOn(a);
    await outgoing.close();
    await incoming.close();
  }, 120_000);

  it('the reader goes before the tail: release rejects, the source stands still and can be resumed', async () => {
    const vm = await boot(a);
    const outgoing = await a.qemu.openOutgoing(vm, a.place.runDir, DEFAULT_LIMITS);
    outgoing.image.resume();
    await outgoing.paused;
    outgoing.image.destroy();
    await expect(outgoing.release()).rejects.toMatchObject({ code: 'COPY_FAILED' });
    expect(await statusOf(a)).toBe('paused');
    await outgoing.close();
    await a.qemu.ensureRunning(vm.vmId, a.place.runDir);
    await goesOn(a);
  }, 120_000);

  it('a truncated image is not loaded, says why, and never runs', async () => {
    const vm = await boot(a);
    const { incoming, outgoing } = await openBoth(vm);
    let left = 5_000_000;
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
    await eventually('the destination to be gone', async () => (await statusOf(b)) === 'absent');
    expect(await b.consoleLog()).toBe('');
    expect(await statusOf(a)).toBe('moved-out');
    await a.qemu.ensureRunning(vm.vmId, a.place.runDir);
    await goesOn(a);
  }, 120_000);

  it('what is no image is not loaded', async () => {
    await b.ensureVtpm();
    const incoming = await b.qemu.openIncoming(bed.vm(), b.place);
    const noise = new PassThrough();
    noise.end('this is no image');
    await pipeline(noise, incoming.sink).catch(() => undefined);
    await expect(incoming.loaded()).rejects.toMatchObject({ code: 'IMAGE_NOT_LOADED' });
    await incoming.close();
  }, 60_000);

  it('a start that fails says why in the words of QEMU and leaves nothing running', async () => {
    const vm = bed.vm();
    await expect(a.qemu.start(vm, a.place)).rejects.toMatchObject({
      code: 'HYPERVISOR_COMMAND_FAILED', message: expect.stringContaining("control.sock': No such file"),
    });
    await a.ensureVtpm();
    await expect(a.qemu.start({ ...vm, boot: { ...vm.boot, kernel: '/nowhere/kernel' } }, a.place)).rejects.toMatchObject({
      code: 'HYPERVISOR_COMMAND_FAILED', message: expect.stringContaining('/nowhere/kernel'),
    });
    expect(await statusOf(a)).toBe('absent');
  }, 60_000);
});

describe('processes', () => {
  it('status tells a process that does not answer; destroy ends it; both leave strangers alone', async () => {
    const vm = bed.vm();
    await a.ensureVtpm();
    await a.qemu.start(vm, a.place);
    await expect(a.qemu.start(vm, a.place)).rejects.toMatchObject({ code: 'HYPERVISOR_COMMAND_FAILED' });
    const pid = await a.pid();
    process.kill(pid, 'SIGSTOP');
    expect(await statusOf(a)).toBe('failed');
    process.kill(pid, 'SIGCONT');
    expect(await statusOf(a)).toBe('running');

    await mkdir(b.place.runDir, { recursive: true });
    await writeFile(join(b.place.runDir, 'qemu.pid'), String(pid));
    expect(await statusOf(b)).toBe('absent');
    await b.qemu.ensureDestroyed(vm.vmId, b.place.runDir);
    expect(await statusOf(a)).toBe('running');

    await a.qemu.ensureDestroyed(vm.vmId, a.place.runDir);
    await a.qemu.ensureDestroyed(vm.vmId, a.place.runDir);
    expect(await a.access.commandLineOf(pid)).toBeNull();
    expect(await a.runFiles()).toEqual([]);
    expect(await statusOf(a)).toBe('absent');
    await a.qemu.ensureNotMoving(vm.vmId, a.place.runDir);
    await expect(a.qemu.ensureRunning(vm.vmId, a.place.runDir)).rejects.toMatchObject({ code: 'HYPERVISOR_COMMAND_FAILED' });
  }, 60_000);

  it('facts are found by trying, once', async () => {
    const facts = await a.qemu.facts();
    expect(facts).toMatchObject({ kind: 'qemu', version: expect.stringMatching(/^\d+\.\d+\.\d+$/), accelerator: expect.stringMatching(/^(kvm|tcg)$/) });
    expect(facts.machineTypes).toContain('pc-q35-7.2');
    expect(facts.cpuModels).toContain('max');
    expect(await a.qemu.facts()).toBe(facts);
  });
});

