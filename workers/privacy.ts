/**
 * What a worker makes is for its owner alone. The umask holds for whatever it starts, too: tpm2-tools, swtpm and QEMU write files
 * of their own. (QEMU that goes into the background sets another one; its driver mends that.)
 */
import { stat } from 'node:fs/promises';
import { refuse } from '../domain/failures.js';
import type { HostId } from '../domain/ids.js';

const OF_OTHERS = 0o077;

/** Of the whole process, from now on: for processes of Kororā, before they write anything. */
export function keepFilesPrivate(): void {
  process.umask(OF_OTHERS);
}

/** Of folders that are there. FOLDER_NOT_PRIVATE, where others could look into one, or own it. */
export async function assertPrivate(hostId: HostId, folders: readonly string[]): Promise<void> {
  for (const folder of folders) {
    const { mode, uid } = await stat(folder);
    const problem = (mode & OF_OTHERS) !== 0 ? `its mode is ${(mode & 0o777).toString(8)}` : uid !== process.getuid?.() ? `it is of user ${uid}` : null;
    if (problem !== null) throw refuse('FOLDER_NOT_PRIVATE', { folder, host: hostId, problem });
  }
}
