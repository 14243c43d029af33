/**
 * What a worker does before it takes work, and where its records were in doubt: it looks at what an earlier one left, brings it in line with the ownership
 * records, and reports. It may be asked beside any step of any move: what a session tends is left to it, and whatever is ended is ended
 * while the record that says so is held. Every decision rests on the record. What no record explains is reported and left alone: a VM is
 * ended only where this host proved that it is surplus (it gave it away by a proven verdict or claim, or never accepted it).
 *
 *   record         found                              done
 *   any            a file that was never finished     it goes; what it would have replaced holds
 *   unreadable     –                                  nothing
 *   none           traces of a VM never accepted      nothing, unless a rejection stands here: then they go
 *   owner          no process, a lone swtpm           swtpm ends; the VM may be started
 *   owner          paused                             nothing: a move that is being settled resumes it
 *   offering       a copy that no worker tends        it ends; where the VM runs, the offer is withdrawn
 *                  its VM does not run                relinquished: only the destination knows whether it took the VM
 *   relinquished   running                            it is paused: only a proven verdict lets it run
 *   incoming       a waiting copy without its keys    rejected for good, the copy goes
 *   retired        a process, traces                  they go; what was given up to another host's claim stays until its time is over
 */
import { KororaError, problemOf } from '../domain/failures.js';
import { type VmId, assertNever } from '../domain/ids.js';
import { type OwnershipRecord, isMove, isSurplus } from '../domain/ownership.js';
import type { Finding } from '../domain/status.js';
import type { HostServices } from './services.js';
import type { Settlement } from './settle.js';

export function createReconciliation(services: HostServices, { withdrawOrRelinquish, discard }: Settlement) {
  const { vtpms, hypervisor, ownership, vms, sessions } = services;

  /** One finding for each thing out of line, oldest VM name first. Never rejects: what cannot be looked at is a finding. */
  async function reconcile(): Promise<readonly Finding[]> {
    const all: Finding[] = [];
    for (const vmId of await ownership.list()) {
      const halfWritten = await vms.removeHalfWritten(vmId);
      if (halfWritten.length > 0) all.push({ vmId, found: `files that were never finished: ${halfWritten.join(', ')}`, done: 'they are gone; what they would have replaced holds' });
      const finding = await lookAt(vmId).catch((error: unknown) => ({
        vmId,
        found: error instanceof KororaError ? error.message : problemOf(error),
        done: 'nothing: what cannot be read is not touched',
      }));
      if (finding) all.push(finding);
    }
    return all;
  }

  async function lookAt(vmId: VmId): Promise<Finding | null> {
    const record = await ownership.read(vmId);
    if ('migrationId' in record && sessions.find(record.migrationId)) return null;
    const runDir = vms.runDirOf(vmId);
    const status = await hypervisor.status(vmId, runDir);
    const finding = (found: string, done: string): Finding => ({ vmId, found, done });
    switch (record.state) {
      case 'owner':
        return ownership.hold(vmId, async (held) => {
          const now = await hypervisor.status(vmId, runDir);
          if (held.state !== 'owner' || now === 'running') return null;
          if (now !== 'absent') return finding(`it is owned here and ${now}`, 'nothing: a move that is being settled resumes it; else look at its console log');
          return (await endLoneVtpm(vmId)) ? finding('it is owned here, its hypervisor is gone, its vTPM still ran', 'the vTPM was ended; the VM may be started') : null;
        });
      case 'offering': {
        if (await ownership.hold(vmId, async (held, apply) => isMove(held, 'offering', record.migrationId) && withdrawOrRelinquish(held, apply))) return finding(`a move to ${record.peer} that no worker tends`, 'the move is off, the VM runs on');
        return finding(`it was on offer to ${record.peer}, and does not run`, 'nothing: whether it was handed over is not known here, and it stays stopped until the verdict is proven');
      }
      case 'relinquished':
        return ownership.hold(vmId, async (held) => {
          if (!isMove(held, 'relinquished', record.migrationId)) return null;
          // Its channel went with the worker that held it; a hypervisor runs a VM on whose copy ended so.
          await hypervisor.ensureNotMoving(vmId, runDir);
          if ((await hypervisor.status(vmId, runDir)) !== 'running') return finding(`it was handed to ${held.peer}, whose verdict is not known here`, 'nothing: it stays stopped until the verdict is proven');
          await hypervisor.ensurePaused(vmId, runDir);
          return finding(`it ran although it was handed to ${held.peer}`, 'it was paused: only a proven verdict lets it run');
        });
      case 'incoming':
        await ownership.apply(vmId, { type: 'reject', migrationId: record.migrationId, epoch: record.epoch, reason: 'the worker of the destination was restarted', shown: null });
        await discard(vmId);
        return finding(`a copy from ${record.peer} that waited for an image`, 'rejected for good; the copy is gone');
      case 'retired': // always surplus
      case 'none':
        if (isSurplus(record)) return clearAway(vmId, record, status);
        return (await vms.traces(vmId)).length > 0 ? finding(`traces of a VM without an ownership record, ${status}`, 'nothing: no record says whose it is') : null;
      default:
        return assertNever(record);
    }
  }

  async function clearAway(vmId: VmId, { state }: OwnershipRecord, status: string): Promise<Finding | null> {
    const traces = await vms.traces(vmId);
    if (traces.length === 0 && status === 'absent') return null;
    await discard(vmId);
    const kept = await vms.traces(vmId);
    if (kept.length > 0) return status === 'absent' ? null : { vmId, found: `the record says ${state}, the hypervisor ${status}`, done: 'it was ended; what it gave up to another host is kept for now' };
    return { vmId, found: `surplus: the record says ${state}, the hypervisor ${status}; ${traces.join(', ')}`, done: 'it is gone' };
  }

  async function endLoneVtpm(vmId: VmId): Promise<boolean> {
    const runDir = vms.runDirOf(vmId);
    if (!(await vtpms.isRunning(runDir))) return false;
    await vtpms.ensureStopped(runDir);
    return true;
  }

  return { reconcile };
}
