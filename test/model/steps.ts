/** What a step of the exploration is, and how the four files of steps say one. */
import { Draft, type Setting } from './draft.js';
import type { InvariantName } from './invariants.js';
import type { Fact } from './records.js';
import type { World } from './world.js';

/**
 * `onward`: something new begins. `settling`: what a move that stands still needs to end. `fault`: something breaks.
 * `fence`: the operator's word. Only `settling` counts as a way back.
 */
export type StepKind = 'onward' | 'settling' | 'fault' | 'fence';

export interface Taken {
  readonly kind: StepKind;
  /** "host-a" or "the operator". */
  readonly who: number;
  readonly text: string;
  /** -1 where it is of no move. */
  readonly move: number;
}

/** Where a step begins: reads the world before, and offers what may follow. */
export class Here {
  world: World = [];
  private readonly draft: Draft;

  constructor(
    readonly setting: Setting,
    private readonly follow: (next: World, taken: Taken, breach: InvariantName | null) => void,
  ) {
    this.draft = new Draft(setting);
  }

  get(place: number): number {
    return this.world[place] as number;
  }

  fact(h: number): Fact {
    return this.setting.records.factOf(this.get(this.setting.layout.record(h)));
  }

  /** `change` says false where the step cannot be taken after all. */
  step(kind: StepKind, who: number, text: string, move: number, change: (draft: Draft) => unknown): void {
    const draft = this.draft.restart(this.world);
    if (change(draft) === false) return;
    draft.finish();
    this.follow(draft.world, { kind, who, text, move }, draft.breach);
  }
}
