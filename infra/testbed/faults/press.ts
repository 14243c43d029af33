/** A button as a script: at which point of the move it is pressed, and what must break first so that the move comes there. */
import { settleable } from '../../../domain/settleable.js';
import type { Button } from './buttons.js';
import type { Script } from './injector.js';
import type { Move } from './move.js';
import type { Point } from './points.js';
import { causeRules, fencingOf, following, rule } from './script.js';

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
  const host = on === 'control' ? 'control' : move[on];
  const fencing = fencingOf(move);
  const caused = cause === 'destination-off' ? [rule((p) => isWrite(p, move.destination, 'accept') && p.at === 'before', async () => {
    await move.powerOff(move.destination);
    return 'pass';
  })] : causeRules(cause, move, fencing.start);
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
  return { ...following(caused, own), pressed: pressed.promise, over: fencing.over };
}

function isWrite(point: Point, on: string, name: string): boolean {
  return point.kind === 'write' && point.on === on && point.name === name;
}
