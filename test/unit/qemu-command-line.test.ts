/** hypervisor/qemu/command-line.ts and qapi.ts: the pure half of the driver. */
import { describe, expect, it } from 'vitest';
import { HostId } from '../../domain/ids.js';
import { VmDocument } from '../../domain/vm.js';
import { commandLine, isProcessOf, vmUuid } from '../../hypervisor/qemu/command-line.js';
import { tapName } from '../../hypervisor/qemu/network.js';
import { progressOf, vmStatusOf } from '../../hypervisor/qemu/qapi.js';

const vm = VmDocument.parse({
  kind: 'korora/vm', version: 1, vmId: 'web-1', hypervisor: 'qemu', machine: 'pc-q35-7.2',
  cpu: { model: 'Westmere', count: 2 }, memoryBytes: 512 * 1024 * 1024,
  boot: { kernel: '/boot/k', initrd: '/boot/i', commandLine: 'console=ttyS0 a=b,c' },
  disks: [{ id: 'root', path: '/shared/root.raw', format: 'raw' }, { id: 'data', path: '/shared/data.qcow2', format: 'qcow2' }],
  networks: [{ id: 'lan', mac: '52:54:00:00:00:01', bridge: 'br0' }, { id: 'wan', mac: '52:54:00:00:00:02', bridge: 'br1' }],
  vtpm: { model: 'tpm-crb' },
});
const place = { runDir: '/run/k/web-1', vtpmControlSocketPath: '/run/k/web-1-tpm/control.sock' };
const HOST = HostId.parse('host-a');
const source = { hostId: HOST, accelerator: 'kvm', isIncoming: false, directDiskIds: new Set(['root']) } as const;

const GOLDEN = `
-nodefaults -no-user-config -display none
-daemonize -pidfile /run/k/web-1/qemu.pid
-D /run/k/web-1/qemu.log -d plugin -msg timestamp=on
-sandbox on,obsolete=deny,resourcecontrol=deny
-name guest=web-1 -uuid ${vmUuid(vm.vmId)}
-machine pc-q35-7.2,accel=kvm,memory-backend=pc.ram,dump-guest-core=off,usb=off,vmport=off
-cpu Westmere,enforce=on
-smp cpus=2,sockets=1,cores=2,threads=1
-m 524288K
-object memory-backend-ram,id=pc.ram,size=536870912,dump=off
-rtc base=utc,clock=host
-kernel /boot/k -initrd /boot/i -append @
-blockdev driver=file,node-name=file-root,filename=/shared/root.raw,locking=on,aio=threads,cache.direct=on,cache.no-flush=off,auto-read-only=off
-blockdev driver=raw,node-name=disk-root,file=file-root,cache.direct=on,cache.no-flush=off
-device virtio-blk-pci,id=dev-root,drive=disk-root,bus=pcie.0,addr=0x4,disable-legacy=on,write-cache=on
-blockdev driver=file,node-name=file-data,filename=/shared/data.qcow2,locking=on,aio=threads,cache.direct=off,cache.no-flush=off,auto-read-only=off
-blockdev {"driver":"qcow2","node-name":"disk-data","file":"file-data","backing":null,"cache":{"direct":false,"no-flush":false}}
-device virtio-blk-pci,id=dev-data,drive=disk-data,bus=pcie.0,addr=0x5,disable-legacy=on,write-cache=on
-netdev tap,id=net-lan,ifname=${tapName(HOST, vm.vmId, 0)},script=no,downscript=no,vhost=off
-device virtio-net-pci,id=nic-lan,netdev=net-lan,mac=52:54:00:00:00:01,bus=pcie.0,addr=0x14,disable-legacy=on,host_ufo=off,guest_ufo=off,romfile=
-netdev tap,id=net-wan,ifname=${tapName(HOST, vm.vmId, 1)},script=no,downscript=no,vhost=off
-device virtio-net-pci,id=nic-wan,netdev=net-wan,mac=52:54:00:00:00:02,bus=pcie.0,addr=0x15,disable-legacy=on,host_ufo=off,guest_ufo=off,romfile=
-chardev file,id=console,path=/run/k/web-1/console.log,append=on
-device isa-serial,id=serial0,chardev=console
-chardev socket,id=vtpm,path=/run/k/web-1-tpm/control.sock
-tpmdev emulator,id=tpm0,chardev=vtpm
-device tpm-crb,id=tpm,tpmdev=tpm0
-chardev socket,id=control,path=/run/k/web-1/qmp.sock,server=on,wait=off
-mon chardev=control,mode=control
-chardev socket,id=copy,path=/run/k/web-1/copy.sock,server=on,wait=off
-mon chardev=copy,mode=control
`;

