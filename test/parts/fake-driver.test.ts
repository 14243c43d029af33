/** hypervisor/fake: what every driver does, on fake machines in this process, and what is the fake's own. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, expect, it } from 'vitest';
import { HostId } from '../../domain/ids.js';
import { DEFAULT_LIMITS } from '../../domain/progress.js';
import { createFakeHypervisor } from '../../hypervisor/fake/driver.js';
import { createMemory } from '../../hypervisor/fake/memory.js';
import { machineSocketIn } from '../../hypervisor/fake/protocol.js';
import { createFakeVtpmManager } from '../../hypervisor/fake/vtpm.js';
import { stateFileIn } from '../../hypervisor/fake/vtpm-server.js';
import { countsIn, unsealsIn } from '../../infra/testbed/guest-console.js';
import { until } from '../../infra/testbed/until.js';
import { describesDriver } from '../support/driver-contract.js';
import { type FakeSide, createFakeTestbed } from '../support/fake-testbed.js';

const bed = describesDriver(createFakeTestbed);
const PAGE_BYTES = 4096;

async function boot(side: FakeSide, kernelWords = '') {
  const vm = bed().vm({ kernelWords });
  await side.ensureVtpm();
  await side.hypervisor.start(vm, side.place);
  await until('the seal', side.consoleLog, (text) => /^sealed /m.test(text));
  return vm;
}

/** Carries the image of `a` to `b` through `between`; resolves when it is loaded. */
async function carry(vm: Awaited<ReturnType<typeof boot>>, between: Transform) {
  const { a, b } = bed();
  await b.ensureVtpm();
  const incoming = await b.hypervisor.openIncoming(vm, b.place);
  const outgoing = await a.hypervisor.openOutgoing(vm, a.place.runDir, DEFAULT_LIMITS);
  const carried = pipeline(outgoing.image, between, incoming.sink);
  carried.catch(() => undefined);
  await outgoing.release();
  const loaded = incoming.loaded();
  loaded.catch(() => undefined);
  await Promise.allSettled([carried, loaded]);
  return { incoming, outgoing, loaded };
}

const untouched = () => new Transform({ transform: (chunk, _encoding, done) => done(null, chunk) });

describe('memory', () => {
  it('shows a page that was lost, and one that comes from another time', () => {
    const [source, target] = [createMemory(8, 5), createMemory(8, 5)];
    source.rewrite(0, 7);
    expect(source.takeDirty().length).toBe(5);
    for (let page = 0; page < 8; page++) target.load(page, source.read(page));
    expect([source.problem(7), target.problem(7)]).toEqual([null, null]);
    source.rewrite(7, 2);
    expect(source.takeDirty()).toEqual([3, 4]);
    target.load(3, source.read(3));
    expect(target.problem(9)).toBe('page=4 holds=4 expected=9');
    target.load(4, source.read(4));
    expect(target.problem(9)).toBeNull();
    target.load(7, Buffer.alloc(PAGE_BYTES, 1));
    expect(target.problem(9)).toMatch(/^page=7 /);
    expect(() => target.load(8, Buffer.alloc(PAGE_BYTES))).toThrow(/no page 8/);
  });
});

describe('a guest', () => {
  it('one of whose pages was changed on the way says so: the driver itself takes such an image, as QEMU does', async () => {
    const { a, b } = bed();
    const vm = await boot(a, 'korora.unseal_every_s=0 korora.dirty_set_mib=1');
    let image = Buffer.alloc(0);
    const change = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        image = Buffer.concat([image, chunk]);
        done();
      },
      flush(done) {
        // Page 500 is outside of the working set, so it was sent once: in the first round, in its turn.
        const at = 5 + image.readUInt32LE(1) + 500 * (5 + 4 + PAGE_BYTES) + 5 + 4;
        image.writeUInt8(image.readUInt8(at) ^ 1, at);
        done(null, image);
      },
    });
    const { incoming, outgoing, loaded } = await carry(vm, change);
    await loaded;
    await incoming.activate();
    await until('the guest to see it', b.consoleLog, (text) => text.includes('memory-wrong page=500 holds=1 expected=0'));
    expect(await a.consoleLog()).not.toContain('memory-wrong');
    await outgoing.close();
    await incoming.close();
  });

  it('that changes its pages all the time arrives with every one of them', async () => {
    const { a, b } = bed();
    const vm = await boot(a, 'korora.unseal_every_s=0 korora.dirty_mib_per_s=64');
    const { incoming, outgoing, loaded } = await carry(vm, untouched());
    await loaded;
    await incoming.activate();
    await until('unsealings', b.consoleLog, (text) => unsealsIn(text).length > 2);
    expect(await b.consoleLog()).not.toMatch(/memory-wrong|unseal-failed/);
    await outgoing.close();
    await incoming.close();
  });

  it('that changes its pages faster than they are sent is in its rounds until the limits let it pause', async () => {
    const { a } = bed();
    const vm = await boot(a, 'korora.memory_mib=1 korora.dirty_mib_per_s=64');
    const outgoing = await a.hypervisor.openOutgoing(vm, a.place.runDir, { ...DEFAULT_LIMITS, downtimeLimitMs: 1, bandwidthBytesPerSecond: 4 * 1024 * 1024 });
    let hasPaused = false;
    void outgoing.paused.then(() => (hasPaused = true), () => undefined);
    outgoing.image.resume();
    await until('the third round', () => outgoing.progress(), ({ round }) => round >= 3);
    expect(hasPaused).toBe(false);
    await outgoing.setLimits({ ...DEFAULT_LIMITS, downtimeLimitMs: 10_000 });
    await outgoing.paused;
    const { remainingBytes, totalBytes, dirtyBytesPerSecond } = await outgoing.progress();
    expect(remainingBytes).toBeLessThanOrEqual(totalBytes);
    expect(totalBytes).toBe(1024 * 1024);
    expect(dirtyBytesPerSecond).toBeGreaterThan(0);
    await outgoing.close();
  });
});

