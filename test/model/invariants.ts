/** What must hold in every world, and what each rule means; docs/exploration.md has the same list. */
import type { Setting } from './draft.js';
import { IN, OUT, PROCESS, STREAM, type World, isRunning } from './world.js';

export const INVARIANTS = {
  'one-runs': 'at most one host’s vCPUs run',
  'one-may-run': 'at most one record lets the VM run, but for earlier epochs whose VM does not run, on hosts that were fenced and on hosts whose offer came back',
  'runs-by-record': 'vCPUs run only where the record lets them, or at a source whose copy broke before its manifest left',
  'verified-before-it-runs': 'vCPUs run at a destination only after its record says that it accepted',
  'given-before-taken': 'a destination accepts only what is given up on its source’s disk, as long as the source works on the move',
  'settled-is-final': 'a settled move is never taken up again at its epoch or below, nor settled otherwise, and what was owned stays owned',
  'one-owner-an-epoch': 'no two hosts ever own one epoch, and no host takes up an epoch at or below one that it owned',
  'one-verdict': 'no move gets both verdicts signed for one epoch, as long as its source could believe one',
  'nothing-lost': 'a copy that resumes has the newest state of the guest, and no copy that may run is destroyed',
  'a-fence-ends-the-doubt': 'a source in doubt takes the VM back when its destination is fenced',
  'a-way-back': 'from everywhere, once all hosts are back, some steps of settling lead to one owner that runs, and to nobody else who holds anything',
} as const;
export type InvariantName = keyof typeof INVARIANTS;

/** The first that this world breaks by itself; what only a step shows is in draft.ts, what only the graph shows in search.ts. */
export function brokenIn(world: World, { layout, records, moves, only }: Setting): InvariantName | null {
  const isLookedAt = (name: InvariantName) => only === null || only === name;
  const get = (place: number) => world[place] as number;
  let running = 0;
  let owner = -1;
  let ownerEpoch = 0;
  for (let h = 0; h < layout.hosts; h++) {
    const fact = records.factOf(get(layout.record(h)));
    if (fact.mayRun && fact.epoch > ownerEpoch) [owner, ownerEpoch] = [h, fact.epoch];
    if (!isRunning(get(layout.process(h)))) continue;
    running += 1;
    if (isLookedAt('verified-before-it-runs') && (fact.state === 'none' || fact.state === 'incoming')) return 'verified-before-it-runs';
    const mayHaveLeft = fact.move !== -1 && get(layout.stream(fact.move)) === STREAM.manifest && get(layout.in(fact.move)) <= IN.activated;
    const isBroken = fact.state === 'relinquished' && !mayHaveLeft;
    if (isLookedAt('runs-by-record') && !fact.mayRun && !isBroken) return 'runs-by-record';
  }
  if (running > 1 && isLookedAt('one-runs')) return 'one-runs';
  for (let h = 0; h < layout.hosts; h++) {
    if (h === owner || !isLookedAt('one-may-run')) continue;
    const fact = records.factOf(get(layout.record(h)));
    const isFenced = get(layout.fenced) & (1 << h) && get(layout.process(h)) === PROCESS.absent;
    const isOfferBack = fact.state === 'offering' && !isRunning(get(layout.process(h))) && get(layout.out(fact.move)) === OUT.none;
    if (fact.mayRun && !((isFenced || isOfferBack) && fact.epoch < ownerEpoch)) return 'one-may-run';
  }
  for (let m = 0; m < moves.length; m++) {
    const said = get(layout.said(m));
    if (isLookedAt('one-verdict') && said & (said >> records.lastEpoch)) return 'one-verdict';
  }
  return null;
}

/** Everything is in order: one owner runs the VM, nobody else holds a record of it, or a move. */
export function isSettled(world: World, { layout, records }: Setting): boolean {
  let owners = 0;
  for (let h = 0; h < layout.hosts; h++) {
    const { state } = records.factOf(world[layout.record(h)] as number);
    const process = world[layout.process(h)] as number;
    if (world[layout.off(h)]) return false;
    if (state === 'owner' && isRunning(process)) owners += 1;
    else if ((state !== 'none' && state !== 'retired') || process !== PROCESS.absent) return false;
  }
  return owners === 1;
}
