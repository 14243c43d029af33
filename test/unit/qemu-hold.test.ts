/** hypervisor/qemu/hold.ts: the numbers of the proof, and that the gate opens by an answer to its last question alone. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createReadGate, marginBytes, readableBytes } from '../../hypervisor/qemu/hold.js';
import { settleable } from '../../domain/settleable.js';

const KIB = 1024;
const MIB = 1024 * KIB;

describe('what may be read', () => {
  it('leaves more than the rest even if every page is zeros', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 44 }), fc.integer({ min: 0, max: 2 ** 40 }), (remaining, kept) => {
        const bytes = readableBytes(remaining, kept);
        const mostPages = Math.floor(bytes / 9);
        expect(bytes === 0 || remaining - mostPages * 4096 >= kept).toBe(true);
      }),
    );
  });

  it('is nothing where the margin is not left, and a 455th of what is left beyond it', () => {
    expect([readableBytes(MIB, MIB), readableBytes(0, MIB)]).toEqual([0, 0]);
    expect(readableBytes(MIB + 4096 * 100, MIB)).toBe(900);
  });

  it('has a margin that is more than fills the socket with zero pages', () => {
    expect(marginBytes(212_992)).toBeGreaterThan((229_376 / 9) * 4096);
    expect(marginBytes(212_992)).toBeLessThan(256 * MIB);
  });
});

describe('the gate', () => {
  function newGate(isHeld: boolean) {
    const questions: ReturnType<typeof settleable<number | null>>[] = [];
    let opened = 0;
    const gate = createReadGate({
      isHeld,
      marginBytes: MIB,
      askRemainingBytes: () => {
        const question = settleable<number | null>();
        questions.push(question);
        return question.promise;
      },
      onOpen: () => (opened += 1),
    });
    return { gate, questions, opened: () => opened };
  }
  const enoughFor = (bytes: number) => MIB + (bytes * 4096) / 9;

  it('is open while nothing is held, and asks nothing then', async () => {
    const { gate, questions } = newGate(false);
    gate.took(10 * MIB);
    expect([gate.isOpen, await gate.ask(), questions.length]).toEqual([true, false, 0]);
  });

  it('that is held opens for what the answer allows, asks again, and stays shut once too little is left', async () => {
    const { gate, questions, opened } = newGate(true);
    expect(gate.isOpen).toBe(false);
    const asked = gate.ask();
    questions[0]?.resolve(enoughFor(100 * KIB + 1));
    expect([await asked, gate.isOpen, opened()]).toEqual([true, true, 1]);
    gate.took(30 * KIB);
    expect([gate.isOpen, questions.length]).toEqual([true, 1]);
    gate.took(30 * KIB);
    expect([gate.isOpen, questions.length]).toEqual([false, 2]);
    questions[1]?.resolve(enoughFor(60 * KIB));
    await questions[1]?.promise;
    expect([gate.isOpen, opened()]).toEqual([false, 1]);
    gate.release();
    expect([gate.isOpen, opened()]).toEqual([true, 2]);
  });

  it('says that a hold is not proven where no more is left than must be', async () => {
    const { gate, questions } = newGate(false);
    const hold = gate.hold(5 * MIB);
    questions[0]?.resolve(6 * MIB);
    expect([await hold, gate.isHeld, gate.isOpen]).toEqual([false, true, false]);
  });

  it('does not go by an answer from before it was released and held again', async () => {
    const { gate, questions } = newGate(true);
    const early = gate.ask();
    gate.release();
    const late = gate.hold(0);
    questions[0]?.resolve(enoughFor(MIB));
    expect([await early, gate.isOpen]).toEqual([false, false]);
    questions[1]?.resolve(null);
    expect([await late, gate.isOpen]).toEqual([false, false]);
  });
});
