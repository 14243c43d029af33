/** domain/vm.ts and domain/progress.ts: which forms a VM document and copy limits have, and in which words another one is refused. */
import { describe, expect, it } from 'vitest';
import { AutoConverge, DEFAULT_AUTO_CONVERGE } from '../../domain/progress.js';
import { BridgeName, Disk, KIB, MIB, Network, VmDocument } from '../../domain/vm.js';
import { wrongWith as wrong } from '../support/problems.js';

const VM = {
  kind: 'korora/vm', version: 1, vmId: 'web', hypervisor: 'qemu', machine: 'pc-q35-7.2', cpu: { model: 'Westmere', count: 2 }, memoryBytes: 256 * MIB,
  boot: { kernel: '/srv/vmlinuz', initrd: '/srv/initrd', commandLine: 'quiet' }, disks: [], networks: [], vtpm: null,
};

const wrongWith = (changes: object) => wrong(VmDocument, { ...VM, ...changes });
const disk = (id: string, path = `/srv/${id}`) => ({ id, path, format: 'raw' });
const network = (changes: object = {}) => ({ id: 'lan', mac: '52:54:00:12:34:56', bridge: 'br0', ...changes });

describe('the id of a disk or network', () => {
  const PROBLEM = 'id: a letter, then lower-case letters, digits or hyphens';

  it.each(['a', 'root', 'root-2', `a${'b'.repeat(30)}`])('may be %s', (id) => {
    expect(wrong(Disk, disk(id, '/srv/x'))).toBeNull();
    expect(wrong(Network, network({ id }))).toBeNull();
  });

  it.each(['', '2root', '-root', 'Root', ' root', 'root ', 'ro.ot', `a${'b'.repeat(31)}`])('is not "%s"', (id) => {
    expect(wrong(Disk, disk(id, '/srv/x'))).toBe(PROBLEM);
    expect(wrong(Network, network({ id }))).toBe(PROBLEM);
  });
});

describe('the name of a bridge', () => {
  it.each(['b', 'br0', 'Br_0.x-1', 'b'.repeat(15)])('may be %s', (name) => expect(wrong(BridgeName, name)).toBeNull());
  it.each(['', '.br0', '-br0', 'br 0', 'br0 ', 'br/0', 'b'.repeat(16)])('is not "%s"', (name) => expect(wrong(BridgeName, name)).toBe('document: the name of a Linux bridge, at most 15 characters'));
});

describe('the MAC address of a network', () => {
  it.each(['52:54:00:12:34:56', '00:00:00:00:00:01', 'fe:ff:ff:ff:ff:ff'])('may be %s', (mac) => expect(wrong(Network, network({ mac }))).toBeNull());

  it.each(['53:54:00:12:34:56', '52:54:00:12:34:5', '52:54:00:12:34:56:78', 'x52:54:00:12:34:56', '52:54:00:12:34:56x', '52:54:00:12:34:FF', '52-54-00-12-34-56', ''])('is not "%s"', (mac) => {
    expect(wrong(Network, network({ mac }))).toBe('mac: a unicast MAC address in lower case such as 52:54:00:12:34:56');
  });

  it('is not the one of nobody', () => expect(wrong(Network, network({ mac: '00:00:00:00:00:00' }))).toBe('mac: not the MAC address of nobody'));
});

describe('a VM document', () => {
  it.each<[string, object]>([
    ['a machine type of two long numbers', { machine: 'pc-i440fx-10.11' }],
    ['the least memory', { memoryBytes: 64 * MIB - 8 * KIB }],
    ['the most memory', { memoryBytes: 1024 * 1024 * MIB }],
    ['a command line beyond ASCII', { boot: { ...VM.boot, commandLine: 'größe=1' } }],
    ['no command line', { boot: { ...VM.boot, commandLine: '' } }],
    ['two disks', { disks: [disk('a'), disk('b')] }],
    ['the hypervisor of scale runs', { hypervisor: 'fake' }],
  ])('may have %s', (_, changes) => expect(wrongWith(changes)).toBeNull());

  it('has no networks unless it says so', () => {
    expect(VmDocument.parse({ ...VM, networks: undefined }).networks).toEqual([]);
  });

  it.each<[string, object, string | RegExp]>([
    ['an alias of a machine type', { machine: 'q35' }, 'machine: a versioned machine type such as pc-q35-7.2'],
    ['more before its machine type', { machine: 'x-pc-q35-7.2' }, 'machine: a versioned machine type such as pc-q35-7.2'],
    ['more after its machine type', { machine: 'pc-q35-7.2,x=y' }, 'machine: a versioned machine type such as pc-q35-7.2'],
    ['a machine type without a minor version', { machine: 'pc-q35-7.' }, 'machine: a versioned machine type such as pc-q35-7.2'],
    ['options after its CPU model', { cpu: { model: 'host,+vmx', count: 1 } }, 'cpu.model: a CPU model name'],
    ['a step less than the least memory', { memoryBytes: 64 * MIB - 16 * KIB }, /^memoryBytes: Too small/],
    ['a step more than the most memory', { memoryBytes: 1024 * 1024 * MIB + 8 * KIB }, /^memoryBytes: Too big/],
    ['memory between two steps', { memoryBytes: 256 * MIB + 4 * KIB }, /^memoryBytes: .*multiple of 8192$/],
    ['a line break in its command line', { boot: { ...VM.boot, commandLine: 'a\nb' } }, 'boot.commandLine: no control characters'],
    ['a control character at the end of its command line', { boot: { ...VM.boot, commandLine: 'ab\u0007' } }, 'boot.commandLine: no control characters'],
    ['a control character at the beginning', { boot: { ...VM.boot, commandLine: '\u001bab' } }, 'boot.commandLine: no control characters'],
    ['two disks of one id', { disks: [disk('a', '/srv/1'), disk('a', '/srv/2')] }, 'disks: disk ids and paths must be unique'],
    ['two disks at one path', { disks: [disk('a', '/srv/1'), disk('b', '/srv/1')] }, 'disks: disk ids and paths must be unique'],
    ['two networks of one id', { networks: [network(), network({ mac: '52:54:00:12:34:58' })] }, 'networks: network ids and MAC addresses must be unique'],
    ['two networks of one MAC address', { networks: [network(), network({ id: 'wan' })] }, 'networks: network ids and MAC addresses must be unique'],
  ])('has not %s', (_, changes, problem) => {
    expect(wrongWith(changes)).toEqual(typeof problem === 'string' ? problem : expect.stringMatching(problem));
  });
});

describe('auto-converge', () => {
  it('begins at most at its end', () => {
    expect(wrong(AutoConverge, { initialPercent: 30, incrementPercent: 10, maxPercent: 30 })).toBeNull();
    expect(wrong(AutoConverge, { initialPercent: 31, incrementPercent: 10, maxPercent: 30 })).toBe('document: initialPercent is above maxPercent');
  });

  it('without numbers slows by a fifth, and a fifth more each time', () => {
    expect(AutoConverge.parse(DEFAULT_AUTO_CONVERGE)).toEqual({ initialPercent: 20, incrementPercent: 20, maxPercent: 99 });
  });
});
