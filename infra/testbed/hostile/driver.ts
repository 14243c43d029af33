/** Drives one world: gives turns until nobody wants one, lets honest people ask and the attacker overhear, and ends what waits for ever as a timeout does. */
import type { Ask, CancelAll } from './honest.js';
import { Terminated } from './honest.js';
import type { Loot } from './loot.js';
import type { Arguments, Call, World } from './world.js';

interface Asking {
  readonly call: Call;
  readonly giveUp: (error: Error) => void;
}

export interface Person {
  readonly ask: Ask;
  readonly cancelAll: CancelAll;
}

export class Driver {
  readonly #asking = new Set<Asking>();
  /** After how many turns honest people asked for each step last; of other moments, as `come` has it. */
  readonly cameAt = new Map<string, number>();

  constructor(
    readonly world: World,
    readonly loot: Loot,
    /** Called after every turn. */
    private readonly afterTurn: () => void = () => undefined,
    /** Called where nothing moves any more, before patience is lost: whether something may move now. */
    private readonly whenStuck: () => boolean = () => false,
  ) {}

  /** Somebody honest, whose workflow is terminated before it asks for more than `patience` things. */
  person(patience = Number.POSITIVE_INFINITY): Person {
    const own = new Set<Asking>();
    let left = patience;
    const ask = async (host: string, name: string, ...args: Arguments) => {
      if (left <= 0) throw new Terminated();
      left -= 1;
      this.loot.asked(host, name, args[0]);
      this.come(name);
      const call = this.world.call(host as never, name, args);
      const lost = new Promise<never>((_, reject) => {
        const asking: Asking = { call, giveUp: reject };
        own.add(asking);
        this.#asking.add(asking);
        void call.answer.catch(() => undefined).then(() => {
          own.delete(asking);
          this.#asking.delete(asking);
        });
      });
      lost.catch(() => undefined);
      const answer = await Promise.race([call.answer, lost]);
      this.loot.answered(answer);
      return answer;
    };
    return { ask: ask as Ask, cancelAll: () => own.forEach(({ call }) => call.cancel()) };
  }

  come(moment: string): void {
    this.cameAt.set(moment, this.world.turns.given);
  }

  /** Until `work` is done. Rejects where it never will be. */
  async until<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const done = () => void (isDone = true);
    work.then(done, done);
    for (let waited = 0; !isDone; ) {
      if (await this.turn()) continue;
      if (isDone) break;
      if (this.whenStuck()) continue;
      if (this.#asking.size === 0 || (waited += 1) > 50) throw new Error('it waits for what never comes');
      this.#loseHeart(waited);
    }
    return work;
  }

  /** Whether there was one to give. */
  async turn(): Promise<boolean> {
    const what = await this.world.turns.next();
    this.afterTurn();
    return what !== null;
  }

  async untilQuiet(): Promise<void> {
    while (await this.turn());
  }

  /** What is asked has had its time: first it is cancelled; then whoever asked does not wait any more. */
  #loseHeart(times: number): void {
    for (const asking of [...this.#asking]) {
      if (times % 2 === 1) {
        asking.call.cancel();
        continue;
      }
      this.#asking.delete(asking);
      asking.giveUp(new Error('TIMED_OUT'));
    }
  }
}

/** Clocks stand still while `work` goes on: heartbeats and time limits would come at the machine's own pace. */
export async function withoutClocks<T>(work: () => Promise<T>): Promise<T> {
  const { setInterval, setTimeout, clearInterval, clearTimeout } = globalThis;
  const never = () => ({ unref: () => undefined, ref: () => undefined, hasRef: () => false });
  Object.assign(globalThis, { setInterval: never, setTimeout: never, clearInterval: () => undefined, clearTimeout: () => undefined });
  try {
    return await work();
  } finally {
    Object.assign(globalThis, { setInterval, setTimeout, clearInterval, clearTimeout });
  }
}
