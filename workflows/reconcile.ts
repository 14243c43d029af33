/**
 * Brings the records of one VM together where no move does it: where an operator's fence left two owners, and where the workflow
 * of a move is gone (terminated, or lost with its database) after the source relinquished. A host that does not answer stays as it is.
 *
 *   two records that own      a host that owned a later epoch shows how it came to it, under its AK, and the other gives the VM up
 *   a source that relinquished, and no workflow that tends the move
 *                             the destination's signed verdict ends it; or an operator's fence, where the destination is silent
 */
import type { DestinationAnswer } from '../activities/settle.js';
import { openSigned } from '../domain/authority.js';
import type { Envelope } from '../domain/envelope.js';
import { failure } from '../domain/failures.js';
import type { HostId, VmId } from '../domain/ids.js';
import type { ClaimStatement, SuccessionStatement, VerdictStatement } from '../domain/manifest.js';
import type { HostSurvey, VmSurvey } from '../domain/status.js';
import { failuresOf, isRefusal, toApplicationFailure } from './failures.js';
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
  const stuck = recordsOf(vmId, surveys).flatMap(({ ownership, hostId, move }) => (ownership === 'relinquished' && move?.order ? [{ hostId, peer: move.peer, order: move.order }] : []));
  const answers = (host: string) => surveys.some((survey) => survey.reachable && survey.hostId === host);
  if (fence && !stuck.some(({ peer }) => peer === fence.host)) throw toApplicationFailure([failure('NOTHING_TO_FENCE', { vm: vmId, host: fence.host })]);
  if (fence && answers(fence.host)) throw toApplicationFailure([failure('FENCE_REFUSED', { vm: vmId, host: fence.host })]);
  let isSettled = false;
  for (const { hostId, order, peer } of stuck) {
    if (answers(peer)) {
      const answer = await callsOf(peer).step.settleDestination({ order, reason: 'no workflow tended the move any more' });
      await callsOf(hostId).step.resolveSource({ statement: statementIn(answer) });
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
  const yielded: HostId[] = [];
  for (const vm of known.filter((one) => isOutranked(one, owner))) {
    const statement = await claimAgainst(vm, known);
    if (!statement) continue;
    await callsOf(vm.hostId).step.yieldToClaim({ statement });
    yielded.push(vm.hostId);
  }
  return { yielded, owner: owner.hostId, silent };
}

/** By whichever host owned a later epoch and can show how it came to it; the last one first. Null where none can. */
async function claimAgainst({ vmId, hostId, epoch }: VmSurvey, known: readonly VmSurvey[]): Promise<ClaimStatement | null> {
  for (const later of known.filter((one) => one.hostId !== hostId && one.epoch > epoch).sort((a, b) => b.epoch - a.epoch)) {
    try {
      const statement = await callsOf(later.hostId).step.stateClaim({ vmId, against: hostId });
      if (statement) return statement;
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
  }
  return null;
}

/** What may be carried on of an answer. */
export function statementIn(answer: DestinationAnswer): VerdictStatement | SuccessionStatement {
  return 'verdict' in answer ? { verdict: answer.verdict, quote: answer.quote } : { succession: answer.succession, quote: answer.quote };
}

export function recordsOf(vmId: VmId, surveys: readonly HostSurvey[]): readonly VmSurvey[] {
  return surveys.flatMap((survey) => (survey.reachable ? survey.vms : [])).filter((vm) => vm.vmId === vmId);
}

function isOutranked(vm: VmSurvey, owner: VmSurvey): boolean {
  return vm.epoch < owner.epoch && ['owner', 'offering', 'relinquished', 'incoming'].includes(vm.ownership);
}
