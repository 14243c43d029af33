/**
 * The fault matrix on real QEMU: at every commit a fault in each step of a move and what must be so after it (infra/testbed/faults/checks.ts: promises P5 and
 * P8 above all); of the other cells a share, a share of Temporal's buttons at the handover, and deaths of the orchestrator at random moments. All of it, with the product's limits: `npm run matrix`.
 */
import { CELLS, HANDOVER_BUTTONS, STEP_CELLS, deathsOfThisRun, triesEach } from './cells.js';

triesEach([...STEP_CELLS, ...CELLS.filter((cell) => !STEP_CELLS.includes(cell)), ...HANDOVER_BUTTONS, ...deathsOfThisRun(1)], 'qemu', 2);
