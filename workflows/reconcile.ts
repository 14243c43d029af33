/**
 * Brings the records of one VM together where no move does it: where an operator's fence left two owners, and where the workflow
 * of a move is gone (terminated, or lost with its database) after the source relinquished. A host that does not answer stays as it is.
 *
 *   two records that own      the owner of the later epoch claims the VM under its AK, and the other gives it up
 *   a source that relinquished, and no workflow that tends the move
 *                             the destination's signed verdict ends it; or an operator's fence, where the destination is silent
 */
import { openSigned } from '../domain/authority.js';
import type { Envelope } from '../domain/envelope.js';
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

interface ReconcileInput {
  readonly vmId: VmId;
  readonly hostIds: readonly HostId[];
  /** Whether a workflow moves the VM: then only that one settles the move. */
  readonly isTended: boolean;
  /** Signed: korora/fence; null for none. */
  readonly fence: Envelope | null;
}

/** TWO_OWNERS where two hosts own one epoch; NOTHING_TO_FENCE, FENCE_REFUSED where there is a fence and nobody waits for that host. */
export async function reconcileVm({ vmId, hostIds, isTended, fence }: ReconcileInput): Promise<Reconciliation> {
  try {
    const surveys = await surveyHosts({ hostIds });
    const isSettled = !isTended && (await settleUntended(vmId, surveys, fence));
    return await settleClaims(vmId, isSettled ? await surveyHosts({ hostIds }) : surveys);
  } catch (error) {
    throw toApplicationFailure(failuresOf(error, 'it was cancelled'));
  }
}

/** Whether there was a move to settle whose other host answers, or is fenced. */
async function settleUntended(vmId: VmId, surveys: readonly HostSurvey[], envelope: Envelope | null): Promise<boolean> {
  const fence = envelope && openSigned('korora/fence', envelope).document;
  const stuck = recordsOf(vmId, surveys).flatMap(({ ownership, hostId, epoch, move }) => (ownership === 'relinquished' && move ? [{ hostId, epoch, ...move }] : []));
  const answers = (host: string) => surveys.some((survey) => survey.reachable && survey.hostId === host);
  if (fence && !stuck.some(({ peer }) => peer === fence.host)) throw toApplicationFailure([failure('NOTHING_TO_FENCE', { vm: vmId, host: fence.host })]);
  if (fence && answers(fence.host)) throw toApplicationFailure([failure('FENCE_REFUSED', { vm: vmId, host: fence.host })]);
  let isSettled = false;
  for (const { hostId, epoch, migrationId, peer } of stuck) {
    const move = { vmId, migrationId };
    if (answers(peer)) {
      const { verdict, quote } = await callsOf(peer).step.settleDestination({ move, epoch: epoch + 1, reason: 'no workflow tended the move any more' });
      await callsOf(hostId).step.resolveSource({ statement: { verdict, quote } });
    } else if (envelope && fence?.host === peer) {
      await callsOf(hostId).step.fenceDestination({ fence: envelope });
    } else continue;
    isSettled = true;
  }
  return isSettled;
}

export async function settleClaims(vmId: VmId, surveys: readonly HostSurvey[]): Promise<Reconciliation> {
  const silent = surveys.filter((survey) => !survey.reachable).map(({ hostId }) => hostId);
  const known = recordsOf(vmId, surveys);
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

export function recordsOf(vmId: VmId, surveys: readonly HostSurvey[]): readonly VmSurvey[] {
  return surveys.flatMap((survey) => (survey.reachable ? survey.vms : [])).filter((vm) => vm.vmId === vmId);
}

function isOutranked(vm: VmSurvey, owner: VmSurvey): boolean {
  return vm.epoch < owner.epoch && ['owner', 'offering', 'relinquished', 'incoming'].includes(vm.ownership);
}
