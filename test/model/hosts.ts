/**
 * What may happen to a host at any time: the workflow's requests that only ensure something (activities/settle.ts,
 * claims.ts, reconcile.ts), in any order and however often, as a workflow that obeys no plan could send them; the
 * operator's start and fence; a worker that dies, a host that loses power.
 */
import type { Draft } from './draft.js';
import { VERDICTS } from '../../domain/manifest.js';
import { LAST_EPOCH, type Move } from './records.js';
import type { Here } from './steps.js';
import { IN, LATE_DESTROY, LATE_RESUME, LATE_START, OUT, PROCESS, SESSION, isRunning, saidBit } from './world.js';

export interface Faults {
  /** Hosts whose worker may die. */
  readonly workers: readonly number[];
  /** Hosts that may lose power. */
  readonly power: readonly number[];
  /** Hosts whose record of before the handover may come back with the folder that it is in. */
  readonly folder?: readonly number[];
}

export function hostSteps(here: Here, h: number, faults: Faults): void {
  const { layout, records, moves, mistake } = here.setting;
  const processAt = layout.process(h);
  const process = here.get(processAt);
  const record = here.fact(h);
  if (here.get(layout.off(h))) return here.step('settling', h, 'has power again, and its worker starts', -1, (d) => d.set(layout.off(h), 0));

  const hasMemory = moves.some(({ from, to }, m) => (from === h && here.get(layout.sourceSession(m)) !== SESSION.none) || (to === h && here.get(layout.destinationSession(m)) !== SESSION.none));
  const isTended = moves.some(({ from, to }, m) => (from === h && here.get(layout.out(m)) !== OUT.none) || (to === h && here.get(layout.in(m)) !== IN.none));
  if (hasMemory && faults.workers.includes(h)) here.step('fault', h, 'its worker dies and starts again', -1, (d) => d.loseMemory(h));
  if (record.state === 'relinquished' && faults.folder?.includes(h)) {
    here.step('fault', h, 'its worker dies, and its record of before the handover is put back', record.move, (d) => {
      d.loseMemory(h);
      d.set(layout.record(h), records.offered(record));
    });
  }
  if (faults.power.includes(h)) {
    here.step('fault', h, 'loses power', -1, (d) => {
      d.loseMemory(h);
      d.set(processAt, PROCESS.absent);
      d.set(layout.off(h), 1);
    });
  }
  untended();
  resuming();
  destroying();
  starting();
  reconciling();

  /** Hypervisors whose copy no worker tends any more. */
  function untended(): void {
    const isOutTended = moves.some(({ from }, m) => from === h && here.get(layout.out(m)) >= OUT.copying);
    if (isOutTended) return;
    if (process === PROCESS.copying || process === PROCESS.held || process === PROCESS.draining) {
      here.step('settling', h, 'its hypervisor sees that the copy broke, and runs the VM on by itself', -1, (d) => d.run(h));
    }
    if (process === PROCESS.draining) here.step('settling', h, 'its hypervisor ends the copy that nobody reads', -1, (d) => d.set(processAt, PROCESS.movedOut));
  }

  /** `ensureRunning` of settleDestination, resolveSource, fenceDestination: an owner, no copy under way. */
  function resuming(): void {
    const isStopped = process === PROCESS.paused || process === PROCESS.movedOut || process === PROCESS.loaded;
    const allowed = record.state === 'owner' || (mistake === 'anyone resumes an offering VM' && record.mayRun);
    if (mistake === 'look, then resume') {
      if (allowed) here.step('settling', h, 'sees in its record that the VM may run', -1, (d) => d.set(layout.late(h), d.get(layout.late(h)) | LATE_RESUME));
      if (isStopped && here.get(layout.late(h)) & LATE_RESUME) here.step('settling', h, 'resumes the VM, having looked at its record before', -1, (d) => d.run(h));
    } else if (allowed && isStopped) here.step('settling', h, 'is asked to let the VM run, and resumes it', -1, (d) => d.run(h));
  }

  /** `discard`. */
  function destroying(): void {
    const allowed = record.state === 'none' || record.state === 'retired';
    const isThere = process !== PROCESS.absent;
    if (mistake === 'look, then discard') {
      if (allowed && isThere) here.step('settling', h, 'sees in its record that the copy is surplus', -1, (d) => d.set(layout.late(h), d.get(layout.late(h)) | LATE_DESTROY));
      if (isThere && here.get(layout.late(h)) & LATE_DESTROY) here.step('settling', h, 'discards the copy, having looked at its record before', -1, (d) => d.destroy(h));
    } else if (allowed && isThere) here.step('settling', h, 'discards a surplus copy', -1, (d) => d.destroy(h));
  }

  /** startVm: first every host is asked; the host itself looks again, at any time later. */
  function starting(): void {
    const isEligible = (record.state === 'owner' || record.state === 'none') && process === PROCESS.absent;
    if (!isEligible) return;
    if (here.get(layout.late(h)) & LATE_START) {
      here.step('settling', h, 'starts the VM', -1, (d) => {
        if (record.state === 'none' && !d.write(h, records.create())) return false;
        return d.boot(h);
      });
    } else if (mistake === 'start without asking' || isUnclaimed()) {
      here.step('settling', h, 'is asked to start the VM; every other host answered that it holds nothing of it', -1, (d) => d.set(layout.late(h), d.get(layout.late(h)) | LATE_START));
    }
  }

  /** Of the epoch that `host` came to own by a move, as its record shows. */
  function claimed(m: number, host: number, outcome: 'accepted' | 'fenced', claim: (m: number, epoch: number) => number): void {
    const epoch = records.wonBy(here.fact(host), m, outcome);
    if (epoch !== null) hears(`hears the signed claim of host-${'abc'.charAt(host)} to epoch ${epoch}`, m, claim(m, epoch));
  }

  function hears(text: string, m: number, event: number): void {
    const before = here.get(layout.record(h));
    const after = records.after(before, event);
    if (after !== null && after !== before) here.step('settling', h, text, m, (d) => d.write(h, event));
  }

  function isUnclaimed(): boolean {
    for (let other = 0; other < layout.hosts; other++) {
      if (other === h) continue;
      const { state } = here.fact(other);
      if (here.get(layout.off(other)) || (state !== 'none' && state !== 'retired')) return false;
    }
    return true;
  }

  function reconciling(): void {
    moves.forEach(({ from, to }, m) => {
      if (to === h) claimed(m, from, 'fenced', records.fenceClaim);
      if (from === h) claimed(m, to, 'accepted', records.orderClaim);
      if (to !== h && from !== h) return;
      for (let epoch = 2; epoch <= LAST_EPOCH; epoch++) for (const event of [records.strangersFenceClaim(m, epoch), records.strangersOrderClaim(m, epoch)]) hears('hears the claim of a host that the move does not name', m, event);
    });
    if (isTended || record.move === -1) return;
    if (record.state === 'relinquished' && isRunning(process)) here.step('settling', h, 'pauses a VM that it gave away', record.move, (d) => d.set(processAt, PROCESS.paused));
    if (record.state === 'incoming') here.step('settling', h, 'rejects a move whose copy lost its worker', record.move, (d) => d.write(h, records.reject(record.move, record.epoch)));
  }
}

