/**
 * The world that a step is making: copied from the one before, changed by a few verbs that mean the same wherever they
 * are used (write a record, let vCPUs run, end a process, lose what is in memory), and checked by `finish`. A breach of an
 * invariant that only the change itself shows is noted here; what a world alone shows is in invariants.ts.
 */
import type { InvariantName } from './invariants.js';
import type { MistakeName } from './mistakes.js';
import type { Fact, Move, Records } from './records.js';
import { IN, type Layout, OUT, PROCESS, SESSION, STREAM, type World, isRunning, ownerBits, ownerOf } from './world.js';

const SETTLED_BITS = 4;

export interface Setting {
  readonly layout: Layout;
  readonly records: Records;
  readonly moves: readonly Move[];
  /** Whether a move begins only once the one before it is over, as workflows of one VM do; else all at any time. */
  readonly isInTurn: boolean;
  readonly mistake: MistakeName | null;
  /** The one invariant that is looked at; null: all. */
  readonly only: InvariantName | null;
}

export class Draft {
  readonly layout: Layout;
  readonly records: Records;
  private changed: World = [];
  /** Name of the first invariant that this step broke. */
  breach: InvariantName | null = null;

  constructor(readonly setting: Setting) {
    this.layout = setting.layout;
    this.records = setting.records;
  }

  get world(): World {
    return this.changed;
  }

  restart(world: World): this {
    this.changed = world.slice();
    this.breach = null;
    return this;
  }

  get(place: number): number {
    return this.changed[place] as number;
  }

  set(place: number, value: number): void {
    this.changed[place] = value;
  }

  fact(h: number): Fact {
    return this.records.factOf(this.get(this.layout.record(h)));
  }

  /** Applies an event and writes the record. False where it was refused: then nothing changed. */
  write(h: number, event: number): boolean {
    const place = this.layout.record(h);
    const before = this.get(place);
    const after = this.records.after(before, event);
    if (after === null) return false;
    this.rememberAcceptance(event);
    if (after !== before) {
      this.set(place, after);
      this.remember(h, this.records.factOf(before), this.records.factOf(after));
    }
    this.rememberRejection(h, event);
    return true;
  }

  /** Lets the vCPUs run that a process holds. */
  run(h: number): void {
    this.set(this.layout.process(h), PROCESS.running);
    if (!(this.get(this.layout.fresh) & this.layout.processBit(h))) this.broke('nothing-lost');
  }

  /** A process from the disk alone: what a memory held is nobody's any more. */
  boot(h: number): void {
    this.set(this.layout.process(h), PROCESS.running);
    this.set(this.layout.fresh, this.layout.processBit(h));
  }

  destroy(h: number): void {
    const place = this.layout.process(h);
    if (this.get(place) !== PROCESS.absent && this.fact(h).mayRun) this.broke('nothing-lost');
    this.set(place, PROCESS.absent);
    // Who was receiving into it sees it end.
    this.setting.moves.forEach(({ to }, m) => {
      const at = this.get(this.layout.in(m));
      if (to === h && (at === IN.listening || at === IN.receiving)) this.set(this.layout.in(m), IN.failing);
    });
  }

  /** The worker of `h` is gone: sessions, keys and channels with it. */
  loseMemory(h: number): void {
    this.setting.moves.forEach(({ from, to }, m) => {
      if (from === h) this.endOut(m);
      if (to === h) this.endIn(m);
    });
    this.set(this.layout.late(h), 0);
  }

  endOut(m: number): void {
    this.set(this.layout.out(m), OUT.none);
    this.set(this.layout.sourceSession(m), SESSION.none);
    this.set(this.layout.heard(m), 0);
  }

  endIn(m: number): void {
    this.set(this.layout.in(m), IN.none);
    this.set(this.layout.destinationSession(m), SESSION.none);
    this.set(this.layout.stream(m), STREAM.nothing);
  }

  broke(invariant: InvariantName): void {
    if (this.setting.only === null || this.setting.only === invariant) this.breach ??= invariant;
  }

