/**
 * What honest people and their workflows do, as plain code: the order of steps of workflows/secure-migration.ts, start-vm.ts and reconcile.ts, with the same arguments. What goes
 * through Temporal in these moves is what the attacker has.
 */
import type { HostActivities } from '../../../activities/index.js';
import { openSigned } from '../../../domain/authority.js';
import type { Envelope } from '../../../domain/envelope.js';
import type { HostSurvey, VmSurvey } from '../../../domain/status.js';
import type { SuccessionStatement, VerdictStatement } from '../../../domain/manifest.js';
import type { VmDocument } from '../../../domain/vm.js';

/** Asks one host; rejects where it refuses, and where it does not answer in the end. */
export type Ask = <N extends keyof HostActivities>(host: string, name: N, ...args: Parameters<HostActivities[N]>) => Promise<Awaited<ReturnType<HostActivities[N]>>>;
/** Ends what the workflow that asks has under way, as its cancellation does. */
export type CancelAll = () => void;

/** Nobody makes this move any more: its workflow was terminated. */
export class Terminated extends Error {}

/** `unsettled`: who made it does not know how it ended. */
export type Outcome = 'moved' | 'failed' | 'unsettled';

const TRIES = 3;

export interface MoveHooks {
  /** Between the steps before the source may stop. */
  readonly whileCopying?: () => Promise<void>;
}

export async function moveVm(ask: Ask, cancelAll: CancelAll, signed: Envelope, vm: VmDocument, hooks: MoveHooks = {}): Promise<Outcome> {
  const { document: order } = openSigned('korora/order', signed);
  const { source, destination } = order;
  const move = { vmId: order.vmId, migrationId: order.migrationId };
  const ending = { order: signed, reason: 'it failed' };
  let statement: VerdictStatement | SuccessionStatement | null = null;
  const undo: (() => Promise<boolean>)[] = [];
  let accepted: VerdictStatement | null = null;

  try {
    undo.unshift(closeSessions);
    const request = { order: signed, vm };
    const facts = await Promise.all([ask(source, 'inspectSource', request), ask(destination, 'inspectDestination', request)]);
    if (facts.some(({ failures }) => failures.length > 0)) throw new Error('refused');
    const [ofSource, ofDestination] = await Promise.all([ask(source, 'openSession', { order: signed, role: 'source' }), ask(destination, 'openSession', { order: signed, role: 'destination' })]);
    const [sourceEvidence, destinationEvidence] = await Promise.all([
      ask(source, 'quoteHost', { order: signed, role: 'source', peer: ofDestination }),
      ask(destination, 'quoteHost', { order: signed, role: 'destination', peer: ofSource }),
    ]);
    await Promise.all([
      ask(source, 'appraisePeer', { order: signed, role: 'source', evidence: destinationEvidence }),
      ask(destination, 'appraisePeer', { order: signed, role: 'destination', evidence: sourceEvidence }),
    ]);
    const wrapped = await ask(source, 'wrapSecrets', { order: signed });
    await ask(destination, 'unwrapSecrets', { order: signed, wrapped });
    undo.unshift(settlePrepared);
    const { port } = await ask(destination, 'prepareDestination', { order: signed, vm });
    undo.unshift(settleMove);
    await copy(port);
  } catch (error) {
    if (error instanceof Terminated) throw error;
    for (const step of undo) if (!(await step())) return 'unsettled';
    return accepted ? conclude(accepted) : 'failed';
  }
  return accepted ? conclude(accepted) : 'unsettled';

  async function copy(port: number): Promise<void> {
    const started = [ask(source, 'copyMemory', { order: signed, port }), ask(source, 'stopAndCopy', { order: signed, port }), ask(destination, 'verifyImage', { order: signed })] as const;
    let isCancelled = false;
    for (const one of started) one.catch(() => void (isCancelled || ((isCancelled = true), cancelAll())));
    const said = hooks.whileCopying?.();
    const [, , verification] = await Promise.allSettled(started);
    await said;
    for (const one of await Promise.allSettled(started)) if (one.status === 'rejected' && one.reason instanceof Terminated) throw one.reason;
    if (verification.status === 'fulfilled') statement = verification.value.statement;
    if (verification.status !== 'fulfilled' || verification.value.statement.verdict.verdict !== 'accepted') throw new Error('not accepted');
    accepted = verification.value.statement;
  }

  async function settleMove(): Promise<boolean> {
    const settled = await insist(() => ask(source, 'settleSource', ending));
    if (!settled) return false;
    if (settled.state === 'runs' || settled.state === 'absent') return true;
    if (!statement) {
      const answer = await insist(() => ask(destination, 'settleDestination', ending));
      if (!answer) return false;
      statement = statementIn(answer);
    }
    const proven = statement;
    if ('verdict' in proven && proven.verdict.verdict === 'accepted') {
      accepted = proven;
      return true;
    }
    return (await insist(() => ask(source, 'resolveSource', { statement: proven }))) !== null;
  }

  async function settlePrepared(): Promise<boolean> {
    if (accepted) return true;
    return (await insist(() => ask(destination, 'settleDestination', ending))) !== null;
  }

  async function closeSessions(): Promise<boolean> {
    const closed = await Promise.allSettled([ask(source, 'closeSession', ending), ask(destination, 'closeSession', ending)]);
    for (const one of closed) if (one.status === 'rejected' && one.reason instanceof Terminated) throw one.reason;
    return true;
  }

  async function conclude(proven: VerdictStatement): Promise<Outcome> {
    const receipt = ask(destination, 'giveReceipt', { move, statement: proven }).catch(() => undefined);
    const resolved = await insist(() => ask(source, 'resolveSource', { statement: proven }));
    if (!resolved) return 'unsettled';
    await Promise.allSettled([receipt, ask(source, 'giveReceipt', { move, statement: proven })]);
    await closeSessions();
    return 'moved';
  }
}

