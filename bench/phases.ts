/** Where the time of a Kororā move goes, from its history and its evidence. Numbers in, tables out. */
import { type ActivitySpan, gapsOf, temporalMsOf } from './history.js';
import { type CellResult, type CpuPlace, type KororaMove, nameOf } from './moves.js';
import type { PartCost } from './parts.js';
import { fixed, median, spread, table } from './table.js';

/** Each activity: how long it waited for a worker, and ran. `from` and `to` count from the workflow's start. */
export function activityTable(moves: readonly KororaMove[]): string {
  const byActivity = groupBy(
    moves.flatMap((move) => move.history.spans.map((span) => ({ ...span, zeroMs: move.history.startedAtMs }))),
    ({ activity, on }) => `${activity}@${on}`,
  );
  const rows = [...byActivity.values()].map((spans) => {
    const [{ activity, on } = { activity: '', on: '' }] = spans;
    const of = (value: (span: ActivitySpan & { readonly zeroMs: number }) => number) => spans.map(value);
    return [
      activity,
      on,
      fixed(median(of((s) => s.startedAtMs - s.zeroMs)), 0),
      fixed(median(of((s) => s.completedAtMs - s.zeroMs)), 0),
      spread(of((s) => s.startedAtMs - s.scheduledAtMs)),
      spread(of((s) => s.completedAtMs - s.startedAtMs)),
    ];
  });
  return table(['activity', 'on', 'from', 'to', 'waited for a worker', 'ran'], rows, [0, 1]);
}

/** Stretches without a running activity. */
export function gapTable(moves: readonly KororaMove[]): string {
  const byPlace = groupBy(moves.flatMap(({ history }) => gapsOf(history)), ({ between }) => between);
  // Two activities that run at once may end in either order: rare places are summed up.
  const [common, rare] = partition([...byPlace], ([, gaps]) => gaps.length * 2 > moves.length);
  const rows = common.map(([between, gaps]) => [between, String(gaps.length), spread(gaps.map((g) => g.ms))]);
  const rareMs = rare.flatMap(([, gaps]) => gaps).reduce((sum, g) => sum + g.ms, 0) / moves.length;
  if (rare.length > 0) rows.push([`${rare.length} rarer places, mean of their sum`, String(moves.length), fixed(rareMs, 0)]);
  rows.push(['all of a move', String(moves.length), spread(moves.map(({ history }) => temporalMsOf(history)))]);
  return table(['no activity runs between', 'n', 'ms'], rows);
}

/** The move as a whole in consecutive parts: each row a median, so that the sum is near the total and not equal to it. */
export function shareTable(moves: readonly KororaMove[]): string {
  const total = median(moves.map((m) => m.totalMs));
  const row = (name: string, of: (move: KororaMove) => number) => {
    const values = moves.map(of);
    return [name, spread(values), `${fixed((100 * median(values)) / total, 0)} %`];
  };
  const ended = (move: KororaMove, activity: string) => Math.max(...spansOf(move, activity).map((s) => s.completedAtMs));
  const began = (move: KororaMove, activity: string) => Math.min(...spansOf(move, activity).map((s) => s.startedAtMs));
  const pausedAt = (move: KororaMove) => sourceOf(move).pausedAtMs;
  const runningAt = (move: KororaMove) => destinationOf(move).runningAtMs;
  return table(
    ['part of a move', 'ms', 'share'],
    [
      row('admit: until both hosts are inspected', (m) => ended(m, 'inspectDestination') - m.history.startedAtMs),
      row('attest: until both hosts are appraised', (m) => ended(m, 'appraisePeer') - ended(m, 'inspectDestination')),
      row('seal: until the secrets are unwrapped', (m) => ended(m, 'unwrapSecrets') - ended(m, 'appraisePeer')),
      row('prepare: until the destination waits', (m) => ended(m, 'prepareDestination') - ended(m, 'unwrapSecrets')),
      row('until stopAndCopy runs', (m) => began(m, 'stopAndCopy') - ended(m, 'prepareDestination')),
      row('connect and copy rounds, until the pause', (m) => pausedAt(m) - began(m, 'stopAndCopy')),
      row('pause: STOP until RESUME', (m) => m.downtimeMs),
      row('sign the verdict, report it', (m) => ended(m, 'verifyImage') - runningAt(m)),
      row('retire the source, close sessions', (m) => ended(m, 'closeSession') - ended(m, 'verifyImage')),
      row('record, end', (m) => m.history.completedAtMs - ended(m, 'closeSession')),
      ['the whole move', spread(moves.map((m) => m.totalMs)), '100 %'],
      row('of it Temporal: no activity runs', (m) => temporalMsOf(m.history)),
      row('before it, in the client: ask all hosts', (m) => m.orderingMs),
    ],
  );
}

/** Source and destination share the clock of one machine here; all but STOP and RESUME have a resolution of 1 ms. */
export function pauseTable(cells: readonly CellResult[]): string {
  const row = (name: string, of: (move: KororaMove) => number) => [name, ...cells.map(({ korora }) => spread(korora.map(of), 1))];
  const src = sourceOf;
  const dst = destinationOf;
  return table(
    ['part of the pause, ms', ...cells.map(({ cell }) => nameOf(cell))],
    [
      row('STOP → relinquished, durably', (m) => src(m).relinquishedAtMs - src(m).pausedAtMs),
      row('→ last byte sent into the channel', (m) => src(m).lastByteAtMs - src(m).relinquishedAtMs),
      row('→ all of it and the manifest at the destination', (m) => dst(m).manifestAtMs - src(m).lastByteAtMs),
      row('→ loaded', (m) => dst(m).loadedAtMs - dst(m).manifestAtMs),
      row('→ compared, accepted durably', (m) => dst(m).decidedAtMs - dst(m).loadedAtMs),
      row('→ RESUME', (m) => dst(m).runningAtMs - dst(m).decidedAtMs),
      row('STOP → RESUME', (m) => m.downtimeMs),
      row('RESUME → verdict at the source', (m) => src(m).verdictAtMs - dst(m).runningAtMs),
    ],
  );
}

/** CPU time of the processes around QEMU from the order to the result. */
export function cpuTable(moves: readonly KororaMove[]): string {
  const places = Object.keys(moves[0]?.cpu ?? {}) as CpuPlace[];
  const rows = places.map((place) => [place, spread(moves.map((m) => m.cpu[place].ownMs)), spread(moves.map((m) => m.cpu[place].toolsMs))]);
  return table(['CPU time of a move, ms', 'itself', 'tools it ran'], rows);
}

export function partTable(parts: readonly PartCost[]): string {
  return table(['single step, by itself', 'n', 'ms'], parts.map(({ name, ms }) => [name, String(ms.length), spread(ms)]));
}

function spansOf(move: KororaMove, activity: string): readonly ActivitySpan[] {
  return move.history.spans.filter((span) => span.activity === activity);
}

function sourceOf({ evidence }: KororaMove) {
  const { source } = evidence.timings;
  if (!source) throw new Error('the evidence has no timings of the source');
  return source;
}

function destinationOf({ evidence }: KororaMove) {
  const { destination } = evidence.timings;
  if (!destination) throw new Error('the evidence has no timings of the destination');
  return destination;
}

function groupBy<T>(values: readonly T[], keyOf: (value: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const value of values) groups.set(keyOf(value), [...(groups.get(keyOf(value)) ?? []), value]);
  return groups;
}

function partition<T>(values: readonly T[], isFirst: (value: T) => boolean): [T[], T[]] {
  return [values.filter(isFirst), values.filter((value) => !isFirst(value))];
}
