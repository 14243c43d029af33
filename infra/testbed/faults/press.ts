/** A button as a script: at which point of the move it is pressed, and what must break first so that the move comes there. */
import { settleable } from '../../../domain/settleable.js';
import type { Button } from './buttons.js';
import type { Script } from './injector.js';
import type { HostName, Move } from './move.js';
import type { Point } from './points.js';
import { type Rule, causeRules } from './script.js';

export interface Pressing<T> {
  readonly script: Script;
  /** What pressing gave; the step that it was pressed in goes on then. */
  readonly pressed: Promise<T>;
  readonly isCaused: () => boolean;
  /** After the move: what the cause left, as an operator would put it right. */
  readonly over: () => Promise<void>;
}

export function pressingOf<T>({ place, on, moment, cause }: Button, move: Move, press: () => Promise<T>): Pressing<T> {
  const pressed = settleable<T>();
  const givenUp = settleable<void>();
  const rule = (fits: Rule['fits'], act: Rule['act']): Rule => ({ fits, act, hits: 0 });
  const host = on === 'control' ? 'control' : move[on];
  let fencing: Promise<void> | null = null;
  const startFencing = (fenced: HostName) => {
    fencing = move.fence(fenced);
    fencing.catch(() => undefined); // told by over()
  };
  const caused = cause === 'destination-off' ? [rule((p) => isWrite(p, move.destination, 'accept') && p.at === 'before', async () => {
    await move.powerOff(move.destination);
    return 'pass';
  })] : causeRules(cause, move, rule, startFencing);
  // A source that has given the VM away is held until the destination, which nobody waits for any more, has given up: nobody knows then who runs it.
  const isDoubted = place === 'relinquish';
  const own = typeof moment === 'string' ? [] : [
    rule((p) => p.kind === moment.kind && p.on === host && p.name === place && p.at === moment.at, async () => {
      await press().then(pressed.resolve, pressed.reject);
      if (isDoubted) await givenUp.promise;
      return 'pass';
    }),
    ...(isDoubted ? [rule((p) => isWrite(p, move.destination, 'reject') && p.at === 'after', async () => {
      givenUp.resolve();
      return 'pass';
    })] : []),
  ];
  pressed.promise.catch(() => undefined); // told by whoever waits for it
  return {
    async script(point) {
      const next = [...caused, ...(caused.every((r) => r.hits > 0) ? own : [])].find((r) => r.hits === 0 && r.fits(point));
      if (!next) return 'pass';
      next.hits += 1;
      return next.act(point);
    },
    pressed: pressed.promise,
    isCaused: () => caused.every((r) => r.hits > 0),
    async over() {
      if (!fencing) return;
      await fencing;
      await move.powerOn(move.destination);
    },
  };
}

function isWrite(point: Point, on: string, name: string): boolean {
  return point.kind === 'write' && point.on === on && point.name === name;
}