describe('the command line', () => {
  it('is the golden one', () => {
    const expected = GOLDEN.trim().split(/\s+/).map((word) => (word === '@' ? vm.boot.commandLine : word));
    expect(commandLine(vm, place, source)).toEqual(expected);
  });

  it('of a waiting copy differs by nothing but that it waits', () => {
    expect(commandLine(vm, place, { ...source, isIncoming: true })).toEqual([...commandLine(vm, place, source), '-S', '-incoming', 'defer']);
  });

  it('writes a comma of a folder twice and puts disks of i440fx on its own bus', () => {
    const words = commandLine({ ...vm, machine: 'pc-i440fx-7.2', vtpm: null }, { runDir: '/run/a,b', vtpmControlSocketPath: null }, source);
    expect(words).toContain('file,id=console,path=/run/a,,b/console.log,append=on');
    expect(words.filter((word) => word.startsWith('virtio-blk-pci')).every((word) => word.includes('bus=pci.0'))).toBe(true);
    expect(words.join(' ')).not.toMatch(/tpm/);
  });

  it('names its VM and its folder, and no other', () => {
    const words = ['qemu', ...commandLine(vm, place, source)];
    const other = VmDocument.shape.vmId.parse('web-2');
    expect(isProcessOf(words, vm.vmId, place.runDir)).toBe(true);
    expect(isProcessOf(words, other, place.runDir)).toBe(false);
    expect(isProcessOf(words, vm.vmId, '/run/k/web')).toBe(false);
    expect(isProcessOf(['vi', '/run/k/web-1/qemu.pid'], vm.vmId, place.runDir)).toBe(false);
  });

  it('is the same machine on every host: only the tap devices have other names', () => {
    const there = commandLine(vm, place, { ...source, hostId: HostId.parse('host-b') });
    const withoutTaps = (words: readonly string[]) => words.map((word) => word.replace(/ifname=[^,]*/, ''));
    expect(withoutTaps(there)).toEqual(withoutTaps(commandLine(vm, place, source)));
    expect(there).not.toEqual(commandLine(vm, place, source));
  });

  it('names tap devices as Linux takes them, each another', () => {
    const hosts = ['host-a', 'host-b'].map((name) => HostId.parse(name));
    const vms = ['web-1', 'web-2'].map((name) => VmDocument.shape.vmId.parse(name));
    const names = hosts.flatMap((host) => vms.flatMap((vmId) => [0, 1, 7].map((i) => tapName(host, vmId, i))));
    for (const name of names) expect(name).toMatch(/^kr[0-9a-f]{13}$/);
    expect(new Set(names).size).toBe(names.length);
  });

  it('derives a UUID that stays: RFC 9562 version 8', () => {
    expect(vmUuid(vm.vmId)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(vmUuid(vm.vmId)).toBe('3ff88f00-7eca-82ac-b081-8d190aded7b1');
  });
});

describe('the words of QEMU', () => {
  it.each([
    ['running', undefined, 'running'], ['running', 'completed', 'running'], ['running', 'active', 'moving-out'],
    ['running', 'cancelling', 'moving-out'], ['finish-migrate', 'pre-switchover', 'moving-out'], ['finish-migrate', 'failed', 'moving-out'],
    ['postmigrate', 'completed', 'moved-out'], ['paused', 'completed', 'paused'], ['paused', 'active', 'moving-out'],
    ['inmigrate', undefined, 'incoming'], ['inmigrate', 'active', 'incoming'], ['prelaunch', undefined, 'paused'],
    ['io-error', undefined, 'paused'], ['suspended', undefined, 'running'], ['internal-error', undefined, 'failed'],
    ['guest-panicked', undefined, 'failed'], ['shutdown', undefined, 'failed'],
  ] as const)('run state %s, migration %s: %s', (runState, migration, status) => expect(vmStatusOf(runState, migration)).toBe(status));

  it('progress: nothing yet, first round, later round', () => {
    const ram = { transferred: 10, remaining: 20, total: 30, 'dirty-sync-count': 1, 'dirty-pages-rate': 0, 'page-size': 4096 };
    expect(progressOf({})).toEqual({ round: 1, sentBytes: 0, remainingBytes: 0, totalBytes: 0, dirtyBytesPerSecond: null, elapsedMs: 0, throttlePercent: null });
    expect(progressOf({ ram, 'total-time': 5 })).toMatchObject({ round: 1, sentBytes: 10, dirtyBytesPerSecond: null, elapsedMs: 5 });
    expect(progressOf({ ram: { ...ram, 'dirty-sync-count': 3, 'dirty-pages-rate': 7 } })).toMatchObject({ round: 3, dirtyBytesPerSecond: 7 * 4096 });
  });
});
