/** A share of the fault matrix on real QEMU, and deaths of the orchestrator at random moments. All of it, with the product's limits: `npm run matrix`. */
import { CELLS, STEP_CELLS, deathsOfThisRun, triesEach } from './cells.js';

triesEach([...CELLS.filter((cell) => !STEP_CELLS.includes(cell)), ...deathsOfThisRun(1)], 'qemu', 2);