/** Requests about one move. */
export function workflowSteps(here: Here, m: number): void {
  const { layout, records, moves, mistake } = here.setting;
  const { from: a, to: b } = moves[m] as Move;
  const [source, destination] = [here.fact(a), here.fact(b)];
  const said = here.get(layout.said(m));
  const isUp = (h: number) => here.get(layout.off(h)) === 0;
  const isMine = (state: string) => source.state === state && source.move === m;

  if (isUp(a)) {
    settleSource();
    for (let epoch = 2; epoch <= LAST_EPOCH; epoch++) for (const verdict of VERDICTS) {
      if (said & saidBit(verdict, epoch)) hears(`gets the signed verdict that it was ${verdict}`, records.verdict(m, epoch, verdict));
      else if (mistake === 'a verdict is believed unproven' && verdict === 'rejected') hears('gets a verdict that nobody signed', records.verdict(m, epoch, verdict));
    }
    hears('gets the verdict of a host that the move does not name', records.strangersVerdict(m, source.epoch + 1));
    hears('is told by the operator that a host is off that the move does not name', records.strangersFence(m));
  }
  if (isUp(b)) for (let epoch = 2; epoch <= LAST_EPOCH; epoch++) if (isKnown(epoch)) settleDestination(epoch);
  const isFenceTrue = !isUp(b) || mistake === 'fence a host that is on';
  if (isMine('relinquished') && isUp(a) && isFenceTrue) fence();

  function settleSource(): void {
    if (here.get(layout.out(m)) !== OUT.none && mistake !== 'settle beside a running copy') return; // it waits until the copy has ended
    const process = here.get(layout.process(a));
    const isLost = isMine('offering') && !isRunning(process) && mistake !== 'an offer whose VM does not run is withdrawn';
    if (isLost) changes(a, 'is asked to settle, and cannot tell whether it gave the VM away', records.relinquish(m));
    const mayWithdraw = (isMine('offering') && !isLost) || source.state === 'owner' || mistake === 'withdraw what was relinquished';
    if (mayWithdraw) changes(a, 'is asked to settle, and withdraws', records.withdraw(m, source.epoch + 1));
  }

  function hears(text: string, event: number): void {
    changes(a, text, event);
  }

  function settleDestination(epoch: number): void {
    const decision = records.decision(here.get(layout.record(b)), m, epoch);
    if (decision === 'undecided') return changes(b, `is asked about epoch ${epoch}, and rejects`, records.reject(m, epoch));
    if (decision === 'superseded') return isUp(a) ? hears('hears that its destination owned a later epoch', records.succession(m, destination.ownedEpoch)) : undefined;
    if (said & saidBit(decision, epoch)) return;
    if (destination.state === 'owner' && here.get(layout.process(b)) === PROCESS.loaded) return; // it lets the VM run first
    here.step('settling', b, `signs that it ${decision} epoch ${epoch}`, m, (d) => d.set(layout.said(m), said | saidBit(decision, epoch)));
  }

  /** Whether the workflow can have been told this epoch: by the source's record, or by a session. */
  function isKnown(epoch: number): boolean {
    return epoch === source.epoch + 1 || epoch + SESSION.paired === here.get(layout.sourceSession(m)) || epoch + SESSION.paired === here.get(layout.destinationSession(m));
  }

  function fence(): void {
    here.step('fence', a, `is told by the operator that host-${'abc'.charAt(b)} is off for good, and takes the VM back`, m, (d) => {
      if (!d.write(a, records.fence(m))) return d.broke('a-fence-ends-the-doubt');
      d.set(layout.fenced, d.get(layout.fenced) | (1 << b));
      // The newest state there is now, by decree.
      return d.set(layout.fresh, d.get(layout.fresh) | layout.processBit(a));
    });
  }

  function changes(h: number, text: string, event: number): void {
    const before = here.get(layout.record(h));
    const after = records.after(before, event);
    if (after === null || after === before) return;
    here.step('settling', h, text, m, (d: Draft) => d.write(h, event));
  }
}
