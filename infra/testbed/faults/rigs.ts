/** Several rigs as one: a trial takes the first that is free, in the order of asking. */
import { closeReplays } from './history.js';
import { type Rig, createRig } from './rig.js';
import type { RigParts } from './stage.js';

export function createRigs(parts: RigParts, count: number): Rig {
  const rigs = Array.from({ length: count }, () => createRig(parts));
  const free = [...rigs];
  const waiting: ((rig: Rig) => void)[] = [];
  const giveBack = (rig: Rig) => {
    const next = waiting.shift();
    if (next) next(rig);
    else free.push(rig);
  };
  return {
    async run(trial) {
      const rig = free.shift() ?? (await new Promise<Rig>((resolve) => waiting.push(resolve)));
      try {
        return await rig.run(trial);
      } finally {
        giveBack(rig);
      }
    },
    async close() {
      await Promise.all(rigs.map((rig) => rig.close()));
      await closeReplays();
    },
  };
}
