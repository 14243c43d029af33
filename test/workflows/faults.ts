/** What goes wrong at a made-up host, and when: one planned fault meets every try of one activity. */
import { type Failure, KororaError } from '../../domain/failures.js';
import { settleable } from '../../domain/settleable.js';
import type { ActivityName, Call, Place } from './stage.js';
import { inTime } from './waits.js';

export type Fault =
  /** With this failure; whether it is tried again is said by the table of failures. Without `times`: at every try. */
  | { readonly kind: 'fails'; readonly failure: Failure; readonly times?: number }
  /** It takes the task, and is heard of no more. `then`: where the try after that waits. */
  | { readonly kind: 'is-silent'; readonly times?: number; readonly then?: Hold }
  | { readonly kind: 'is-held'; readonly hold: Hold }
  /** It is held first. */
  | { readonly kind: 'fails-late'; readonly hold: Hold; readonly failure: Failure };

export interface Planned {
  readonly on: Place;
  readonly activity: ActivityName;
  readonly fault: Fault;
  /** Which of the times that the workflow schedules it, from 0; the first if left out. */
  readonly occurrence?: number;
  /** Before anything is done, which it is if left out; once the source has relinquished; or once the destination has decided. */
  readonly point?: Point;
}
export type Point = 'start' | 'relinquished' | 'decided';

/** An activity that waits for the test, and says meanwhile that it lives. */
export class Hold {
  private readonly arrival = settleable<void>();
  private readonly letGo = settleable<void>();

  /** What a cancellation does: nothing until it is released; or it goes on, and the host makes of it what it does; or it ends. */
  constructor(readonly whenCancelled: 'stays' | 'goes-on' | 'ends' = 'stays') {}

  /** Resolves when an activity has come to it. */
  reached(what: string, lastSeen: () => unknown): Promise<void> {
    return inTime(what, this.arrival.promise, lastSeen);
  }

  release(): void {
    this.letGo.resolve();
  }

  async wait({ cancelled }: Call['context']): Promise<void> {
    this.arrival.resolve();
    if (this.whenCancelled === 'stays') return this.letGo.promise;
    const end = cancelled.catch((error: unknown) => {
      if (this.whenCancelled === 'ends') throw error;
    });
    await Promise.race([this.letGo.promise, end]);
  }
}

/** Heartbeats of one try, until they are stopped. */
export interface Pulse {
  stop(): void;
}

const PULSE_MS = 200;

export function startPulse({ context }: Call): Pulse {
  const timer = setInterval(() => context.heartbeat(), PULSE_MS);
  return { stop: () => clearInterval(timer) };
}

/** Throws where the fault ends the try; returns where the host goes on. `over` ends what is silent for good. */
export async function meet(fault: Fault, { context }: Call, pulse: Pulse, over: Promise<void>): Promise<void> {
  const isPast = 'times' in fault && fault.times !== undefined && context.info.attempt > fault.times;
  if (isPast) return fault.kind === 'is-silent' ? fault.then?.wait(context) : undefined;
  switch (fault.kind) {
    case 'fails':
      throw new KororaError([fault.failure]);
    case 'is-silent':
      pulse.stop();
      await Promise.race([over, context.cancelled]);
      throw new Error('it was silent');
    case 'is-held':
      return fault.hold.wait(context);
    case 'fails-late':
      await fault.hold.wait(context);
      throw new KororaError([fault.failure]);
  }
}