  /** Who runs has the newest state, alone; what is gone holds none. */
  finish(): void {
    const { layout, setting } = this;
    let fresh = this.get(layout.fresh);
    for (let h = 0; h < layout.hosts; h++) {
      const process = this.get(layout.process(h));
      if (isRunning(process)) fresh = layout.processBit(h);
    }
    for (let h = 0; h < layout.hosts; h++) {
      const process = this.get(layout.process(h));
      if (process === PROCESS.absent || process === PROCESS.waiting) fresh &= ~layout.processBit(h);
    }
    setting.moves.forEach((_, m) => {
      if (this.get(layout.stream(m)) === STREAM.nothing) fresh &= ~layout.imageBit(m);
    });
    this.set(layout.fresh, fresh);
    // A verdict on a move that its source has settled changes nothing any more.
    setting.moves.forEach(({ from }, m) => {
      const fact = this.fact(from);
      if (fact.isSettled[m] || (fact.state === 'retired' && fact.move === m)) this.set(layout.said(m), 0);
    });
  }

  private remember(h: number, before: Fact, after: Fact): void {
    const { layout } = this;
    if (after.ownedEpoch < before.ownedEpoch) this.broke('settled-is-final');
    if (after.mayRun || after.state === 'relinquished') {
      const owners = this.get(layout.owners);
      const owner = ownerOf(owners, after.epoch);
      if (owner === -1) this.set(layout.owners, owners | ownerBits(h, after.epoch));
      else if (owner !== h) this.broke('one-owner-an-epoch');
    }
    if (after.state === 'incoming' && after.epoch <= before.ownedEpoch) this.broke('one-owner-an-epoch');
    this.setting.moves.forEach((_, m) => this.rememberMove(h, m, before, after));
    if (after.state === 'retired' || after.state === 'none') this.set(layout.fenced, this.get(layout.fenced) & ~(1 << h));
  }

  /** Per move: how it was settled here last, and the epoch that it would have made or made. */
  private rememberMove(h: number, m: number, before: Fact, after: Fact): void {
    const known = this.settlement(h, m);
    const isUnderWay = (fact: Fact) => fact.move === m && fact.state !== 'retired';
    const makes = after.state === 'incoming' ? after.epoch : after.epoch + 1;
    if (isUnderWay(after) && !isUnderWay(before) && makes <= known.epoch) this.broke('settled-is-final');
    const settled = this.records.settlement(after, m);
    if (!settled) return;
    if (settled.epoch === known.epoch && settled.isAccepted !== known.isAccepted) this.broke('settled-is-final');
    this.settle(h, m, settled);
  }

  private rememberAcceptance(event: number): void {
    const m = this.records.acceptedBy(event);
    if (m === null) return;
    const source = this.fact((this.setting.moves[m] as Move).from);
    if (source.state === 'offering' && source.move === m && this.get(this.layout.out(m)) !== OUT.none) this.broke('given-before-taken');
  }

  /** That a host refused a move for good counts, whether its record says so or not. */
  private rememberRejection(h: number, event: number): void {
    const rejected = this.records.rejectedBy(event);
    if (rejected && this.settlement(h, rejected.move).epoch < rejected.epoch) this.settle(h, rejected.move, { epoch: rejected.epoch, isAccepted: false });
  }

  private settlement(h: number, m: number): { readonly epoch: number; readonly isAccepted: boolean } {
    const bits = this.get(this.layout.settled(h)) >> (SETTLED_BITS * m);
    return { epoch: bits & 7, isAccepted: (bits & 8) !== 0 };
  }

  private settle(h: number, m: number, { epoch, isAccepted }: { readonly epoch: number; readonly isAccepted: boolean }): void {
    const place = this.layout.settled(h);
    const others = this.get(place) & ~(15 << (SETTLED_BITS * m));
    this.set(place, others | ((epoch | (isAccepted ? 8 : 0)) << (SETTLED_BITS * m)));
  }
}
