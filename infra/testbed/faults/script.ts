/** A cell as a script: at which point of the move what is done, and what the worker is answered. */
import { assertNever } from '../../../domain/ids.js';
import type { Cause, Cell } from './cells.js';
import type { Script } from './injector.js';
import type { HostName, Move } from './move.js';
import type { Answer, Point } from './points.js';

export interface ScriptedFault {
  readonly script: Script;
  /** Whether the cell's own fault was, all of it. */
  readonly isInjected: () => boolean;
  /** Whether what had to break first did. */
  readonly isCaused: () => boolean;
  /** Of an abort: the code it was refused with, null where it was taken; undefined where none was tried. */
  readonly abortAnswer: () => string | null | undefined;
  /** After the move: puts right what the cause left, as an operator would. */
  readonly over: () => Promise<void>;
}

/** Happens the first time that a point fits. */
export interface Rule {
  readonly fits: (point: Point) => boolean;
  readonly act: (point: Point) => Promise<Answer>;
  hits: number;
}

export function scriptOf(cell: Cell, move: Move): ScriptedFault {
  let abortAnswer: string | null | undefined;
  const host = cell.on === 'control' ? 'control' : move[cell.on];
  const isHere = (point: Point) => point.kind === cell.kind && point.on === host && point.name === cell.place;
  const before = (act: Rule['act']) => rule((p) => isHere(p) && p.at === 'before', act);
  const after = (act: Rule['act']) => rule((p) => isHere(p) && p.at === 'after', act);
  const killIt = async (): Promise<Answer> => {
    await (host === 'control' ? move.killControl() : move.killWorker(host));
    return 'pass';
  };
  const networkFails = async (): Promise<Answer> => {
    if (cell.fault === 'delayed') move.delayNetwork();
    else if (cell.fault.startsWith('cut')) move.cutNetwork();
    else move.swallowAll();
    return 'pass';
  };
  let secondTry: () => void;
  const triedAgain = new Promise<void>((resolve) => (secondTry = resolve));

  const fencing = fencingOf(move);
  const caused = causeRules(cell.cause, move, fencing.start);
  const own = ownRules();

  function ownRules(): readonly Rule[] {
    switch (cell.fault) {
      case 'fails-before':
        // Forward-only steps are tried without limit: for them a fault is one that passes.
        return [before(async () => (cell.step === 'retire' || cell.step === 'record' ? 'fail-retryable' : 'fail'))];
      case 'reply-lost':
        return [after(async () => 'fail-retryable')];
      case 'undo-fails-once':
        return [before(async () => 'fail-retryable')];
      case 'runs-twice':
      case 'undo-runs-twice':
        return [after(async () => 'twice')];
      case 'heartbeat-lost':
        return [
          before(async () => 'mute'),
          // It stays until Temporal has given it up: then both tries are there at once.
          rule((p) => isHere(p) && p.at === 'before' && p.attempt > 1, async () => {
            secondTry();
            return 'pass';
          }),
          after(async () => {
            await triedAgain;
            return 'pass';
          }),
        ];
      case 'killed-before':
        return [before(killIt)];
      case 'killed-after':
        return [after(killIt)];
      case 'control-killed':
        return [
          before(async () => {
            await move.killControl();
            return 'pass';
          }),
        ];
      case 'aborted':
        return [
          before(async () => {
            abortAnswer = await move.abort();
            return 'pass';
          }),
        ];
      case 'lost':
        return [before(async () => 'fail')];
      case 'cut-before':
      case 'half-open-before':
      case 'delayed':
        return [before(networkFails)];
      case 'cut-after':
      case 'half-open-after':
        return [after(networkFails)];
      default:
        return assertNever(cell.fault);
    }
  }

  return {
    ...following(caused, own),
    isInjected: () => own.every((r) => r.hits > 0),
    abortAnswer: () => abortAnswer,
    async over() {
      move.mendNetwork();
      await fencing.over();
    },
  };
}

export function rule(fits: Rule['fits'], act: Rule['act']): Rule {
  return { fits, act, hits: 0 };
}

/** First what is the cause, then the rest. */
export function following(caused: readonly Rule[], own: readonly Rule[]): Pick<ScriptedFault, 'script' | 'isCaused'> {
  const isCaused = () => caused.every((r) => r.hits > 0);
  return {
    async script(point) {
      const next = [...caused, ...(isCaused() ? own : [])].find((r) => r.hits === 0 && r.fits(point));
      if (!next) return 'pass';
      next.hits += 1;
      return next.act(point);
    },
    isCaused,
  };
}

/** An operator's fence, beside what goes on; it fails where its end is waited for. The destination has power again after it. */
export function fencingOf(move: Move): { readonly start: (host: HostName) => void; readonly over: () => Promise<void> } {
  let fencing: Promise<void> | null = null;
  return {
    start(host) {
      fencing = move.fence(host);
      fencing.catch(() => undefined); // told by over()
    },
    async over() {
      if (!fencing) return;
      await fencing;
      await move.powerOn(move.destination);
    },
  };
}

export function causeRules(cause: Cause, move: Move, startFencing: (host: HostName) => void): readonly Rule[] {
  const at = (kind: Point['kind'], on: string, name: string, when: Point['at']) => (p: Point) => p.kind === kind && p.on === on && p.name === name && p.at === when;
  switch (cause) {
    case null:
      return [];
    case 'wrapping-fails':
      return [rule(at('activity', move.source, 'wrapSecrets', 'before'), async () => 'fail')];
    case 'prepared-in-vain':
      return [rule(at('activity', move.destination, 'prepareDestination', 'after'), async () => 'fail')];
    case 'stop-copy-fails':
      return [rule(at('activity', move.source, 'stopAndCopy', 'before'), async () => 'fail')];
    case 'destination-dies-undecided':
      return [
        rule(at('write', move.destination, 'accept', 'before'), async () => {
          await move.killWorker(move.destination);
          return 'pass';
        }),
      ];
    case 'destination-fenced':
      return [
        rule(at('write', move.destination, 'accept', 'before'), async () => {
          await move.powerOff(move.destination);
          startFencing(move.destination);
          return 'pass';
        }),
      ];
    default:
      return assertNever(cause);
  }
}