describe('a vTPM', () => {
  it('does not cross under another migration key: the image is not loaded, the source can go on', async () => {
    const { a, b } = bed();
    const vm = await boot(a);
    await b.vtpms.ensureRunning({ ...b.vtpm, migrationKey: randomBytes(32) });
    const { incoming, outgoing, loaded } = await carry(vm, untouched());
    await expect(loaded).rejects.toMatchObject({ code: 'IMAGE_NOT_LOADED', message: expect.stringContaining('the TPM state does not open under this key') });
    await outgoing.close();
    await incoming.close();
    await a.hypervisor.ensureRunning(vm.vmId, a.place.runDir);
    const last = countsIn(await a.consoleLog()).at(-1) ?? 0;
    await until(`the counter to go on from ${last}`, a.consoleLog, (text) => (countsIn(text).at(-1) ?? 0) > last);
  });

  it('stays the same over a move and a restart there, where its state is under the key of that host', async () => {
    const { a, b } = bed();
    const vm = await boot(a, 'korora.unseal_every_s=0');
    const ek = (side: FakeSide) => until('an unsealing', side.consoleLog, (text) => unsealsIn(text).length > 0).then((text) => unsealsIn(text).at(-1)?.ek);
    await ek(a);
    const { incoming, outgoing, loaded } = await carry(vm, untouched());
    await loaded;
    await outgoing.close();
    await incoming.close();
    await b.hypervisor.ensureDestroyed(vm.vmId, b.place.runDir);
    expect(await b.vtpms.isRunning(b.place.runDir)).toBe(false);

    await b.vtpms.ensureRunning({ ...b.vtpm, stateKey: a.vtpm.stateKey });
    await expect(b.hypervisor.start(vm, b.place)).rejects.toMatchObject({ code: 'HYPERVISOR_COMMAND_FAILED', message: expect.stringContaining('the TPM state does not open under this key') });
    await b.vtpms.ensureStopped(b.place.runDir);
    await b.vtpms.ensureRunning(b.vtpm);
    await b.hypervisor.start(vm, b.place);
    expect(await ek(b)).toBe(await ek(a));
  });

  it('without its state is another one', async () => {
    const { a } = bed();
    const vm = await boot(a, 'korora.unseal_every_s=0');
    const ek = () => until('an unsealing', a.consoleLog, (text) => unsealsIn(text).length > 0).then((text) => unsealsIn(text).at(-1)?.ek);
    const before = await ek();
    await a.reset();
    await a.ensureVtpm();
    await a.hypervisor.start(vm, a.place);
    expect(await ek()).not.toBe(before);
  });

  it('is manufactured once, has an identity of its own, and takes whole keys only', async () => {
    const { a, folder } = bed();
    const spec = { stateDir: join(folder, 'made'), stateKey: randomBytes(32), name: 'one' };
    const { ekCertificateSha256 } = await a.vtpms.manufacture(spec);
    await expect(a.vtpms.manufacture(spec)).rejects.toMatchObject({ code: 'HOST_COMMAND_FAILED' });
    expect((await a.vtpms.manufacture({ ...spec, stateDir: join(folder, 'other') })).ekCertificateSha256).not.toBe(ekCertificateSha256);
    expect((await readFile(stateFileIn(spec.stateDir))).includes('storageKey')).toBe(false);
    await expect(a.vtpms.ensureRunning({ ...a.vtpm, stateKey: Buffer.alloc(16) })).rejects.toThrow(/stateKey has 16 bytes/);
  });
});

describe('a machine', () => {
  it('that is not there has no VMs; one that does not answer has VMs that are of no use', async () => {
    const { a, folder } = bed();
    const vm = bed().vm();
    const hostRunDir = join(folder, 'silent');
    const driver = createFakeHypervisor({ access: a.access, hostId: HostId.parse('host-c'), runDir: hostRunDir });
    const vtpms = createFakeVtpmManager({ access: a.access, hostId: HostId.parse('host-c'), runDir: hostRunDir });
    expect(await driver.status(vm.vmId, join(hostRunDir, 'guest'))).toBe('absent');
    expect(await vtpms.isRunning(join(hostRunDir, 'guest'))).toBe(false);
    await mkdir(hostRunDir);
    await writeFile(machineSocketIn(hostRunDir), 'left by one that was killed');
    expect(await driver.status(vm.vmId, join(hostRunDir, 'guest'))).toBe('absent');
    await a.access.remove(machineSocketIn(hostRunDir));
    const silent = createServer(() => undefined).listen(machineSocketIn(hostRunDir));
    await until('the silent machine', () => silent.listening, (isListening) => isListening);
    expect(await driver.status(vm.vmId, join(hostRunDir, 'guest'))).toBe('failed');
    silent.close();
  });

  it('is reached by its owner only', async () => {
    const { access, hostRunDir } = bed().a;
    const { stdout } = await access.run('stat', ['-c', '%a', machineSocketIn(hostRunDir)]);
    expect(stdout.toString().trim()).toBe('600');
  });
});
