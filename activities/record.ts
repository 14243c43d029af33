/**
 * Phase record, on a control worker: writes the evidence file. Touches no host.
 *
 * Evidence is created and never replaced: a file is named by its move and its content, comes to its name whole, by a link that
 * fails where there is one already, and stays. Another evidence of the same move, as of a workflow that was reset, is kept beside it.
 */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { link, mkdir, open, readdir, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { openSigned } from '../domain/authority.js';
import { digestOf } from '../domain/canonical.js';
import type { Evidence } from '../domain/evidence.js';
import { refuse } from '../domain/failures.js';
import type { Sha256Hex } from '../domain/ids.js';

export interface RecordedEvidence {
  readonly path: string;
  readonly digest: Sha256Hex;
  /** Files of the same move that say something else. */
  readonly differsFrom: readonly string[];
}

/** Of the digest, in the name of a file: 64 bits. */
const NAME_DIGITS = 16;

export function createRecording({ evidenceDir }: { readonly evidenceDir: string }) {
  /** Writes `<evidenceDir>/<vmId>-<migrationId>-<digest>.json` for its owner alone; the same evidence again changes nothing. EVIDENCE_NAME_TAKEN. */
  async function recordEvidence({ evidence }: { readonly evidence: Evidence }): Promise<RecordedEvidence> {
    const { vmId, migrationId } = openSigned('korora/order', evidence.order).document;
    const digest = digestOf(evidence);
    const ofTheMove = `${vmId}-${migrationId}-`;
    const name = `${ofTheMove}${digest.slice(0, NAME_DIGITS)}.json`;
    const made = await mkdir(evidenceDir, { recursive: true, mode: 0o700 });
    if (made !== undefined) await syncNames(resolve(made), resolve(evidenceDir));
    await create(name, Buffer.from(`${JSON.stringify(evidence, null, 2)}\n`));
    const isOther = (other: string) => other !== name && other.startsWith(ofTheMove) && /^[0-9a-f]{16}\.json$/.test(other.slice(ofTheMove.length));
    const differsFrom = (await readdir(evidenceDir)).filter(isOther).sort().map((other) => join(evidenceDir, other));
    return { path: join(evidenceDir, name), digest, differsFrom };
  }

  /** Whoever comes second, at once or later, finds the same file. */
  async function create(name: string, content: Buffer): Promise<void> {
    const path = join(evidenceDir, name);
    const aside = `.${name}.`;
    const written = join(evidenceDir, `${aside}${randomBytes(6).toString('hex')}`);
    const file = await open(written, 'wx', 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    // What was written aside is gone where another writer of the same file was done first. Where that one is gone as well, another try writes it.
    await link(written, path).catch(unlessCode('EEXIST', 'ENOENT'));
    const found = await readOwn(path);
    if (!found?.equals(content)) throw refuse('EVIDENCE_NAME_TAKEN', { path });
    await sync(evidenceDir);
    const halfWritten = (await readdir(evidenceDir)).filter((other) => other.startsWith(aside));
    await Promise.all(halfWritten.map((other) => unlink(join(evidenceDir, other)).catch(unlessCode('ENOENT'))));
  }

  return { recordEvidence };
}

/** Follows no link, and waits for no pipe; null where something else than a file is there, ENOENT where nothing is. */
async function readOwn(path: string): Promise<Buffer | null> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(unlessCode('ELOOP', 'ENXIO'));
  if (!file) return null;
  try {
    return (await file.stat()).isFile() ? await file.readFile() : null;
  } finally {
    await file.close();
  }
}

/** The folders in which the names of `folder` stand, and of those above it down from `made`. */
async function syncNames(made: string, folder: string): Promise<void> {
  for (let named = folder; named.length >= made.length; named = dirname(named)) await sync(dirname(named));
}

async function sync(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function unlessCode(...codes: readonly string[]): (error: NodeJS.ErrnoException) => void {
  return (error) => {
    if (!codes.includes(error.code ?? '')) throw error;
  };
}