/** Null where it is refused in the end. */
async function insist<T>(work: () => Promise<T>): Promise<T | null> {
  for (let tries = 0; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (error instanceof Terminated) throw error;
      if (tries === TRIES) return null;
    }
  }
}

export async function surveyAll(ask: Ask, hosts: readonly string[]): Promise<readonly Extract<HostSurvey, { reachable: true }>[]> {
  const surveys = await Promise.all(hosts.map((host) => ask(host, 'surveyHost')));
  return surveys.filter((survey) => survey.reachable);
}

export function recordsOf(vmId: string, surveys: readonly HostSurvey[]): readonly VmSurvey[] {
  return surveys.flatMap((survey) => (survey.reachable ? survey.vms : [])).filter((vm) => vm.vmId === vmId);
}

function statementIn(answer: Awaited<ReturnType<HostActivities['settleDestination']>>): VerdictStatement | SuccessionStatement {
  return 'verdict' in answer ? { verdict: answer.verdict, quote: answer.quote } : { succession: answer.succession, quote: answer.quote };
}

/** As `korora vm reconcile`: `fenceFor` gives an operator's word that the peer of a move is off, where it is. */
export async function reconcile(ask: Ask, vmId: string, hosts: readonly string[], fenceFor: (migrationId: string, host: string) => Promise<Envelope>): Promise<void> {
  for (const { hostId, move, ownership } of recordsOf(vmId, await surveyAll(ask, hosts))) {
    if (ownership !== 'relinquished' || !move?.order) continue;
    if (!hosts.includes(move.peer)) {
      await ask(hostId, 'fenceDestination', { fence: await fenceFor(move.migrationId, move.peer) });
      continue;
    }
    const answer = await ask(move.peer, 'settleDestination', { order: move.order, reason: 'nobody tended it' });
    await ask(hostId, 'resolveSource', { statement: statementIn(answer) });
  }
  const records = recordsOf(vmId, await surveyAll(ask, hosts));
  const [owner] = records.filter(({ mayRun }) => mayRun).sort((a, b) => b.epoch - a.epoch);
  if (!owner) return;
  const outranked = records.filter((vm) => vm.epoch < owner.epoch && ['owner', 'offering', 'relinquished', 'incoming'].includes(vm.ownership));
  for (const { hostId, epoch } of outranked) {
    for (const later of records.filter((one) => one.hostId !== hostId && one.epoch > epoch).sort((a, b) => b.epoch - a.epoch)) {
      const claim = await ask(later.hostId, 'stateClaim', { vmId: later.vmId, against: hostId }).catch(() => null);
      if (!claim) continue;
      await ask(hostId, 'yieldToClaim', { statement: claim });
      break;
    }
  }
}
