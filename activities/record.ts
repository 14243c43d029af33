/** Phase record, on a control worker: writes the evidence file. Touches no host. */
import { mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { openSigned } from '../domain/authority.js';
import { digestOf } from '../domain/canonical.js';
import type { Evidence } from '../domain/evidence.js';
import type { Sha256Hex } from '../domain/ids.js';

export function createRecording({ evidenceDir }: { readonly evidenceDir: string }) {
  /** Writes `<evidenceDir>/<vmId>-<migrationId>.json`, atomically, for its owner alone; a second call writes the same file again. */
  async function recordEvidence({ evidence }: { readonly evidence: Evidence }): Promise<{ readonly path: string; readonly digest: Sha256Hex }> {
    const { vmId, migrationId } = openSigned('korora/order', evidence.order).document;
    const path = join(evidenceDir, `${vmId}-${migrationId}.json`);
    await mkdir(evidenceDir, { recursive: true, mode: 0o700 });
    const file = await open(`${path}.new`, 'w', 0o600);
    try {
      await file.writeFile(`${JSON.stringify(evidence, null, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${path}.new`, path);
    return { path, digest: digestOf(evidence) };
  }
  return { recordEvidence };
}
