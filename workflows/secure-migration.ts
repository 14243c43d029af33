/**
 * The move of one VM, phase by phase: domain/steps.ts is its table. Decides nothing about
 * trust or ownership: hosts do, by their own bundle, TPM and record; this workflow only brings
 * them together and never gives up on an undo.
 *
 *   preflight ─ attest ─ seal ─ prepare ─ move ─┬─ accepted: retire ─ record
 *        └──────────┴──────┴───────┴────────────┴─ else: settle, last in first out ─ record ─ fail
 */
import { CancellationScope, setHandler } from '@temporalio/workflow';
import type { Handover } from '../activities/outgoing-move.js';
import type { DestinationAnswer, SourceSettlement } from '../activities/settle.js';
import type { Verification } from '../activities/verify.js';
import { openSigned } from '../domain/authority.js';
import { parseDocument } from '../domain/documents.js';
import type { Envelope } from '../domain/envelope.js';
import { type Failure, type FailureCode, KororaError, failure, refuse } from '../domain/failures.js';
import type { Role } from '../domain/ids.js';
import type { VerdictStatement } from '../domain/manifest.js';
import { planMove } from '../domain/preflight.js';
import type { MigrationResult } from '../domain/status.js';
import { VmDocument } from '../domain/vm.js';
import { ABORTABLE, Account } from './account.js';
import { Controls } from './controls.js';
import { allOrReasons, failuresOf, toApplicationFailure } from './failures.js';
import { callsOf } from './hosts.js';
import { abortUpdate, statusQuery } from './messages.js';
import { Patience } from './patience.js';
import { statementIn } from './reconcile.js';
import { Recording } from './recording.js';
import { Saga } from './saga.js';

export interface MigrationInput {
  /** Signed: korora/order. The hosts check that; here it is only read. */
  readonly order: Envelope;
  readonly vm: VmDocument;
}

/** Said of a fence: it was an operator's when it was given, and is no more. */
const NO_FENCE: readonly FailureCode[] = ['ORDER_EXPIRED', 'ORDER_NOT_SIGNED', 'OPERATOR_NOT_ALLOWED', 'BUNDLE_EXPIRED'];
/** Said of what the destination signed. */
const NOT_BELIEVED: readonly FailureCode[] = ['VERDICT_UNPROVEN'];
/** Said of an order by a host that has nothing of its move: no operator may have signed it, by the bundle that it has now. */
const NOT_HELD: readonly FailureCode[] = ['ORDER_NOT_SIGNED', 'OPERATOR_NOT_ALLOWED'];
const GIVEN_UP: readonly FailureCode[] = ['DESTINATION_REJECTED', 'ABORTED', 'COPY_STALLED', 'COPY_NOT_CONVERGING'];

