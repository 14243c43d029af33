/**
 * QEMU behind the hypervisor port (QEMU 7.2 or later, x86-64). A VM is one daemonized QEMU process per
 * run directory; its truth is in that process, never in this one: a new worker finds everything again
 * by pid file, command line and monitor socket.
 *
 * It does not decide who may run: that is the ownership record's, and callers ask it first. What it does
 * ensure by itself: a copy that still waits for or loads an image is never resumed by ensureRunning, and
 * no process is touched that is not proven to be this VM's.
 */
import type { HostId } from '../../domain/ids.js';
import type { VmDocument } from '../../domain/vm.js';
import type { HostAccess } from '../../host/port.js';
import type { Hypervisor, HypervisorFacts, VmPlace, VmStatus } from '../port.js';
import { commandLine } from './command-line.js';
import { findFacts } from './facts.js';
import { openIncoming } from './incoming.js';
import { announce } from './network.js';
import { openOutgoing } from './outgoing.js';
import { findStrangers } from './strangers.js';
import { commandFailed, ensureGone, findProcess, launch, saying, withControl, type QemuHost } from './process.js';
import { isUnderWay, queryMigration, queryRunState, vmStatusOf } from './qapi.js';
import { QmpError, type Qmp } from './qmp.js';

export interface QemuOptions {
  readonly access: HostAccess;
  readonly hostId: HostId;
  /** Default: qemu-system-x86_64 of the PATH. */
  readonly binary?: string;
}

const STATUS_TIMEOUT_MS = 5_000;
const SETTLE_TIMEOUT_MS = 30_000;
/** Between two looks when no event came: a change that preceded the wait would otherwise be waited for in vain. */
const SETTLE_LOOK_MS = 500;

export function createQemu(options: QemuOptions): Hypervisor {
  const host: QemuHost = { access: options.access, hostId: options.hostId, binary: options.binary ?? 'qemu-system-x86_64' };
  let cachedFacts: Promise<HypervisorFacts> | null = null;

  /** Tried once per worker: a host's QEMU and KVM do not change under a worker without a restart. */
  const facts = () => {
    cachedFacts ??= saying(host, 'self-description', () => findFacts(host.access, host.binary)).catch((error: unknown) => {
      cachedFacts = null;
      throw error;
    });
    return cachedFacts;
  };

  const launchVm = async (vm: VmDocument, place: VmPlace, isIncoming: boolean) => {
    const { accelerator } = await facts();
    if (accelerator === 'none') throw commandFailed(host, 'start', new QmpError('no accelerator'));
    const directDiskIds = await disksThatTakeDirectIo(host.access, vm);
    await launch(host, vm, place.runDir, commandLine(vm, place, { hostId: host.hostId, accelerator, isIncoming, directDiskIds }));
  };

  return {
    facts,

    async status(vmId, runDir) {
      if ((await findProcess(host, vmId, runDir)) === null) return 'absent';
      try {
        return await withControl(host, vmId, runDir, 'query-status', queryVmStatus);
      } catch {
        return (await findProcess(host, vmId, runDir)) === null ? 'absent' : 'failed';
      }
    },

    start: (vm, place) => launchVm(vm, place, false),

    ensureRunning: (vmId, runDir) =>
      withControl(host, vmId, runDir, 'cont', async (qmp) => {
        const status = await settled(qmp);
        if (status !== 'running') {
          if (status !== 'paused' && status !== 'moved-out') throw new QmpError(`a VM that is ${status} is not resumed`);
          await qmp.execute('cont');
          if ((await queryRunState(qmp)) !== 'running') throw new QmpError('the VM does not run after cont');
        }
        // Also where it ran already: whoever let it run may have died before it was announced.
        await announce(qmp);
      }),

    async ensurePaused(vmId, runDir) {
      if ((await findProcess(host, vmId, runDir)) === null) return;
      await withControl(host, vmId, runDir, 'stop', (qmp) => qmp.execute('stop'));
    },

    strangers: (vm) => findStrangers(host, vm),

    async ensureNotMoving(vmId, runDir) {
      if ((await findProcess(host, vmId, runDir)) === null) return;
      await withControl(host, vmId, runDir, 'migrate_cancel', async (qmp) => {
        if ((await queryVmStatus(qmp)) === 'incoming') return;
        if (isUnderWay((await queryMigration(qmp)).status)) await qmp.execute('migrate_cancel');
        await settled(qmp);
      });
    },

    ensureDestroyed: (vmId, runDir) => ensureGone(host, vmId, runDir),

    openOutgoing: async (vm, runDir, limits, { isHeld = false } = {}) => {
      if ((await findProcess(host, vm.vmId, runDir)) === null) throw commandFailed(host, 'migrate', new QmpError(`no QEMU of ${vm.vmId} runs`));
      return openOutgoing(host, vm, runDir, limits, isHeld);
    },

    async openIncoming(vm, place) {
      await launchVm(vm, place, true);
      try {
        return await openIncoming(host, vm.vmId, place.runDir);
      } catch (error) {
        await ensureGone(host, vm.vmId, place.runDir);
        throw error;
      }
    },
  };
}

async function queryVmStatus(qmp: Qmp): Promise<VmStatus> {
  const { status } = await queryMigration(qmp, STATUS_TIMEOUT_MS);
  return vmStatusOf(await queryRunState(qmp, STATUS_TIMEOUT_MS), status);
}

/** Waits until no copy is under way, and QEMU has resumed what it resumes by itself after one that failed. */
async function settled(qmp: Qmp): Promise<VmStatus> {
  const deadline = performance.now() + SETTLE_TIMEOUT_MS;
  for (;;) {
    const change = qmp.nextEvent(({ name }) => ['MIGRATION', 'RESUME', 'STOP'].includes(name), SETTLE_LOOK_MS);
    change.catch(() => undefined);
    const status = await queryVmStatus(qmp);
    if (status !== 'moving-out') return status;
    if (performance.now() > deadline) throw new QmpError('the copy does not end');
    await change;
  }
}

/** Tried by reading one block: whether a file system takes O_DIRECT is not written anywhere. */
async function disksThatTakeDirectIo(access: HostAccess, vm: VmDocument): Promise<ReadonlySet<string>> {
  const tried = await Promise.all(vm.disks.map(async ({ id, path }) => {
    const { exitCode } = await access.run('dd', [`if=${path}`, 'of=/dev/null', 'iflag=direct', 'bs=4096', 'count=1', 'status=none'], { timeoutMs: 10_000 });
    return exitCode === 0 ? [id] : [];
  }));
  return new Set(tried.flat());
}
