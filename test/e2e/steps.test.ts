/** At every commit, on real QEMU: a fault in each step of a move, and what must be so after it (infra/testbed/faults/checks.ts: promises P5 and P8 above all). */
import { STEP_CELLS, triesEach } from './cells.js';

triesEach(STEP_CELLS, 'qemu', 2);
