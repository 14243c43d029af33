/**
 * A VM's networks on its host: one tap device each, made before QEMU starts and removed after it has ended,
 * joined to the bridge that the VM document names; and the arguments by which QEMU takes them.
 *
 * What of a VM's networks stands on a host is found again in the kernel, by name, never in a file: a tap of a QEMU
 * that died is replaced by the next start and removed by the next ensureGone. It makes no bridge and gives no address.
 *
 * A tap belongs to the user QEMU runs as (the worker's), so that nobody else on the host can take its other end; QEMU
 * needs no right and no script for it, and opens /dev/net/tun under the same seccomp filter. Frames that reach
 * the tap of a copy that waits stay in its queue (QEMU reads none before its vCPUs run), and it sends none: see announce.
 */
import { createHash } from 'node:crypto';
import type { HostId, VmId } from '../../domain/ids.js';
import type { Network } from '../../domain/vm.js';
import type { HostAccess } from '../../host/port.js';
import { QmpError, type Qmp } from './qmp.js';

interface Place {
  readonly access: HostAccess;
  readonly hostId: HostId;
}

const INTERFACES = '/sys/class/net';
/** Disks have the slots 4 to 19, q35's own parts 31. */
const FIRST_SLOT = 20;

/** 15 characters, the most that Linux takes: two hosts on one machine do not meet, networks of one VM differ in the last. */
export function tapName(hostId: HostId, vmId: VmId, index: number): string {
  return `${tapPrefix(hostId, vmId)}${index.toString(16)}`;
}

/** The guest-visible half depends on nothing but the document. UFO is off because kernels differ in it: a host without it could not load the image. */
export function networkArguments(hostId: HostId, vmId: VmId, networks: readonly Network[], bus: string): string[] {
  return networks.flatMap(({ id, mac }, i) => [
    '-netdev', `tap,id=net-${id},ifname=${tapName(hostId, vmId, i)},script=no,downscript=no,vhost=off`,
    '-device', `virtio-net-pci,id=nic-${id},netdev=net-${id},mac=${mac},bus=${bus},addr=0x${(FIRST_SLOT + i).toString(16)},disable-legacy=on,host_ufo=off,guest_ufo=off,romfile=`,
  ]);
}

/** For a VM of which no QEMU runs: what an earlier one left is replaced. QmpError. */
export async function makeTaps({ access, hostId }: Place, vmId: VmId, networks: readonly Network[]): Promise<void> {
  await removeTaps({ access, hostId }, vmId);
  if (networks.length === 0) return;
  const owner = (await access.run('id', ['-u'])).stdout.toString().trim();
  await ip(access, networks.flatMap(({ bridge }, i) => {
    const name = tapName(hostId, vmId, i);
    return [
      `tuntap add dev ${name} mode tap user ${owner}`,
      `link set dev ${name} address ${tapAddress(name)}`,
      `link set dev ${name} master ${bridge}`,
      `link set dev ${name} up`,
    ];
  }));
}

/** Idempotent. QmpError. */
export async function removeTaps({ access, hostId }: Place, vmId: VmId): Promise<void> {
  const prefix = tapPrefix(hostId, vmId);
  const found = (await access.list(INTERFACES)).filter((name) => name.startsWith(prefix));
  if (found.length > 0) await ip(access, found.map((name) => `link delete dev ${name}`));
}

function tapPrefix(hostId: HostId, vmId: VmId): string {
  return `kr${digestOf(`${hostId}/${vmId}`).slice(0, 12)}`;
}

/** High, because a bridge without an address of its own takes the lowest of its ports': it must not change with a VM. */
function tapAddress(name: string): string {
  return ['fe', ...(digestOf(name).match(/../g) ?? []).slice(0, 5)].join(':');
}

function digestOf(text: string): string {
  return createHash('sha256').update(`korora/tap/${text}`).digest('hex');
}

/** All or, where one fails, none of those after it. */
async function ip(access: HostAccess, lines: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await access.run('ip', ['-batch', '-'], { input: Buffer.from(`${lines.join('\n')}\n`), timeoutMs: 10_000 });
  if (exitCode !== 0) throw new QmpError(`ip: ${stderr.toString().trim().replaceAll('\n', '; ')}`);
}

/**
 * Tells the switches where the VM is: QEMU sends a RARP for each of its MAC addresses, and has a guest that can
 * announce itself do so too; at once, then four times more within half a second. For a VM that runs here. A failure is no
 * failure of the VM's: switches learn from its own first frame, only later.
 */
export async function announce(qmp: Qmp): Promise<void> {
  await qmp.execute('announce-self', { initial: 50, max: 550, rounds: 5, step: 50 }).catch(() => undefined);
}

/**
 * For a copy before its load. QEMU announces at the end of every load, whatever the VM's state, hence before the image is
 * verified. That QEMU 7.2 then keeps the frame back until the VM runs (net/net.c, qemu_can_send_packet) is no
 * promise of its interface; with no rounds there is no frame to keep back, nor an announcement that the guest would make
 * on its own at `cont` (net/announce.c, qemu_announce_self; hw/net/virtio-net.c, virtio_net_post_load_device).
 */
export async function announceNothingOnLoad(qmp: Qmp): Promise<void> {
  await qmp.execute('migrate-set-parameters', { 'announce-rounds': 0 });
}
