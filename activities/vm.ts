/** VMs on one host outside of moves: start one here, and say what is here. */
import { randomBytes } from 'node:crypto';
import { matchingSet, pcrDifferences } from '../domain/appraisal.js';
import type { PcrValues } from '../domain/attestation.js';
import { digestOf } from '../domain/canonical.js';
import { type Failure, KororaError, failure, refuse } from '../domain/failures.js';
import type { HostId, VmId } from '../domain/ids.js';
import type { StartOrder } from '../domain/order.js';
import { type OwnershipEvent, type OwnershipRecord, mayRun } from '../domain/ownership.js';
import { hypervisorRules, networkRules } from '../domain/preflight.js';
import { admitWord } from './admission.js';
import { createBoot } from './boot.js';
import { shownEventLog } from './event-log.js';
import type { HostInput } from './inputs.js';
import { networkFacts } from './networks.js';
import { resourceFailures } from './resources.js';
import { type VtpmKeys, destroyKeys, sealKeys, withKeyBytes } from './vtpm-keys.js';
import type { HostSurvey, VmSurvey } from '../domain/status.js';
import { type HostClass, classOf, hostIn } from '../domain/trust-bundle.js';
import { SECRET_KEY_BYTES, SecretKey } from '../domain/secret-key.js';
import type { VmDocument } from '../domain/vm.js';
import type { InstalledVm } from '../host/vm-store.js';
import type { HostServices } from './services.js';

