/**
 * The destination of a move, as activities/{attest,prepare,verify}.ts do it. What belongs to one decision and must not be
 * parted (look at the record, then act on the process) is one step, because the host keeps it together
 * (OwnershipStore.hold); everything else may be cut by a crash or delayed.
 */
import type { Draft } from './draft.js';
import type { Move } from './records.js';
import type { Here } from './steps.js';
import { HEARD, IN, OUT, PROCESS, SESSION, STREAM } from './world.js';

export function destinationSteps(here: Here, m: number): void {
  const { layout, records, moves, mistake } = here.setting;
  const { to: b } = moves[m] as Move;
  if (here.get(layout.off(b))) return;
  const [sessionAt, inAt, streamAt, processAt] = [layout.destinationSession(m), layout.in(m), layout.stream(m), layout.process(b)];
  const session = here.get(sessionAt);
  const process = here.get(processAt);
  const stream = here.get(streamAt);
  const record = here.fact(b);
  const epoch = session - SESSION.paired;

  switch (here.get(inAt)) {
    case IN.none:
      if (session === SESSION.none) return;
      here.step('settling', b, 'closes its session', m, (d) => d.endIn(m));
      return here.step('onward', b, 'expects the VM', m, (d) => {
        if (!d.write(b, records.expect(m, epoch))) return false;
        return d.set(inAt, IN.expected);
      });
    case IN.expected:
      return here.step('settling', b, 'starts a waiting copy', m, (d) => {
        const isStillExpected = record.state === 'incoming' && record.move === m;
        if (!isStillExpected && mistake !== 'prepare without a second look') return d.endIn(m);
        d.destroy(b);
        d.set(processAt, PROCESS.waiting);
        return d.set(inAt, IN.listening);
      });
    case IN.listening:
      return fails('gives up listening');
    case IN.receiving:
      if (stream !== STREAM.nothing && process === PROCESS.waiting) {
        here.step('settling', b, 'has loaded the image, paused', m, (d) => {
          d.set(processAt, PROCESS.loaded);
          if (d.get(layout.fresh) & layout.imageBit(m)) d.set(layout.fresh, d.get(layout.fresh) | layout.processBit(b));
        });
      }
      if (process === PROCESS.loaded && (stream === STREAM.manifest || (mistake === 'accept without manifest' && stream === STREAM.image))) accepts();
      return fails('cannot take the image');
    case IN.accepted:
      here.step('settling', b, 'lets the vCPUs run', m, (d) => {
        if (process === PROCESS.loaded || (process === PROCESS.movedOut && mistake === 'shared copy socket')) d.run(b);
        d.set(inAt, IN.activated);
      });
      return here.step('fault', b, 'has accepted, and cannot say whether the vCPUs run', m, (d) => d.set(inAt, IN.owes));
    case IN.owes:
      return here.step('settling', b, 'sees to it that the accepted VM runs', m, (d) => {
        if (mistake === 'a failed activation resumes unasked' || d.fact(b).state === 'owner') resume(d);
        d.endIn(m);
      });
    case IN.activated:
      answers(HEARD.accepted, 'says on the channel that it accepted');
      return here.step('settling', b, 'ends the receiving', m, (d) => d.endIn(m));
    case IN.failing:
      return here.step('settling', b, 'has its rejection on disk', m, (d) => {
        d.write(b, records.reject(m, epoch));
        const decision = records.decision(d.get(layout.record(b)), m, epoch);
        d.set(inAt, decision === 'accepted' ? IN.owes : IN.rejected);
      });
    default:
      answers(HEARD.rejected, 'says on the channel that it rejected');
      return here.step('settling', b, 'discards the copy', m, (d) => {
        if (d.fact(b).state === 'none' || d.fact(b).state === 'retired') d.destroy(b);
        d.endIn(m);
      });
  }

  function accepts(): void {
    if (mistake === 'run before accept') here.step('settling', b, 'lets the vCPUs run before it accepted', m, (d) => d.run(b));
    here.step('settling', b, 'has it on disk that it accepted', m, (d) => d.set(inAt, d.write(b, records.accept(m, epoch)) ? IN.accepted : IN.failing));
  }

  function fails(text: string): void {
    here.step('settling', b, text, m, (d) => d.set(inAt, IN.failing));
  }

  function answers(verdict: number, text: string): void {
    if (here.get(layout.out(m)) !== OUT.manifestSent || here.get(layout.heard(m)) !== HEARD.nothing) return;
    here.step('settling', b, text, m, (d) => d.set(layout.heard(m), verdict));
  }

  function resume(d: Draft): void {
    const now = d.get(processAt);
    if (now === PROCESS.loaded || now === PROCESS.paused || now === PROCESS.movedOut) d.run(b);
  }
}
