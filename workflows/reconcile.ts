/**
 * Brings the records of one VM together where an operator's fence left two: the owner of the latest epoch claims it
 * under its AK, and every host that holds an earlier one gives it up. A host that does not answer stays as it is.
 */
import { failure } from '../domain/failures.js';
import type { HostId, VmId } from '../domain/ids.js';
import type { HostSurvey, VmSurvey } from '../domain/status.js';
import { failuresOf, toApplicationFailure } from './failures.js';
import { callsOf } from './hosts.js';
import { surveyHosts } from './survey.js';

export interface Reconciliation {
  /** Hosts whose record gave way to the claim of `owner`. */
  readonly yielded: readonly HostId[];
  readonly owner: HostId | null;
  readonly silent: readonly HostId[];
}

/** TWO_OWNERS where two hosts own one epoch. */
export async function reconcileVm({ vmId, hostIds }: { readonly vmId: VmId; readonly hostIds: readonly HostId[] }): Promise<Reconciliation> {
  try {
    return await settleClaims(vmId, await surveyHosts({ hostIds }));
  } catch (error) {
    throw toApplicationFailure(failuresOf(error, 'it was cancelled'));
  }
}

export async function settleClaims(vmId: VmId, surveys: readonly HostSurvey[]): Promise<Reconciliation> {
  const silent = surveys.filter((survey) => !survey.reachable).map(({ hostId }) => hostId);
  const known = surveys.flatMap((survey) => (survey.reachable ? survey.vms : [])).filter((vm) => vm.vmId === vmId);
  const [owner, second] = known.filter((vm) => vm.mayRun).sort((a, b) => b.epoch - a.epoch);
  if (!owner) return { yielded: [], owner: null, silent };
  if (second?.epoch === owner.epoch) {
    throw toApplicationFailure([failure('TWO_OWNERS', { first: owner.hostId, second: second.hostId, vm: vmId, epoch: owner.epoch })]);
  }
  const outranked = known.filter((vm) => isOutranked(vm, owner));
  const statement = outranked.length > 0 ? await callsOf(owner.hostId).step.stateClaim({ vmId }) : null;
  if (!statement) return { yielded: [], owner: owner.hostId, silent };
  await Promise.all(outranked.map(({ hostId }) => callsOf(hostId).step.yieldToClaim({ statement })));
  return { yielded: outranked.map(({ hostId }) => hostId), owner: owner.hostId, silent };
}

function isOutranked(vm: VmSurvey, owner: VmSurvey): boolean {
  return vm.epoch < owner.epoch && ['owner', 'offering', 'relinquished', 'incoming'].includes(vm.ownership);
}