export async function secureMigration(input: MigrationInput): Promise<MigrationResult> {
  const opened = openSigned('korora/order', input?.order);
  const vm = parseDocument(VmDocument, input?.vm, 'VM_DOCUMENT_INVALID');
  const { document: order, envelope: signed } = opened;
  const move = { vmId: order.vmId, migrationId: order.migrationId };
  const source = callsOf(order.source);
  const destination = callsOf(order.destination);
  const saga = new Saga();
  const account: Account = new Account(opened, vm, () => patience.nextAction ?? recording.nextAction ?? controls.nextAction);
  const patience = new Patience(order, admitFence, () => account.show());
  const recording = new Recording(order.vmId, () => account.show());
  let abortReason = 'it was cancelled';

  const forward = new CancellationScope();
  setHandler(statusQuery, () => account.status(controls));
  setHandler(abortUpdate, abort, { validator: validateAbort });
  const controls = new Controls({
    order,
    phase: () => account.phase,
    hold: (isHeld, approval) => source.step.holdCopy({ move, isHeld, approval }),
    tune: (change) => source.step.tuneCopy({ move, change }),
    onChange: () => account.show(),
  });
  account.reach('requested');

  try {
    await forward.run(async () => {
      // From the first question on: an order that was refused is not good again.
      saga.undoWith('openSessions', closeSessions);
      await preflight();
      await attest();
      await seal();
      await copy(await prepare());
    });
  } catch (error) {
    // Once it is aborted, whatever breaks first on a host is a consequence.
    account.failures = forward.consideredCancelled ? [failure('ABORTED', { reason: abortReason })] : failuresOf(error, abortReason);
    await CancellationScope.nonCancellable(compensate);
  }
  return await CancellationScope.nonCancellable(conclude);

  async function preflight(): Promise<void> {
    const request = { order: signed, vm };
    const [sourceFacts, destinationFacts] = await allOrReasons([source.step.inspectSource(request).then((facts) => account.noteFacts(facts)), destination.step.inspectDestination(request)]);
    const [first, ...rest] = planMove(order, vm, sourceFacts, destinationFacts);
    if (first) throw new KororaError([first, ...rest]);
    account.reach('admitted');
  }

  async function attest(): Promise<void> {
    const [sourceOffer, destinationOffer] = await allOrReasons([
      source.step.openSession({ order: signed, role: 'source' }),
      destination.step.openSession({ order: signed, role: 'destination' }),
    ]);
    const [sourceEvidence, destinationEvidence] = await allOrReasons([
      source.step.quoteHost({ order: signed, role: 'source', peer: destinationOffer }),
      destination.step.quoteHost({ order: signed, role: 'destination', peer: sourceOffer }),
    ]);
    account.attestation.source = sourceEvidence;
    account.attestation.destination = destinationEvidence;
    const [ofDestination, ofSource] = await allOrReasons([
      source.step.appraisePeer({ order: signed, role: 'source', evidence: destinationEvidence }),
      destination.step.appraisePeer({ order: signed, role: 'destination', evidence: sourceEvidence }),
    ]);
    account.attestation.referenceSets = { source: ofSource.referenceSet, destination: ofDestination.referenceSet };
    account.reach('attested');
  }

  async function seal(): Promise<void> {
    const wrapped = await source.step.wrapSecrets({ order: signed });
    await destination.step.unwrapSecrets({ order: signed, wrapped });
    account.reach('sealed');
  }

  async function prepare() {
    account.isUnderWay = true;
    saga.undoWith('prepare', async () => {
      if (account.accepted) return;
      if (patience.isFenced(order.destination)) return;
      await held(patience.insist(order.destination, () => destination.ensure.settleDestination({ order: signed, reason: why() }), { answers: NOT_HELD }));
    });
    const { port } = await destination.step.prepareDestination({ order: signed, vm });
    account.reach('copying');
    return port;
  }

  /** Three activities at once that meet over the channel: nothing of Temporal lies inside the pause. */
  async function copy(port: number): Promise<void> {
    saga.undoWith('move', settleMove);
    const together = new CancellationScope();
    let firstError: unknown = null;
    const [, handover, verification] = await together.run(() => {
      const started = [
        source.copy.copyMemory({ order: signed, port }),
        source.copy.stopAndCopy({ order: signed, port }),
        destination.copy.verifyImage({ order: signed }),
      ] as const;
      void started[0].then(({ rounds }) => {
        account.rounds = [...rounds];
        account.reach('stopped');
      }, () => undefined);
      for (const one of started) {
        one.catch((error: unknown) => {
          firstError ??= error;
          together.cancel();
        });
      }
      return Promise.allSettled(started);
    });
    keep(handover.status === 'fulfilled' ? handover.value : null, verification.status === 'fulfilled' ? verification.value : null);
    // An answer that a worker repeats may be of another boot than the one that was attested: the source says whether it counts, where the move is settled.
    const isFirstHand = handover.status === 'fulfilled' || account.destination !== null;
    if (account.verdict?.verdict.verdict === 'accepted' && isFirstHand) {
      account.accepted = account.verdict;
      account.reach('activated');
      return;
    }
    throw new KororaError(reasonsOf(firstError));
  }

  /** The destination's own reason first: what the source saw is often only the broken channel. */
  function reasonsOf(error: unknown): readonly [Failure, ...Failure[]] {
    const reasons = failuresOf(error ?? new Error('the move ended without a verdict'), abortReason);
    const said = account.verdict?.verdict.reason;
    // A destination that was told to give up, or whose source gave up, has no reason of its own.
    if (!said || said.startsWith('ABORTED:') || reasons.some((r) => GIVEN_UP.includes(r.code))) return reasons;
    return [failure('DESTINATION_REJECTED', { reason: said }), ...reasons];
  }

  /** Undo of move. The source decides alone where it can; else by what the destination signed, or by an operator's fence. */
  async function settleMove(): Promise<void> {
    const settled = await held(patience.insist(order.source, () => source.ensure.settleSource({ order: signed, reason: why() }), { answers: NOT_HELD }));
    if (settled === 'nothing') return;
    if (settled?.state === 'runs' || settled?.state === 'absent') return noteSource(settled);
    let doubt: Failure | null = null;
    for (;;) {
      if (!account.verdict && !account.succession) hear(await askDestination(doubt));
      const statement = account.verdict ?? account.succession;
      if (statement && 'verdict' in statement && statement.verdict.verdict === 'accepted') account.accepted = statement;
      if (patience.isFenced(order.source)) return account.accepted ? undefined : noteSource(null);
      if (!statement) {
        if (await takeBackByFence()) return;
        continue;
      }
      try {
        const resolved = await patience.insist(order.source, () => source.ensure.resolveSource({ statement }), { answers: NOT_BELIEVED });
        if (account.accepted) {
          account.isRetired = true;
          return;
        }
        if (!account.succession) return noteSource(resolved);
        account.failures = [failure('VM_MOVED_ON', { vm: order.vmId, host: order.destination })];
        return;
      } catch (error) {
        // The answer does not count for the source. It may count after another bundle; or the destination is fenced.
        [doubt] = failuresOf(error, abortReason);
        account.accepted = null;
        hear(null);
      }
    }
  }

  /** `nothing`: the host has nothing of the move. */
  async function held<T>(answer: Promise<T>): Promise<T | 'nothing'> {
    try {
      return await answer;
    } catch (error) {
      if (failuresOf(error, abortReason).every(({ code }) => NOT_HELD.includes(code))) return 'nothing';
      throw error;
    }
  }

  /** Without a verdict the destination is fenced. False where the source takes the fence no more, whose time may be over by the time that it hears of it. */
  async function takeBackByFence(): Promise<boolean> {
    const fence = patience.fences.find(({ document }) => document.host === order.destination);
    if (!fence) throw new Error('neither a verdict nor a fence');
    try {
      noteSource(await patience.insist(order.source, () => source.ensure.fenceDestination({ fence: fence.envelope }), { answers: NO_FENCE }));
      return true;
    } catch (error) {
      if (!failuresOf(error, abortReason).every(({ code }) => NO_FENCE.includes(code))) throw error;
      patience.forget(fence);
      return false;
    }
  }

  /** A source whose hypervisor died meanwhile, or that is fenced: owned there, running nowhere. */
  function noteSource(settled: SourceSettlement | null): void {
    account.isSourceGone = settled === null || settled.state === 'absent';
    if (settled?.state === 'rebooted') account.failures = [...account.failures, failure('VM_REBOOTED', { vm: order.vmId, host: order.source, fenced: order.destination })];
    if (account.isSourceGone) account.failures = [...account.failures, failure('VM_NOT_RUNNING', { vm: order.vmId, host: order.source, status: settled ? (settled.problem ?? settled.state) : 'nothing: it is fenced' })];
  }

  /** A silent destination leaves the move in doubt; no timeout ever resumes the source. Null where it was fenced. */
  async function askDestination(doubt: Failure | null): Promise<DestinationAnswer | null> {
    const asking = () => destination.ensure.settleDestination({ order: signed, reason: why() });
    const settled = await patience.insist(order.destination, asking, { whenSilent: () => account.reach('in-doubt'), doubt });
    if (account.phase === 'in-doubt') account.reach('compensating');
    return settled;
  }

  async function compensate(): Promise<void> {
    account.reach('compensating');
    const [defect] = await saga.unwind();
    // An undo ends by an answer or a fence. One that ended otherwise tells nothing of the VM: the task waits for a build that undoes it.
    if (defect) throw new Error(`the undo of ${defect.step} ended without an answer`, { cause: defect.error });
    const fenced = patience.fences.map(({ document: { host, by, reason } }) => failure('HOST_FENCED', { host, by, reason, vm: order.vmId }));
    account.failures = [...account.failures, ...fenced];
  }

  /** A worker that does not answer has no session any more, or will lose it: nothing to wait for. */
  async function closeSessions(): Promise<void> {
    await Promise.allSettled([
      ...(patience.isFenced(order.source) ? [] : [source.close.closeSession({ order: signed, reason: why() })]),
      ...(patience.isFenced(order.destination) ? [] : [destination.close.closeSession({ order: signed, reason: why() })]),
    ]);
  }

  async function conclude(): Promise<MigrationResult> {
    let closing: Promise<void> | null = null;
    if (account.accepted) {
      account.failures = account.isDestinationGone ? [failure('VM_NOT_RUNNING', { vm: order.vmId, host: order.destination, status: 'absent' })] : [];
      const statement = account.accepted;
      const receipt = askForReceipt('destination', statement);
      if (!account.isRetired && !patience.isFenced(order.source)) await patience.insist(order.source, () => source.ensure.resolveSource({ statement }));
      account.reach('retired');
      await Promise.all([receipt, askForReceipt('source', statement)]);
      closing = closeSessions();
    } else {
      account.reach(account.succession ? 'retired' : account.isUnderWay ? 'source-resumed' : 'refused');
    }
    const evidence = account.evidence({ fences: patience.fences.map(({ envelope, atMs }) => ({ envelope, atMs })), approval: controls.approval, limitsChanges: controls.limitsChanges });
    const [{ path, digest, notes }] = await Promise.all([recording.write(evidence), closing]);
    const result: MigrationResult = {
      migrationId: order.migrationId,
      vmId: order.vmId,
      outcome: evidence.outcome,
      evidencePath: path,
      evidenceDigest: digest,
      notes,
      timings: evidence.timings,
    };
    if (account.failures.length === 0) return result;
    throw toApplicationFailure(account.failures, result);
  }

  /** A host that gives none, having been restarted or being silent, is not waited for: the evidence says so. */
  async function askForReceipt(role: Role, statement: VerdictStatement): Promise<void> {
    if (patience.isFenced(order[role])) return;
    const asked = (role === 'source' ? source : destination).step.giveReceipt({ move, statement });
    await asked.then((given) => account.note(given), () => undefined);
  }

  function keep(handover: Handover | null, verification: Verification | null): void {
    account.source = handover?.timings ?? null;
    account.destination = verification?.timings ?? null;
    hear(verification && { ...verification.statement, isAbsent: verification.isAbsent, manifest: verification.manifest });
  }

  /** The evidence holds what was signed, and the manifest that it names. */
  function hear(answer: DestinationAnswer | null): void {
    const statement = answer && statementIn(answer);
    account.verdict = statement && 'verdict' in statement ? statement : null;
    account.succession = statement && 'succession' in statement ? statement : null;
    const settled = answer && 'verdict' in answer ? answer : null;
    account.manifest = settled?.manifest ?? null;
    account.isDestinationGone = settled?.isAbsent ?? false;
  }

  function validateAbort({ reason }: { readonly reason: string }): void {
    if (typeof reason !== 'string' || reason.length === 0 || reason.length > 500) throw refuse('ORDER_INVALID', { problem: 'reason: 1 to 500 characters' });
    if (!ABORTABLE.includes(account.phase)) throw refuse('PAST_POINT_OF_NO_RETURN', { vm: order.vmId });
  }

  function abort({ reason }: { readonly reason: string }): void {
    abortReason = reason;
    forward.cancel();
  }

  function why(): string {
    return account.failures.map((f) => `${f.code}: ${f.message}`).join('; ') || abortReason;
  }

  /** The other host has to live by it, or its peer's: it says whether an operator signed it who may. */
  function admitFence(fenced: string, fence: Envelope): Promise<void> {
    return (fenced === order.source ? destination : source).step.admitFence({ fence });
  }
}
