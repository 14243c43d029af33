/**
 * Two made-up hosts and a made-up control worker of one move: they answer every activity as real ones do where all goes well, and meet
 * the faults that a test plans. They keep who owns the VM, and write down what a workflow must never bring about; they check no
 * signature, no order and no evidence, and copy nothing.
 */
import { digestOf } from '../../domain/canonical.js';
import { parseDocument } from '../../domain/documents.js';
import type { Envelope } from '../../domain/envelope.js';
import { Evidence } from '../../domain/evidence.js';
import { type KororaError, failure, refuse } from '../../domain/failures.js';
import { type Verdict, type VerdictStatement, verdictOf } from '../../domain/manifest.js';
import type { Order } from '../../domain/order.js';
import { settleable } from '../../domain/settleable.js';
import type { VmDocument } from '../../domain/vm.js';
import type { SourceSettlement } from '../../activities/settle.js';
import type { HostInput } from '../../activities/inputs.js';
import { toTemporal } from '../../temporal/failures.js';
import { type Fault, type Planned, type Point, type Pulse, meet, startPulse } from './faults.js';
import { documentsOf } from './made-up-documents.js';
import type { Activities, ActivityName, Call, Place } from './stage.js';

/** Of no move, and so never asked of these hosts. */
type Elsewhere = 'reinstateRecords' | 'showState' | 'showSurvey' | 'startVm' | 'stateClaim' | 'surveyHost' | 'yieldToClaim';
type OfMove = Pick<Activities, Exclude<ActivityName, Elsewhere>>;
type HostsAnswers = { readonly [A in keyof OfMove]: (argument: Parameters<OfMove[A]>[0], call: Call, pulse: Pulse) => Awaited<ReturnType<OfMove[A]>> | ReturnType<OfMove[A]> };

export class MadeUpHosts {
  source: 'owner' | 'relinquished' | 'retired' = 'owner';
  destination: 'none' | 'incoming' | 'owner' | 'rejected' = 'none';
  /** What must never be, in words. */
  readonly violations: string[] = [];
  readonly recorded: Evidence[] = [];
  readonly holds: HostInput<'holdCopy'>[] = [];
  readonly changes: Envelope[] = [];
  readonly fences: Envelope[] = [];
  /** Every try, for a test that waits in vain. */
  readonly tries: string[] = [];
  private readonly over = settleable<void>();
  private readonly scheduled = new Map<string, string[]>();
  private changed = settleable<void>();
  private here = new Set<ActivityName>();
  private isGivenUp = false;
  private isChannelLost = false;
  private isHeld: boolean;
  private decision: VerdictStatement | null = null;
  private readonly answers: HostsAnswers;

  constructor(private readonly order: Order, vm: VmDocument, private readonly plan: readonly Planned[]) {
    this.isHeld = order.requiresApproval;
    this.answers = this.answersFor(vm);
  }

  /** Ends what is silent. */
  close(): void {
    this.over.resolve();
    for (const { fault } of this.plan) {
      if ('hold' in fault) fault.hold.release();
      if (fault.kind === 'is-silent') fault.then?.release();
    }
  }

  async answer(call: Call): Promise<unknown> {
    this.tries.push(`${call.on}: ${call.activity} (${call.context.info.attempt})`);
    const pulse = startPulse(call);
    try {
      await this.meet('start', call, pulse);
      const answer = this.answers[call.activity as keyof OfMove] as ((argument: unknown, call: Call, pulse: Pulse) => unknown) | undefined;
      if (!answer) throw new Error(`no move asks for ${call.activity}`);
      return await answer(call.argument, call, pulse);
    } catch (error) {
      throw toTemporal(error);
    } finally {
      pulse.stop();
    }
  }

  private async meet(point: Point, call: Call, pulse: Pulse): Promise<void> {
    const fault = this.planned(point, call);
    if (fault) await meet(fault, call, pulse, this.over.promise);
  }

  private planned(point: Point, call: Call): Fault | null {
    const occurrence = this.occurrenceOf(call);
    const isMet = (p: Planned) => p.on === call.on && p.activity === call.activity && (p.occurrence ?? 0) === occurrence && (p.point ?? 'start') === point;
    return this.plan.find(isMet)?.fault ?? null;
  }

