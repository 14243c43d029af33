/**
 * What the guest holds across a move, one that is refused and one that succeeds: a TCP connection that a client has to it
 * through a switch, and what it was told is on its disk. And what the network learns, when: nothing of a copy before it was
 * accepted. Each host is in a network namespace of its own; the test needs the right to make them and says so where it is missing.
 */
import { execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { copyFile, readFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Evidence } from '../../domain/evidence.js';
import type { VmDocument } from '../../domain/vm.js';
import { createLocalHost } from '../../host/local.js';
import { runFiles } from '../../hypervisor/qemu/command-line.js';
import { tapName } from '../../hypervisor/qemu/network.js';
import { openQmp } from '../../hypervisor/qemu/qmp.js';
import { type EchoClient, longestGapMs, openEchoClient } from '../../infra/testbed/echo.js';
import { type GuestConsole, countsIn, firstGap } from '../../infra/testbed/guest-console.js';
import { BRIDGE, type Namespaces, SWITCH_PORTS, createNamespaces, whyNoNamespaces } from '../../infra/testbed/namespaces.js';
import type { Testbed } from '../../infra/testbed/testbed.js';
import { answered, until } from '../../infra/testbed/until.js';
import { type HostName, consoleOn, evidenceOf, failedMove, moveTo, openTestbed, startGuest } from './support.js';

const run = promisify(execFile);
const VM = 'keeper';
const MAC = '52:54:00:4b:72:01';
const RARP = '8035';
const obstacle = await whyNoNamespaces();
if (obstacle !== null) process.stdout.write(`test/e2e/guest-holds.test.ts is skipped: ${obstacle}\n`);

describe.skipIf(obstacle !== null)('a guest with a client and a disk', () => {
  let network: Namespaces;
  let testbed: Testbed;
  let client: EchoClient;
  let vm: VmDocument;
  let atA: GuestConsole;
  let frames: Readonly<Record<HostName, FrameWatch>>;
  let isAttacked = false;
  /** What the disk said, from before the first move on. */
  const onDisk: number[] = [];

  beforeAll(async () => {
    network = await createNamespaces('10.77.0.2/24');
    testbed = await openTestbed((root) => ({
      places: network.hosts,
      channelTap: network.channelTap(() => isAttacked && readFileSync(join(root, 'host-a/state/vms', VM, 'ownership.json'), 'utf8').includes('"relinquished"')),
    }));
    frames = { 'host-a': await watchFrames(network.hosts['host-a'].namespace), 'host-b': await watchFrames(network.hosts['host-b'].namespace) };
    ({ vm, console: atA } = await startGuest(testbed, VM, 'host-a', {
      dirtyMibPerSecond: 8,
      isFlushing: true,
      network: { mac: MAC, bridge: BRIDGE, address: '10.77.0.1/24' },
    }));
    client = openEchoClient(network, '10.77.0.1');
    await client.untilMore(50);
  });
  afterAll(async () => {
    await client?.stop();
    for (const watch of Object.values(frames ?? {})) watch.stop();
    await atA?.close();
    await testbed?.stop();
    await network?.remove();
  });

  it('is not started where its bridge is missing', async () => {
    const other = { ...(await testbed.guest('homeless', { hasVtpm: false })), networks: [{ id: 'net0', mac: '52:54:00:4b:72:02', bridge: 'br-nowhere' }] };
    const { codes, error } = await failedMove(testbed.client.startVm(other, 'host-a'));
    expect(codes).toEqual(['NETWORK_NOT_VISIBLE']);
    expect(error.message).toContain('host-a has no bridge br-nowhere for network net0');
  });

  it('is not moved to where its bridge is missing', async () => {
    const { namespace } = network.hosts['host-b'];
    await renameBridge(namespace, BRIDGE, 'br-away');
    try {
      const { codes, error } = await failedMove(moveTo(testbed, VM, 'host-b'));
      expect(codes).toEqual(['NETWORK_NOT_VISIBLE']);
      expect(error.message).toContain('host-b has no bridge');
    } finally {
      await renameBridge(namespace, 'br-away', BRIDGE);
    }
  });

  it('flushes its disk before it says a number', async () => {
    const said = atA.counts().at(-1) ?? 0;
    expect(said).toBeGreaterThan(5);
    expect(await flushesOn('host-a')).toBeGreaterThanOrEqual(said);
  });

  it('is locked: a second QEMU does not get its disk, but one of its own', async () => {
    const copy = join(testbed.root, 'shared/copy.raw');
    await copyFile(diskOf(vm), copy);
    expect(await otherQemu(copy)).toEqual({ isOpened: true, complaint: '' });
    expect(await otherQemu(diskOf(vm))).toMatchObject({ isOpened: false, complaint: expect.stringContaining('lock') });
  });

  describe('through a move that is refused after the source has stopped', () => {
    let evidence: Evidence;
    let lastSaid = 0;

    beforeAll(async () => {
      // What an earlier attempt might have left: the destination replaces it.
      await run('ip', ['-n', network.hosts['host-b'].namespace, 'tuntap', 'add', 'dev', tapOf('host-b'), 'mode', 'tap']);
      isAttacked = true;
      const watching = watchDisk();
      const { result, codes } = await failedMove(moveTo(testbed, VM, 'host-b'));
      isAttacked = false;
      if (!result) throw new Error(`no result: ${codes.join(', ')}`);
      evidence = await evidenceOf(result);
      await atA.until(() => true, 'reading what it said');
      lastSaid = atA.counts().at(-1) ?? 0;
      onDisk.push(...(await watching.end()));
      await client.untilMore(100);
      await atA.until((c) => (c.counts().at(-1) ?? 0) > lastSaid + 10, 'counting on at host-a');
      tellGap('refused move', evidence);
    });

    it('was stopped, and runs again on host-a', () => {
      expect(evidence.outcome).toMatchObject({ kind: 'source-resumed', runsOn: 'host-a' });
      expect(evidence.verdict?.verdict.verdict).toBe('rejected');
    });
    it('answers every line on the same connection', () => expectEveryLine());
    it('sends no frame from host-b', () => expect(frames['host-b'].fromVm()).toEqual([]));
    it('is announced again from host-a', () => {
      expect(frames['host-a'].fromVm().filter((f) => f.type === RARP).length).toBeGreaterThan(0);
    });
    it('leaves no tap on host-b, and the switch as it was', async () => {
      expect(await tapsOn('host-b')).toEqual([]);
      expect(await tapsOn('host-a')).toEqual([tapOf('host-a')]);
      expect(await network.portOf(MAC)).toBe(SWITCH_PORTS['host-a']);
    });
    it('has on its disk what it said, and goes on from there', async () => {
      expect(onDisk.at(-1)).toBeGreaterThanOrEqual(lastSaid);
      await expectDiskGoesOn();
      expect(firstGap(atA.counts())).toBeNull();
    });
    it('has the only QEMU that gets its disk', async () => expect((await otherQemu(diskOf(vm))).isOpened).toBe(false));
  });

  describe('through a move', () => {
    let evidence: Evidence;
    let atB: GuestConsole;
    let lastSaidAtA = 0;

    beforeAll(async () => {
      const watching = watchDisk();
      evidence = await evidenceOf(await moveTo(testbed, VM, 'host-b'));
      await atA.until(() => true, 'reading what it said');
      lastSaidAtA = countsIn(atA.text()).at(-1) ?? 0;
      onDisk.push(...(await watching.end()));
      atB = await consoleOn(testbed, VM, 'host-b');
      await client.untilMore(100);
      await atB.until((c) => (c.counts().at(-1) ?? 0) > lastSaidAtA + 10, 'counting on at host-b');
      tellGap('move', evidence);
    });
    afterAll(() => atB?.close());

    it('runs on host-b', () => expect(evidence.outcome).toMatchObject({ kind: 'moved', runsOn: 'host-b' }));
    it('answers every line on the same connection', () => expectEveryLine());
    it('sends no frame from host-b before it was accepted there', () => {
      const acceptedAtMs = evidence.timings.destination?.decidedAtMs ?? Infinity;
      const sent = frames['host-b'].fromVm();
      expect(sent.length).toBeGreaterThan(0);
      expect(sent.filter((frame) => frame.atMs < acceptedAtMs)).toEqual([]);
    });
    it('is announced from host-b', () => expect(frames['host-b'].fromVm().filter((frame) => frame.type === RARP).length).toBeGreaterThan(0));
    it('is behind host-b for the switch, and has no tap on host-a', async () => {
      expect(await network.portOf(MAC)).toBe(SWITCH_PORTS['host-b']);
      expect(await tapsOn('host-a')).toEqual([]);
      expect(await tapsOn('host-b')).toEqual([tapOf('host-b')]);
    });
    it('has on its disk what it said, and goes on from there', async () => {
      expect(onDisk.at(-1)).toBeGreaterThanOrEqual(lastSaidAtA);
      await expectDiskGoesOn();
      expect(firstGap(countsIn(atA.text() + atB.text()))).toBeNull();
    });
    it('has the only QEMU that gets its disk', async () => expect((await otherQemu(diskOf(vm))).isOpened).toBe(false));
  });

  const tapOf = (host: HostName) => tapName(host as never, VM as never, 0);

  async function tapsOn(host: HostName): Promise<string[]> {
    const { stdout } = await run('ip', ['-n', network.hosts[host].namespace, '-brief', 'link', 'show', 'type', 'tun']);
    return [...stdout.matchAll(/^\S+/gm)].map(([name]) => name);
  }

  function expectEveryLine(): void {
    expect(client.ended).toBeNull();
    expect(client.echoes.map((echo) => echo.line)).toEqual(client.echoes.map((_, i) => String(i + 1)));
  }

  async function expectDiskGoesOn(): Promise<void> {
    const before = onDisk.at(-1) ?? 0;
    await until(`its disk to say more than ${before}`, () => counterOn(vm), (counter) => counter > before, { limitMs: 30_000 });
    onDisk.push(await counterOn(vm));
    expect(onDisk).toEqual([...onDisk].sort((x, y) => x - y));
    expect(new Set(onDisk).size).toBeGreaterThan(3);
  }

  function watchDisk() {
    const seen: number[] = [];
    let isOn = true;
    const watching = (async () => {
      for (; isOn; await delay(5)) seen.push(await counterOn(vm));
    })();
    watching.catch(() => undefined);
    return {
      async end() {
        isOn = false;
        await watching;
        return [...seen, await counterOn(vm)];
      },
    };
  }

  function tellGap(what: string, { timings }: Evidence): void {
    const pausedAtMs = timings.source?.pausedAtMs ?? timings.startedAtMs;
    const gap = longestGapMs(client.echoes, pausedAtMs, timings.endedAtMs);
    const pause = timings.source && timings.destination ? `; the guest was paused for ${(timings.destination.runningAtMs - pausedAtMs).toFixed(1)} ms` : '';
    process.stdout.write(`${what}: longest time between two echoes ${gap.toFixed(1)} ms${pause}\n`);
  }

  async function flushesOn(host: HostName): Promise<number> {
    const socket = runFiles(join(testbed.hosts[host].config.runDir, VM)).controlSocket;
    const qmp = await openQmp(await createLocalHost(host as never).connectUnixSocket(socket), 5000);
    try {
      const [disk] = await qmp.execute<readonly { readonly stats: { readonly flush_operations: number } }[]>('query-blockstats');
      return disk?.stats.flush_operations ?? 0;
    } finally {
      qmp.close();
    }
  }
});

const diskOf = (vm: VmDocument) => vm.disks[0]?.path ?? '';

async function counterOn(vm: VmDocument): Promise<number> {
  return Number((await readFile(diskOf(vm))).subarray(13, 33).toString('latin1'));
}

/** Starts another QEMU on the disk, which ends at once where it got it. */
async function otherQemu(disk: string): Promise<{ readonly isOpened: boolean; readonly complaint: string }> {
  const words = ['-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'pc-q35-7.2,accel=tcg', '-S', '-monitor', 'stdio'];
  const child = execFile('qemu-system-x86_64', [...words, '-blockdev', `driver=file,node-name=disk,filename=${disk},locking=on`, '-device', 'virtio-blk-pci,drive=disk']);
  child.stdin?.on('error', () => undefined);
  child.stdin?.end('quit\n');
  let complaint = '';
  child.stderr?.on('data', (text: string) => (complaint += text));
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  const exitCode = await answered('the end of another QEMU on the disk', closed, { tell: () => complaint });
  return { isOpened: exitCode === 0, complaint };
}

async function renameBridge(namespace: string, from: string, to: string): Promise<void> {
  for (const words of [['down'], ['name', to]]) await run('ip', ['-n', namespace, 'link', 'set', 'dev', from, ...words]);
  await run('ip', ['-n', namespace, 'link', 'set', 'dev', to, 'up']);
}

interface FrameWatch {
  /** Frames that a VM with this MAC address sent on this host, by the kernel's clock at their arrival at the tap. */
  fromVm(): readonly { readonly atMs: number; readonly type: string }[];
  stop(): void;
}

async function watchFrames(namespace: string): Promise<FrameWatch> {
  const script = fileURLToPath(new URL('../support/frames.pl', import.meta.url));
  const child = spawn('nsenter', [`--net=/run/netns/${namespace}`, 'perl', script, MAC], { stdio: ['ignore', 'pipe', 'inherit'] });
  const seen: { readonly atMs: number; readonly type: string }[] = [];
  const lines = createInterface({ input: child.stdout });
  const ready = new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => {
      const [time = '', place = '', type = ''] = line.split(' ');
      if (time === 'ready') resolve();
      else if (/^(?:kr|gone-)/.test(place)) seen.push({ atMs: Number(time) / 1000, type });
    });
    child.once('exit', (code) => reject(new Error(`frames.pl ended with ${code}`)));
  });
  ready.catch(() => undefined);
  await answered('frames.pl to listen', ready);
  return { fromVm: () => seen, stop: () => void child.kill('SIGTERM') };
}
