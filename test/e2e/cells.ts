/** The cells of the fault matrix in `npm test`, each once: where a worker dies after its effect, and where the reply of an undo is lost, on QEMU; else on the fake hypervisor. */
import { type Cell, allCells } from '../../infra/testbed/faults/cells.js';

const cells = allCells().filter(({ notApplicable }) => notApplicable === null);
const isOnQemu = ({ kind, fault, isUndo }: Cell) => kind === 'activity' && (fault === 'killed-after' || (isUndo && fault === 'reply-lost'));

export const QEMU_CELLS: readonly Cell[] = cells.filter(isOnQemu);
export const FAKE_CELLS: readonly Cell[] = cells.filter((cell) => !isOnQemu(cell));