  private occurrenceOf({ on, activity, id }: Call): number {
    const key = `${on}: ${activity}`;
    const ids = this.scheduled.get(key) ?? [];
    if (!ids.includes(id)) ids.push(id);
    this.scheduled.set(key, ids);
    return ids.indexOf(id);
  }

  private change(): void {
    const { changed } = this;
    this.changed = settleable();
    changed.resolve();
  }

  /** False where it was cancelled first. */
  private async until(isSo: () => boolean, { context }: Call): Promise<boolean> {
    const cancelled = context.cancelled.catch(() => undefined);
    for (;;) {
      if (isSo()) return true;
      if (context.cancellationSignal.aborted) return false;
      await Promise.race([this.changed.promise, cancelled]);
    }
  }

  /** A source that relinquished waits for the verdict, also where it is told to end, as long as it has a channel. */
  private async verdictOrEnd({ context }: Call): Promise<VerdictStatement> {
    const cancelled = context.cancelled.catch(() => undefined);
    for (;;) {
      const { aborted } = context.cancellationSignal;
      if (this.decision) return this.decision;
      if (aborted && this.isChannelLost) throw refuse('CHANNEL_LOST', { problem: 'it was closed' });
      await (aborted ? this.changed.promise : Promise.race([this.changed.promise, cancelled]));
    }
  }

  private arrive(activity: ActivityName): void {
    this.here.add(activity);
    this.change();
  }

  private own(place: Place, state: string): void {
    if (place === 'source') this.source = state as typeof this.source;
    else this.destination = state as typeof this.destination;
    if (this.source === 'owner' && this.destination === 'owner') this.violations.push('both hosts own the VM');
    this.change();
  }

  private decide(verdict: Verdict['verdict'], reason: string | null): VerdictStatement {
    if (this.decision) return this.decision;
    const manifestDigest = verdict === 'accepted' ? digestOf(documentsOf(this.order).manifest) : null;
    const quote = documentsOf(this.order).quote;
    this.decision = { verdict: verdictOf({ ...this.order, epoch: (this.order.epoch + 1) as Verdict['epoch'] }, { verdict, manifestDigest, reason }), quote };
    this.own('destination', verdict === 'accepted' ? 'owner' : 'rejected');
    return this.decision;
  }

  private learn({ verdict }: VerdictStatement): SourceSettlement['state'] {
    if (this.decision === null || digestOf(verdict) !== digestOf(this.decision.verdict)) this.violations.push(`the source was told a verdict that the destination did not say: ${verdict.verdict}`);
    if (verdict.verdict === 'accepted') this.own('source', 'retired');
    else if (this.source === 'relinquished') this.own('source', 'owner');
    return this.source === 'owner' ? 'runs' : 'retired';
  }

  private gaveUp(): KororaError {
    this.isGivenUp = true;
    this.change();
    return refuse('ABORTED', { reason: 'it was cancelled' });
  }