export function createVmActivities(services: HostServices) {
  const { hostId, access, tpm, verifier, vtpms, hypervisor, ownership, vms } = services;
  const boot = createBoot(services);

  /**
   * Creates the VM (and its vTPM) and boots it, or boots one that this host owns already, as an operator signed it, once. ORDER_* as admission; START_USED;
   * VM_EXISTS where the record or the installed document says otherwise; never starts a VM that is owned elsewhere.
   */
  async function startVm({ start: envelope, vm }: HostInput<'startVm'>): Promise<VmSurvey> {
    const start = await admitWord(services, 'korora/start', envelope, null);
    if (start.host !== hostId || start.vmId !== vm.vmId) throw refuse('ORDER_INVALID', { problem: `it starts ${start.vmId} on ${start.host}` });
    if (start.vmDigest !== digestOf(vm)) throw refuse('VM_DIFFERS', { host: hostId });
    await ownership.hold(vm.vmId, (record, apply) => startHeld(start, vm, record, apply));
    return surveyVm(vm.vmId);
  }

  async function startHeld(start: StartOrder, vm: VmDocument, record: OwnershipRecord, apply: (event: OwnershipEvent) => Promise<unknown>): Promise<void> {
    const { vmId } = vm;
    if (record.state !== 'none' && record.state !== 'owner') throw refuse('VM_EXISTS', { host: hostId, vm: vmId, state: record.state });
    // What creates a VM also boots it again, as long as it has not moved: an attempt before this one may have come as far as the record.
    const isCurrent = record.state === 'none' ? start.epoch === null : (start.epoch ?? 1) === record.epoch;
    if (!isCurrent) throw refuse('ORDER_STALE', { ordered: start.epoch ?? 'none', vm: vmId, host: hostId, actual: record.epoch });
    const known = await vms.read(vmId);
    if (known && digestOf(known.vm) !== digestOf(vm)) throw refuse('VM_EXISTS', { host: hostId, vm: vmId, state: 'installed with another document' });
    const orderDigest = digestOf(start);
    const isAbsent = (await hypervisor.status(vmId, vms.runDirOf(vmId))) === 'absent';
    const isUsed = known?.started.some((one) => one.orderDigest === orderDigest) ?? false;
    if (isUsed && isAbsent) throw refuse('START_USED', { host: hostId, vm: vmId });
    if (isUsed) return;
    await refuseUnfit(vm, start);
    const installed = known ?? (await install(vm));
    if (record.state === 'none') await apply({ type: 'create' });
    if (isAbsent) await boot(installed);
    const stillGood = installed.started.filter(({ notAfter }) => services.clock.now() <= Date.parse(notAfter));
    await vms.write(vmId, { ...installed, started: [...stillGood, { orderDigest, notAfter: start.notAfter }] });
  }

  async function install(vm: VmDocument): Promise<InstalledVm> {
    const vtpm = vm.vtpm && (await manufactureVtpm(vm.vmId));
    const installed: InstalledVm = { version: 1, vm, vtpm, bootedAfter: null, started: [] };
    await vms.write(vm.vmId, installed);
    return installed;
  }

  async function manufactureVtpm(vmId: VmId): Promise<NonNullable<InstalledVm['vtpm']>> {
    const keys: VtpmKeys = { stateKey: SecretKey.of(randomBytes(SECRET_KEY_BYTES)), migrationKey: SecretKey.of(randomBytes(SECRET_KEY_BYTES)) };
    const stateDir = vms.vtpmStateDirOf(vmId);
    await access.remove(stateDir);
    try {
      const { ekCertificateSha256 } = await withKeyBytes(keys, ({ stateKey }) => vtpms.manufacture({ stateDir, stateKey, name: vmId }));
      return { identity: ekCertificateSha256, keys: await sealKeys(tpm, keys) };
    } finally {
      destroyKeys(keys);
    }
  }

  /** All reasons at once why this host cannot run the VM. */
  async function refuseUnfit(vm: VmDocument, start: StartOrder): Promise<void> {
    const failures = [...(await resourceFailures(services, start, vm)), ...hypervisorRules(vm, hostId, await hypervisor.facts())];
    const strangers = await hypervisor.strangers(vm);
    failures.push(...strangers.map((what) => failure('STRANGER_FOUND', { host: hostId, vm: vm.vmId, what })));
    for (const disk of vm.disks) {
      if (!(await access.stat(disk.path))) failures.push(failure('DISK_NOT_VISIBLE', { host: hostId, disk: disk.id, path: disk.path }));
    }
    failures.push(...networkRules(vm, hostId, await networkFacts(access, vm)));
    for (const path of [vm.boot.kernel, vm.boot.initrd]) {
      if (!(await access.stat(path))) failures.push(failure('BOOT_FILE_NOT_VISIBLE', { host: hostId, path }));
    }
    const [first, ...rest] = failures;
    if (first) throw new KororaError([first, ...rest]);
  }

  async function surveyVm(vmId: VmId): Promise<VmSurvey> {
    const runDir = vms.runDirOf(vmId);
    const [{ record, problem }, installed, status] = await Promise.all([ownership.inspect(vmId), vms.read(vmId), hypervisor.status(vmId, runDir)]);
    const consolePath = `${runDir}/console.log`;
    return {
      vmId,
      hostId,
      ownership: record.state,
      epoch: record.epoch,
      status,
      mayRun: problem === null && mayRun(record),
      recordProblem: problem,
      move: 'migrationId' in record ? { migrationId: record.migrationId, peer: record.peer, order: 'order' in record ? record.order : null } : null,
      vm: installed?.vm ?? null,
      consolePath: status === 'absent' ? null : consolePath,
    };
  }

  /** Never fails for a part that is missing: what is wrong is listed in `failures`. */
  async function surveyHost(): Promise<HostSurvey> {
    const failures: Failure[] = [];
    const ask = async <T>(question: () => Promise<T>, otherwise: T): Promise<T> => {
      try {
        return await question();
      } catch (error) {
        if (!(error instanceof KororaError)) throw error;
        failures.push(...error.failures);
        return otherwise;
      }
    };
    const installed = await ask(() => services.installedBundle(), null);
    const hostClass = installed && (await ask(async () => classOf(installed.bundle, hostIn(installed.bundle, hostId)), null));
    const [facts, swtpm, pcrValues, memory, vmIds] = await Promise.all([
      ask(() => hypervisor.facts(), null),
      vtpms.version(),
      ask(async (): Promise<PcrValues | null> => hostClass && tpm.readPcrs(hostClass.pcrs), null),
      access.availableMemoryBytes(),
      ownership.list(),
    ]);
    const doubt = await ask(() => ownership.doubt(), null);
    if (doubt !== null) failures.push(failure('RECORDS_IN_DOUBT', { host: hostId, problem: doubt }));
    const surveyed = await Promise.all(vmIds.map((vmId) => ask(() => surveyVm(vmId), unreadable(vmId, hostId))));
    const stale = doubt === null ? surveyed.flatMap((vm) => (vm.recordProblem && vm.ownership !== UNREADABLE ? [failure('RECORD_STALE', { vm: vm.vmId, host: hostId, problem: vm.recordProblem })] : [])) : [];
    const pcrs = await comparePcrs(hostClass, pcrValues);
    return {
      hostId,
      reachable: true,
      bundleDigest: installed?.digest ?? null,
      hypervisor: facts ? `${facts.kind} ${facts.version} ${facts.accelerator}` : 'none',
      swtpm: swtpm ?? 'none',
      pcrValues: pcrValues ?? {},
      pcrProblem: pcrs.problem,
      availableMemoryBytes: memory,
      // A host that only remembers of a VM which orders were refused has none of it.
      vms: surveyed.filter(({ ownership: state, vm, status }) => state !== 'none' || vm !== null || status !== 'absent'),
      failures: [...failures, ...pcrs.failures, ...stale],
      findings: services.findings,
    };
  }

  async function comparePcrs(hostClass: HostClass | null, pcrValues: PcrValues | null): Promise<{ readonly problem: string | null; readonly failures: readonly Failure[] }> {
    if (!hostClass) return { problem: 'no policy', failures: [] };
    if (!pcrValues) return { problem: 'PCRs not readable', failures: [] };
    if (matchingSet(hostClass, pcrValues)) return { problem: null, failures: [] };
    const log = verifier.readEventLog(await shownEventLog(services));
    return { problem: 'no active reference set matches', failures: pcrDifferences(hostId, hostClass, pcrValues, log) };
  }

  return { startVm, surveyHost };
}

/** It is there, whatever it says: nobody may take it for a VM that this host never had. */
const UNREADABLE = 'unreadable';

function unreadable(vmId: VmId, hostId: HostId): VmSurvey {
  return { vmId, hostId, ownership: UNREADABLE, epoch: 0, status: 'unknown', mayRun: false, recordProblem: 'it cannot be read', move: null, vm: null, consolePath: null };
}
