/**
 * A share of the fault matrix, also of Temporal's buttons, with the fake hypervisor in QEMU's place: hosts' TPMs, channel, records, workers and Temporal are real.
 * It guards the orchestration; no promise rests on it: the same cells on QEMU are those of cells-qemu.test.ts and `npm run matrix`.
 */
import { BUTTONS, CELLS, triesEach } from './cells.js';

triesEach([...CELLS, ...BUTTONS], 'fake', 2);
