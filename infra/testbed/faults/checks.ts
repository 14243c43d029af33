/** What must be so after every cell, whatever broke: each check says what is not so. */
import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readPublicKey } from '../../../cli/keys.js';
import { verifyEvidence } from '../../../client/verify/index.js';
import { Evidence } from '../../../domain/evidence.js';
import type { MigrationResult, VmSurvey } from '../../../domain/status.js';
import { CONTROL_QUEUE, FOLLOWS, type Phase, hostQueue } from '../../../domain/steps.js';
import { firstGap } from '../guest-console.js';
import type { Testbed } from '../testbed.js';
import { until } from '../until.js';
import type { Cell } from './cells.js';
import type { TestedGuest, Unsealing } from './guest.js';
import type { StepRun } from './history.js';
import { HOSTS, type HostName, type Move, otherHost } from './move.js';
import type { ScriptedFault } from './script.js';

const GUEST_LIMIT_MS = 60_000;
const POLL_MS = 50;
/** Numbers said after all is over, so that "it counts on" is no echo. */
const COUNTS_ON = 3;

export type Problems = readonly string[];

/** All others the history must show as a failed, timed out, cancelled or repeated step. */
const QUIET_FAULTS: readonly Cell['fault'][] = ['runs-twice', 'undo-runs-twice', 'control-killed', 'aborted', 'delayed', 'cut-after', 'half-open-after'];
const NETWORK_FAULTS: readonly Cell['fault'][] = ['lost', 'cut-before', 'half-open-before'];

export function faultProblems(cell: Cell, move: Move, fault: ScriptedFault, steps: readonly StepRun[]): Problems {
  if (!fault.isCaused()) return [`what was to break first did not: ${cell.cause}`];
  if (!fault.isInjected()) return ['the fault was not injected: the move never came there'];
  if (QUIET_FAULTS.includes(cell.fault)) return [];
  const queue = cell.on === 'control' ? CONTROL_QUEUE : hostQueue(move[cell.on]);
  // The end of a channel is seen by its other end, too.
  const seen = steps.filter((step) => (cell.kind === 'activity' ? step.activity === cell.place && step.queue === queue : NETWORK_FAULTS.includes(cell.fault) || step.queue === queue));
  return seen.some(({ attempts, end }) => attempts > 1 || end !== 'completed') ? [] : ['the history shows no step that broke'];
}

export function outcomeProblems(cell: Cell, move: Move, fault: ScriptedFault, result: MigrationResult, codes: readonly string[]): Problems {
  const { kind, runsOn } = result.outcome;
  const problems: string[] = [];
  if (!cell.outcomes.includes(kind)) problems.push(`the move ended ${kind} (${codes.join(', ')}), not ${cell.outcomes.join(' or ')}`);
  const expected = kind === 'moved' ? move.destination : move.source;
  // Where the source was not heard, nobody said where the VM is.
  const isUnheard = runsOn === null && cell.step === 'preflight';
  if (runsOn !== expected && !isUnheard) problems.push(`the result says that it runs on ${runsOn}, not ${expected}`);
  if (codes.includes('VM_REBOOTED') !== (cell.cause === 'destination-fenced')) problems.push(`only a fence starts a VM again from its disk, and it does: ${codes.join(', ')}`);
  if (cell.fault !== 'aborted') return problems;
  const answer = fault.abortAnswer();
  // An undo goes on, and what moved is moved; anything else is taken back.
  const isTooLate = cell.isUndo || (cell.outcomes.length === 1 && cell.outcomes[0] === 'moved');
  if (isTooLate && answer !== 'PAST_POINT_OF_NO_RETURN') problems.push(`the abort came too late and was answered ${answer}`);
  if (!isTooLate && answer !== null) problems.push(`the abort was refused with ${answer}`);
  if (!isTooLate && kind !== 'moved' && !isDeepStrictEqual(codes, ['ABORTED'])) problems.push(`an aborted move says ${codes.join(', ')}`);
  return problems;
}

/** The phases in the order in which each was reached first; doubt always ends in `compensating`, which was reached before. */
export function phaseProblems({ timings }: MigrationResult): Problems {
  const reached = Object.keys(timings.phases) as Phase[];
  return reached.slice(1).flatMap((phase, i) => {
    const before = reached[i] as Phase;
    const mayFollow = before === 'in-doubt' ? FOLLOWS.compensating : FOLLOWS[before];
    return mayFollow.includes(phase) ? [] : [`phase ${phase} came after ${before}`];
  });
}

/** What an auditor would find, who has the trust bundle and nothing else. */
export async function evidenceProblems(testbed: Testbed, result: MigrationResult): Promise<Problems> {
  const evidence = Evidence.safeParse(JSON.parse(await readFile(result.evidencePath, 'utf8')));
  if (!evidence.success) return ['the evidence file is not valid'];
  const bundle: unknown = JSON.parse(await readFile(join(testbed.root, 'trust.json'), 'utf8'));
  const { problems } = verifyEvidence(evidence.data, bundle, [await readPublicKey(testbed.keys.policy.publicFile)]);
  const otherOutcome = isDeepStrictEqual(evidence.data.outcome, result.outcome) ? [] : ['the evidence tells another outcome than the result'];
  return [...otherOutcome, ...problems.map(({ field, problem }) => `the evidence does not hold: ${field}: ${problem}`)];
}

