/** Starts a VM on a host, after asking every other host of the bundle whether it has a claim on it. */
import { openSigned } from '../domain/authority.js';
import type { Envelope } from '../domain/envelope.js';
import { failure } from '../domain/failures.js';
import type { HostId } from '../domain/ids.js';
import type { VmSurvey } from '../domain/status.js';
import type { VmDocument } from '../domain/vm.js';
import { failuresOf, toApplicationFailure } from './failures.js';
import { callsOf } from './hosts.js';
import { recordsOf, settleClaims } from './reconcile.js';

export interface StartVmInput {
  /** Signed: korora/start. */
  readonly start: Envelope;
  readonly vm: VmDocument;
  /** All hosts that could know the VM. */
  readonly others: readonly HostId[];
}

/** Refused where a host does not answer: it could be the one that runs the VM. */
export async function startVm({ start, vm, others }: StartVmInput): Promise<VmSurvey> {
  try {
    const { host: hostId } = openSigned('korora/start', start).document;
    const surveys = await Promise.all([hostId, ...others].map((host) => callsOf(host).survey.surveyHost()));
    // A host that was fenced may come back and think that it owns the VM.
    const { yielded } = await settleClaims(vm.vmId, surveys);
    const claims = recordsOf(vm.vmId, surveys).filter((known) => known.hostId !== hostId && !yielded.includes(known.hostId) && known.ownership !== 'retired' && known.ownership !== 'none');
    const [claim] = claims;
    if (claim) throw toApplicationFailure([failure('VM_EXISTS', { host: claim.hostId, vm: vm.vmId, state: claim.ownership })]);
    return await callsOf(hostId).step.startVm({ start, vm });
  } catch (error) {
    throw toApplicationFailure(failuresOf(error, 'it was cancelled'));
  }
}
