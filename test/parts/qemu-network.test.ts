/**
 * hypervisor/qemu/network.ts on real QEMU, taps and a bridge of this machine: what the tap of a copy lets through before it
 * runs, and what becomes of taps. Needs the right to make them; where it is missing the test says so and is skipped.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HostId } from '../../domain/ids.js';
import { DEFAULT_LIMITS } from '../../domain/progress.js';
import { tapName } from '../../hypervisor/qemu/network.js';
import { until } from '../../infra/testbed/until.js';
import { opensTestbed } from '../support/driver-contract.js';
import { createQemuTestbed, type QemuSide } from '../support/qemu-testbed.js';

const run = promisify(execFile);
const BRIDGE = `krt${process.pid}`;
const obstacle = await run('ip', ['link', 'add', BRIDGE, 'type', 'bridge']).then(() => null, (error: Error) => error.message);
if (obstacle !== null) process.stdout.write(`test/parts/qemu-network.test.ts is skipped: ${obstacle}\n`);

describe.skipIf(obstacle !== null)('a VM with a network', () => {
  beforeAll(() => run('ip', ['link', 'set', BRIDGE, 'up']));
  afterAll(() => run('ip', ['link', 'delete', BRIDGE]));
  const bed = opensTestbed(createQemuTestbed);
  let a: QemuSide;
  let b: QemuSide;
  beforeAll(() => ({ a, b } = bed()));
  const vm = () => bed().vm({ networks: [{ id: 'lan', mac: '52:54:00:4b:72:03', bridge: BRIDGE }] });
  const tapOf = (host: string) => tapName(host as HostId, vm().vmId, 0);

  it('sends nothing of a copy that is loaded and waits, and is announced as it runs; taps end with their VM', async () => {
    await a.ensureVtpm();
    await a.hypervisor.start(vm(), a.place);
    await b.ensureVtpm();
    const incoming = await b.hypervisor.openIncoming(vm(), b.place);
    const outgoing = await a.hypervisor.openOutgoing(vm(), a.place.runDir, DEFAULT_LIMITS);
    const carried = pipeline(outgoing.image, incoming.sink);
    await outgoing.release();
    await Promise.all([carried, incoming.loaded()]);
    expect(await framesFrom(tapOf('host-b'))).toBe(0);
    await incoming.activate();
    await until('the announcement', () => framesFrom(tapOf('host-b')), (frames) => frames > 0);
    await outgoing.close();
    await incoming.close();
    await a.hypervisor.ensureDestroyed(vm().vmId, a.place.runDir);
    expect(await tapsOf()).toEqual([tapOf('host-b')]);
    await b.hypervisor.ensureDestroyed(vm().vmId, b.place.runDir);
    await b.hypervisor.ensureDestroyed(vm().vmId, b.place.runDir);
    expect(await tapsOf()).toEqual([]);
  }, 120_000);

  it('starts again where its QEMU died and left its tap', async () => {
    await a.ensureVtpm();
    await a.hypervisor.start(vm(), a.place);
    const pid = await a.pid();
    process.kill(pid, 'SIGKILL');
    await until('its end', () => a.hypervisor.status(vm().vmId, a.place.runDir), (status) => status === 'absent');
    expect(await tapsOf()).toEqual([tapOf('host-a')]);
    await a.reset();
    await a.ensureVtpm();
    await run('ip', ['tuntap', 'add', 'dev', tapOf('host-a'), 'mode', 'tap']);
    await a.hypervisor.start(vm(), a.place);
    expect(await tapsOf()).toEqual([tapOf('host-a')]);
  }, 120_000);

  it('leaves no tap where its start fails, and says why', async () => {
    await a.ensureVtpm();
    const homeless = bed().vm({ networks: [{ id: 'lan', mac: '52:54:00:4b:72:03', bridge: 'br-nowhere' }] });
    await expect(a.hypervisor.start(homeless, a.place)).rejects.toMatchObject({ code: 'HYPERVISOR_COMMAND_FAILED', message: expect.stringContaining('ip: ') });
    await expect(a.hypervisor.start({ ...vm(), boot: { ...vm().boot, kernel: '/nowhere/kernel' } }, a.place)).rejects.toMatchObject({ message: expect.stringContaining('/nowhere/kernel') });
    expect(await tapsOf()).toEqual([]);
  }, 60_000);

  /** Frames that QEMU sent through its tap: the kernel has received them there. */
  async function framesFrom(tap: string): Promise<number> {
    return Number(await readFile(`/sys/class/net/${tap}/statistics/rx_packets`, 'utf8'));
  }

  /** Of either host. */
  async function tapsOf(): Promise<string[]> {
    const { stdout } = await run('ip', ['-brief', 'link', 'show', 'type', 'tun']);
    return ['host-a', 'host-b'].map(tapOf).filter((name) => new RegExp(`^${name}\\s`, 'm').test(stdout));
  }
});