/** What these hosts say of the VM. Whoever does not answer in time is asked again: a host that is late has not nothing of it. */
export async function vmOnHosts({ client }: Testbed, vmId: string, hosts: readonly HostName[] = HOSTS): Promise<readonly VmSurvey[]> {
  const surveys = await until(`an answer of ${hosts.join(' and ')}`, () => client.hosts(), (all) => hosts.every((host) => all.some(({ hostId, reachable }) => hostId === host && reachable)), { limitMs: GUEST_LIMIT_MS, everyMs: POLL_MS });
  return surveys.flatMap((survey) => (survey.reachable ? survey.vms : [])).filter((vm) => vm.vmId === vmId);
}

/** One record that may run, on the host that runs it; one hypervisor and one vTPM in all. */
export async function copyProblems(testbed: Testbed, guest: TestedGuest, owner: HostName): Promise<Problems> {
  const vms = await vmOnHosts(testbed, guest.vmId);
  const [own, other] = [vms.find((vm) => vm.hostId === owner), vms.find((vm) => vm.hostId === otherHost(owner))];
  const processes = await guest.processes();
  const whole = ['hypervisor', 'vtpm'].map((kind) => `${kind} on ${owner}`);
  const found = processes.map(({ host, kind }) => `${kind} on ${host}`).sort();
  return [
    ...(own?.ownership === 'owner' && own.mayRun && own.status === 'running' ? [] : [`${owner} says ${own?.ownership}, ${own?.status}`]),
    ...(other === undefined || (!other.mayRun && other.status === 'absent' && ['none', 'retired'].includes(other.ownership)) ? [] : [`${otherHost(owner)} says ${other.ownership}, ${other.status}`]),
    ...(isDeepStrictEqual(found, whole) ? [] : [`of the VM there are: ${found.join(', ')}`]),
  ];
}

export interface GuestState {
  readonly lastCount: number;
  readonly unsealed: Unsealing;
}

/**
 * Waits until the guest counted on and unsealed. `ran` are the hosts where it ran since the mark, in order; it must have
 * said nothing anywhere else. A guest that was started again counts from 1, and has another secret in the same vTPM.
 */
export async function guestProblems(guest: TestedGuest, ran: readonly HostName[], before: GuestState, isStartedAgain: boolean): Promise<{ readonly problems: Problems; readonly state: GuestState }> {
  const said = async () => {
    const all = await guest.said(ran);
    if (!isStartedAgain) return all;
    return { ...all, counts: all.counts.includes(1) ? all.counts.slice(all.counts.lastIndexOf(1)) : [], unsealings: all.unsealings.filter(({ secret }) => secret !== before.unsealed.secret) };
  };
  const lastBefore = isStartedAgain ? 0 : before.lastCount;
  const countsThen = (await said()).counts.length;
  const deadline = performance.now() + GUEST_LIMIT_MS;
  for (;;) {
    const { counts, unsealings, complaints } = await said();
    const unsealed = unsealings.findLast(({ count }) => count > (counts[countsThen - 1] ?? lastBefore));
    const lastCount = counts.at(-1) ?? lastBefore;
    if (unsealed && counts.length >= countsThen + COUNTS_ON) {
      const diskCount = await guest.diskCount();
      const gap = firstGap([lastBefore, ...counts]);
      const elsewhere = (await guest.said(HOSTS.filter((host) => !ran.includes(host)))).counts;
      return {
        state: { lastCount, unsealed },
        problems: [
          ...(gap ? [`it counted ${gap.came} after ${gap.after}`] : []),
          ...complaints.map((line) => `it said: ${line}`),
          ...((isStartedAgain || unsealed.secret === before.unsealed.secret) && unsealed.vtpm === before.unsealed.vtpm ? [] : ['it unsealed something else, or with another vTPM']),
          ...(diskCount >= lastCount ? [] : [`its disk says ${diskCount}, its console ${lastCount}`]),
          ...(elsewhere.length === 0 ? [] : [`it ran on another host, too: it said ${elsewhere.join(' ')} there`]),
        ],
      };
    }
    if (performance.now() > deadline) return { state: before, problems: [`it does not go on: ${counts.length - countsThen} numbers and ${unsealed ? 'an' : 'no'} unsealing in ${GUEST_LIMIT_MS / 1000} s; the last number is ${lastCount}`, ...complaints.map((line) => `it said: ${line}`)] };
    await delay(POLL_MS);
  }
}

export function workerProblems(testbed: Testbed): Problems {
  const processes = [testbed.control, ...HOSTS.map((host) => testbed.hosts[host].worker)];
  return processes.filter(({ child }) => child.exitCode !== null || child.signalCode !== null).map(({ name, child }) => `the worker ${name} ended by itself: ${child.signalCode ?? child.exitCode}`);
}
