/** Starts a VM on a host, after asking every other host of the bundle whether it has a claim on it. */
import type { HostId } from '../domain/ids.js';
import { failure } from '../domain/failures.js';
import type { VmSurvey } from '../domain/status.js';
import type { VmDocument } from '../domain/vm.js';
import { failuresOf, toApplicationFailure } from './failures.js';
import { callsOf } from './hosts.js';
import { recordsOf, settleClaims } from './reconcile.js';

export interface StartVmInput {
  readonly vm: VmDocument;
  readonly hostId: HostId;
  /** All hosts that could know the VM. */
  readonly others: readonly HostId[];
}

/** Refused where a host does not answer: it could be the one that runs the VM. */
export async function startVm({ vm, hostId, others }: StartVmInput): Promise<VmSurvey> {
  try {
    const surveys = await Promise.all([hostId, ...others].map((host) => callsOf(host).survey.surveyHost()));
    // A host that was fenced may come back and think that it owns the VM.
    const { yielded } = await settleClaims(vm.vmId, surveys);
    const claims = recordsOf(vm.vmId, surveys).filter((known) => known.hostId !== hostId && !yielded.includes(known.hostId) && known.ownership !== 'retired' && known.ownership !== 'none');
    const [claim] = claims;
    if (claim) throw toApplicationFailure([failure('VM_EXISTS', { host: claim.hostId, vm: vm.vmId, state: claim.ownership })]);
    return await callsOf(hostId).step.startVm({ vm });
  } catch (error) {
    throw toApplicationFailure(failuresOf(error, 'it was cancelled'));
  }
}
