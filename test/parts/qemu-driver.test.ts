/** hypervisor/qemu on real QEMU processes: what every driver does, and what only QEMU has. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describesDriver } from '../support/driver-contract.js';
import { createQemuTestbed, type QemuSide } from '../support/qemu-testbed.js';

const bed = describesDriver(createQemuTestbed);
const statusOf = (side: QemuSide) => side.hypervisor.status(bed().vm().vmId, side.place.runDir);

describe('processes', () => {
  it('status tells a process that does not answer; destroy ends it; both leave strangers alone', async () => {
    const { a, b, vm: vmOf } = bed();
    const vm = vmOf();
    await a.ensureVtpm();
    await a.hypervisor.start(vm, a.place);
    await expect(a.hypervisor.start(vm, a.place)).rejects.toMatchObject({ code: 'HYPERVISOR_COMMAND_FAILED' });
    const pid = await a.pid();
    process.kill(pid, 'SIGSTOP');
    expect(await statusOf(a)).toBe('failed');
    process.kill(pid, 'SIGCONT');
    expect(await statusOf(a)).toBe('running');

    await mkdir(b.place.runDir, { recursive: true });
    await writeFile(join(b.place.runDir, 'qemu.pid'), String(pid));
    expect(await statusOf(b)).toBe('absent');
    await b.hypervisor.ensureDestroyed(vm.vmId, b.place.runDir);
    expect(await statusOf(a)).toBe('running');

    await a.hypervisor.ensureDestroyed(vm.vmId, a.place.runDir);
    await a.hypervisor.ensureDestroyed(vm.vmId, a.place.runDir);
    expect(await a.access.commandLineOf(pid)).toBeNull();
    expect(await a.runFiles()).toEqual([]);
    expect(await statusOf(a)).toBe('absent');
    await a.hypervisor.ensureNotMoving(vm.vmId, a.place.runDir);
    await expect(a.hypervisor.ensureRunning(vm.vmId, a.place.runDir)).rejects.toMatchObject({ code: 'HYPERVISOR_COMMAND_FAILED' });
  }, 60_000);

  it('facts are found by trying, once', async () => {
    const { a } = bed();
    const facts = await a.hypervisor.facts();
    expect(facts).toMatchObject({ kind: 'qemu', version: expect.stringMatching(/^\d+\.\d+\.\d+$/), accelerator: expect.stringMatching(/^(kvm|tcg)$/) });
    expect(facts.machineTypes).toContain('pc-q35-7.2');
    expect(facts.cpuModels).toContain('max');
    expect(await a.hypervisor.facts()).toBe(facts);
  });
});
