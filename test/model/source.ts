/**
 * The source of a move, as activities/{attest,seal,copy,outgoing-move}.ts do it: every wait may fail at any time, a
 * durable write and what follows it are two steps, and a worker that is slow is one whose steps come late.
 */
import type { Draft } from './draft.js';
import { LAST_EPOCH, type Move } from './records.js';
import type { Here } from './steps.js';
import { HEARD, IN, OUT, PROCESS, SESSION, STREAM } from './world.js';

export function sourceSteps(here: Here, m: number): void {
  const { layout, records, moves, mistake } = here.setting;
  const { from: a, to: b } = moves[m] as Move;
  if (here.get(layout.off(a))) return;
  const [sessionAt, outAt, processAt] = [layout.sourceSession(m), layout.out(m), layout.process(a)];
  const session = here.get(sessionAt);
  const out = here.get(outAt);
  const process = here.get(processAt);
  const record = here.fact(a);
  const isMine = (state: string) => record.state === state && record.move === m;

  switch (out) {
    case OUT.none:
      if (session === SESSION.none) {
        if (record.state !== 'owner' || record.isSettled[m] || record.epoch > LAST_EPOCH - 2) return;
        const epoch = mistake === 'reuse an epoch' ? record.epoch : record.epoch + 1;
        return here.step('onward', a, `opens a session, for epoch ${epoch}`, m, (d) => d.set(sessionAt, epoch));
      }
      here.step('settling', a, 'closes its session', m, (d) => d.endOut(m));
      if (session < SESSION.paired) return sealed(session);
      if (process !== PROCESS.running && mistake !== 'a VM that does not run is offered') return;
      return here.step('onward', a, 'offers the VM', m, (d) => {
        if (mistake !== 'act before the record' && !d.write(a, records.offer(m, session - SESSION.paired))) return false;
        return d.set(outAt, OUT.offered);
      });
    case OUT.offered:
      if (process === PROCESS.running && here.get(layout.in(m)) === IN.listening && isCopySocketFree()) {
        here.step('onward', a, 'connects, and its hypervisor starts to copy', m, (d) => {
          d.set(outAt, OUT.copying);
          d.set(processAt, PROCESS.copying);
          d.set(layout.in(m), IN.receiving);
        });
      }
      return failBeforeHandover();
    case OUT.copying:
      if (process === PROCESS.copying) {
        here.step('onward', a, 'is paused, the tail is held', m, (d) => {
          d.set(outAt, OUT.held);
          d.set(processAt, PROCESS.held);
        });
      }
      return failBeforeHandover();
    case OUT.held:
      if (process === PROCESS.held) {
        here.step('onward', a, 'lets the tail go, and starts to write that it relinquished', m, (d) => {
          d.set(outAt, OUT.releasing);
          d.set(processAt, PROCESS.draining);
        });
      }
      return failBeforeHandover();
    case OUT.releasing:
      return releasing();
    case OUT.broken:
      relinquishLands();
      if (process === PROCESS.running) here.step('settling', a, 'stops the VM that its hypervisor resumed', m, (d) => d.set(processAt, PROCESS.paused));
      return here.step('settling', a, 'ends the copy', m, (d) => {
        if (d.get(processAt) === PROCESS.draining) d.run(a);
        d.endOut(m);
      });
    case OUT.manifestSent:
      if (mistake === 'resume when the channel breaks after the manifest') here.step('settling', a, 'resumes the VM, since the channel broke', m, (d) => d.run(a));
      if (mistake === 'resume on a timeout') here.step('settling', a, 'resumes the VM, since no verdict came in time', m, (d) => d.run(a));
      if (here.get(layout.heard(m)) !== HEARD.nothing) {
        const isAccepted = here.get(layout.heard(m)) === HEARD.accepted;
        here.step('settling', a, isAccepted ? 'hears on the channel that it was accepted' : 'hears on the channel that it was rejected', m, (d) => {
          const isApplied = d.write(a, records.verdict(m, record.epoch + 1, isAccepted ? 'accepted' : 'rejected'));
          if (isApplied && !isAccepted) d.set(outAt, OUT.rejected);
          else d.endOut(m);
        });
      }
      return here.step('settling', a, 'stops to wait for the verdict', m, (d) => d.endOut(m));
    case OUT.rejected:
      return here.step('settling', a, 'resumes the VM after the rejection', m, (d) => {
        if (d.fact(a).state === 'owner') resume(d);
        d.endOut(m);
      });
    case OUT.takingBack:
      return here.step('settling', a, 'lets the VM run on', m, (d) => {
        if (record.state !== 'owner' && !isMine('offering')) return d.endOut(m);
        resume(d);
        return d.set(outAt, OUT.withdrawing);
      });
    default:
      return here.step('settling', a, 'withdraws its offer', m, (d) => {
        d.write(a, records.withdraw(m, record.epoch + 1));
        d.endOut(m);
      });
  }

  /** The destination opens its session and attests in one step: one that is open and alone can do nothing. */
  function sealed(epoch: number): void {
    const destination = here.fact(b);
    if (here.get(layout.off(b)) || here.get(layout.destinationSession(m)) !== SESSION.none || destination.isSettled[m]) return;
    if (destination.state !== 'none' && destination.state !== 'retired') return;
    here.step('onward', a, 'and the destination attest, the secrets are sealed', m, (d) => {
      d.set(sessionAt, SESSION.paired + epoch);
      d.set(layout.destinationSession(m), SESSION.paired + epoch);
    });
  }

  function releasing(): void {
    relinquishLands();
    if (process === PROCESS.draining) {
      here.step('settling', a, 'has sent the whole image, its hypervisor says completed', m, (d) => {
        d.set(processAt, PROCESS.movedOut);
        if (d.get(layout.in(m)) !== IN.receiving || d.get(layout.stream(m)) !== STREAM.nothing) return;
        d.set(layout.stream(m), STREAM.image);
        if (d.get(layout.fresh) & layout.processBit(a)) d.set(layout.fresh, d.get(layout.fresh) | layout.imageBit(m));
      });
      here.step('fault', a, 'loses the copy; its hypervisor resumes the VM by itself', m, (d) => {
        d.set(outAt, OUT.broken);
        d.run(a);
      });
    }
    here.step('fault', a, 'loses the channel', m, (d) => d.set(outAt, OUT.broken));
    // It was written, even where a verdict or a fence has replaced it since.
    const isDurable = (!isMine('offering') && record.state !== 'owner') || record.isSettled[m] || mistake === 'manifest before relinquish';
    const isComplete = process !== PROCESS.draining || mistake === 'manifest before completed';
    if (isDurable && isComplete) {
      here.step('onward', a, 'sends the manifest', m, (d) => {
        d.set(outAt, OUT.manifestSent);
        if (d.get(layout.in(m)) === IN.receiving) d.set(layout.stream(m), STREAM.manifest);
      });
    }
  }

  function relinquishLands(): void {
    if (isMine('relinquished')) return;
    here.step('settling', a, 'has it on disk that it relinquished', m, (d) => {
      if (mistake === 'act before the record') d.write(a, records.offer(m, session - SESSION.paired));
      if (!d.write(a, records.relinquish(m))) d.set(outAt, OUT.broken);
    });
  }

  function failBeforeHandover(): void {
    here.step('settling', a, 'ends the copy before the handover', m, (d) => {
      d.set(outAt, OUT.takingBack);
      if (process === PROCESS.copying || process === PROCESS.held) d.run(a);
    });
  }

  function resume(d: Draft): void {
    if (d.get(processAt) !== PROCESS.absent && d.get(processAt) !== PROCESS.waiting) d.run(a);
  }

  /** QEMU's second monitor takes one client, and each copy holds it from its beginning to its end. */
  function isCopySocketFree(): boolean {
    if (mistake === 'shared copy socket') return true;
    return moves.every(({ from, to }, other) => {
      if (other === m) return true;
      const [theirOut, theirIn] = [here.get(layout.out(other)), here.get(layout.in(other))];
      const isOut = from === a && theirOut >= OUT.copying && theirOut <= OUT.manifestSent;
      const isIn = to === a && theirIn >= IN.listening && theirIn <= IN.activated;
      return !isOut && !isIn;
    });
  }
}