  private answersFor(vm: VmDocument): HostsAnswers {
    const { order } = this;
    const documents = documentsOf(order);
    const epoch = order.epoch + 1;
    const inRole = (role: string, on: Place) => {
      if (role !== on) this.violations.push(`the ${on} was asked as ${role}`);
    };
    return {
      inspectSource: () => ({ ...documents.sourceFacts(vm), ownership: { state: this.source, epoch: order.epoch } }),
      inspectDestination: () => {
        const held = this.destination === 'owner' ? [failure('VM_HELD', { host: order.destination, vm: order.vmId, state: 'owner' })] : [];
        return { ...documents.destinationFacts(vm), failures: held };
      },
      openSession: ({ role }, { on }) => (inRole(role, on), documents.offer(role)),
      quoteHost: ({ role }, { on }) => (inRole(role, on), documents.evidence(role)),
      appraisePeer: ({ role }, { on }) => (inRole(role, on), { referenceSet: `seen by the ${role}` }),
      wrapSecrets: () => documents.wrapped,
      unwrapSecrets: () => undefined,
      prepareDestination: () => {
        if (this.destination !== 'none' && this.destination !== 'incoming') throw refuse('OWNERSHIP_REFUSED', { host: order.destination, event: 'expect', vm: order.vmId, state: this.destination });
        this.own('destination', 'incoming');
        return { port: 7711 };
      },
      copyMemory: async (_, call) => {
        this.arrive('copyMemory');
        if (!(await this.until(() => this.source !== 'owner', call))) throw this.gaveUp();
        return { rounds: documents.rounds };
      },
      stopAndCopy: async (_, call, pulse) => {
        this.arrive('stopAndCopy');
        // A source that was told to end before it relinquished does not relinquish.
        const isReady = () => this.source !== 'owner' || (!call.context.cancellationSignal.aborted && this.here.has('copyMemory') && this.here.has('verifyImage') && !this.isHeld && !this.isGivenUp);
        if (!(await this.until(isReady, call))) throw this.gaveUp();
        if (this.source === 'owner') this.own('source', 'relinquished');
        await this.meet('relinquished', call, pulse);
        const decision = await this.verdictOrEnd(call);
        this.learn(decision);
        const { verdict } = decision;
        if (verdict.verdict === 'rejected') throw refuse('DESTINATION_REJECTED', { reason: verdict.reason ?? '' });
        return { verdict, timings: documents.sourceTimings };
      },
      verifyImage: async (_, call, pulse) => {
        this.arrive('verifyImage');
        const isHandedOver = await this.until(() => this.decision !== null || this.source === 'relinquished', call);
        if (isHandedOver) {
          const fault = this.planned('relinquished', call);
          if (fault && fault.kind !== 'is-held') this.isChannelLost = true;
          await this.meet('relinquished', call, pulse);
        }
        const statement = isHandedOver && !call.context.cancellationSignal.aborted ? this.decide('accepted', null) : this.decide('rejected', refuse('ABORTED', { reason: 'it was cancelled' }).message);
        await this.meet('decided', call, pulse);
        const isAccepted = statement.verdict.verdict === 'accepted';
        return { statement, isAbsent: false, manifest: isAccepted ? documents.manifest : null, timings: isAccepted ? documents.destinationTimings : null };
      },
      settleDestination: ({ reason }) => {
        const statement = this.decide('rejected', reason);
        return { ...statement, isAbsent: false, manifest: statement.verdict.verdict === 'accepted' ? documents.manifest : null };
      },
      settleSource: () => {
        this.isGivenUp = true;
        this.change();
        return { state: ({ owner: 'runs', relinquished: 'needs-verdict', retired: 'retired' } as const)[this.source], epoch };
      },
      resolveSource: ({ statement }) => {
        if ('succession' in statement) throw refuse('OWNERSHIP_REFUSED', { host: order.source, event: 'learn-succession', vm: order.vmId, state: this.source });
        return { state: this.learn(statement), epoch };
      },
      fenceDestination: ({ fence }) => {
        if (!this.fences.some((said) => digestOf(said) === digestOf(fence))) this.violations.push('the source was told a fence that nobody said');
        if (this.source !== 'relinquished') throw refuse('OWNERSHIP_REFUSED', { host: order.source, event: 'fence', vm: order.vmId, state: this.source });
        this.own('source', 'owner');
        return { state: 'rebooted', epoch };
      },
      giveReceipt: (_, { on }) => {
        const isEnded = on === 'source' ? this.source === 'retired' : this.destination === 'owner';
        if (!isEnded) throw refuse('OWNERSHIP_REFUSED', { host: order.source, event: 'receipt', vm: order.vmId, state: this.source });
        return on === 'source' ? documents.sourceReceipt : documents.destinationReceipt;
      },
      closeSession: () => undefined,
      recordEvidence: ({ evidence }) => {
        const parsed = parseDocument(Evidence, evidence, 'EVIDENCE_INVALID');
        const pathOf = (recorded: Evidence) => `${digestOf(recorded)}.json`;
        const differsFrom = this.recorded.map(pathOf).filter((path) => path !== pathOf(parsed));
        this.recorded.push(parsed);
        return { path: pathOf(parsed), digest: digestOf(parsed), differsFrom };
      },
      holdCopy: (request) => {
        if (this.source !== 'owner' || this.isGivenUp) throw refuse('NOT_COPYING', { vm: order.vmId, phase: 'stopped' });
        this.holds.push(request);
        this.isHeld = request.isHeld || (order.requiresApproval && this.holds.every(({ approval }) => approval === null));
        this.change();
        return { isHeld: this.isHeld, isCertain: true };
      },
      tuneCopy: ({ change }) => void this.changes.push(change),
      admitFence: ({ fence }) => void this.fences.push(fence),
    };
  }
}
