/**
 * How old the record of the fault matrix is: which cells ran at a commit that the code which they guard was changed after.
 * By itself: `node dist/infra/testbed/faults/age.js` says how many, as `npm test` does at its end.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { type Button, allButtons } from './buttons.js';
import { type Cell, allCells } from './cells.js';
import type { MatrixRecord, RecordedCell } from './report.js';

export const RECORD_FILE = 'docs/fault-matrix.json';

/** Whatever a cell breaks: the workflow goes on from there, by the words and rules of the domain, on workers. */
const ALWAYS = ['workflows', 'domain', 'workers', 'temporal', 'activities/edge.ts', 'activities/services.ts', 'activities/session.ts', 'activities/admission.ts'];
const SETTLING = ['activities/settle.ts', 'activities/statements.ts', 'activities/fencing.ts', 'hypervisor/port.ts', 'hypervisor/qemu', 'host', 'tpm'];
const COPYING = ['activities/copy.ts', 'activities/outgoing-move.ts', 'activities/verify.ts', 'hypervisor/port.ts', 'hypervisor/qemu', 'channel', 'host'];

/** What stands behind each activity, beside ALWAYS. */
const BEHIND: Readonly<Record<string, readonly string[]>> = {
  inspectSource: ['activities/preflight.ts', 'activities/disks.ts', 'activities/networks.ts', 'hypervisor/qemu', 'host'],
  inspectDestination: ['activities/preflight.ts', 'activities/disks.ts', 'activities/networks.ts', 'hypervisor/qemu', 'host'],
  openSession: ['activities/attest.ts', 'channel', 'tpm'],
  closeSession: ['activities/attest.ts', 'channel', 'tpm'],
  quoteHost: ['activities/attest.ts', 'activities/event-log.ts', 'tpm'],
  appraisePeer: ['activities/attest.ts', 'tpm'],
  wrapSecrets: ['activities/seal.ts', 'activities/vtpm-keys.ts', 'tpm', 'host'],
  unwrapSecrets: ['activities/seal.ts', 'activities/vtpm-keys.ts', 'tpm', 'host'],
  prepareDestination: ['activities/prepare.ts', 'activities/disks.ts', 'activities/vtpm-keys.ts', 'hypervisor/port.ts', 'hypervisor/qemu', 'tpm', 'channel', 'host'],
  copyMemory: COPYING,
  stopAndCopy: [...COPYING, ...SETTLING],
  verifyImage: [...COPYING, ...SETTLING],
  settleDestination: SETTLING,
  settleSource: [...SETTLING, 'activities/outgoing-move.ts'],
  resolveSource: SETTLING,
  fenceDestination: SETTLING,
  giveReceipt: ['activities/receipts.ts', 'activities/statements.ts', 'tpm'],
  recordEvidence: ['activities/record.ts'],
};

/** Files and folders. Throws for an activity that the table does not know. */
export function guardedBy({ kind, place, name }: Pick<Cell | Button, 'kind' | 'place' | 'name'>): readonly string[] {
  if (kind === 'button') return ANYWHERE;
  if (kind === 'write') return [...ALWAYS, ...SETTLING, ...COPYING];
  if (kind === 'message') return [...ALWAYS, ...COPYING];
  const behind = BEHIND[place];
  if (!behind) throw new Error(`${name}: say in age.ts which code stands behind ${place}`);
  return [...new Set([...ALWAYS, ...behind])];
}

/** The death of an orchestrator may come anywhere; and a run that begins again comes past everything. */
const ANYWHERE = [...ALWAYS, 'activities', 'hypervisor/port.ts', 'hypervisor/qemu', 'host', 'tpm', 'channel'];

export interface History {
  /** The last commit that changed one of these; null where none did. */
  lastChange(paths: readonly string[]): Promise<string | null>;
  /** Whether `commit` has `change` in it; false also where there is no such commit here. */
  has(commit: string, change: string): Promise<boolean>;
}

export interface OldCell {
  readonly name: string;
  readonly why: 'never run' | 'failed' | 'its files were not committed' | 'the code was changed since';
}

/** Of the cells that can be and the deaths on record. */
export async function oldCells(rows: readonly RecordedCell[], cells: readonly (Cell | Button)[], history: History): Promise<readonly OldCell[]> {
  const recorded = new Map(rows.map((row) => [row.name, row]));
  const asked: { readonly name: string; readonly row: RecordedCell | undefined; readonly paths: readonly string[] }[] = [
    ...cells.filter(({ notApplicable }) => notApplicable === null).map((cell) => ({ name: cell.name, row: recorded.get(cell.name), paths: guardedBy(cell) })),
    ...rows.filter(({ kind }) => kind === 'orchestrator').map((row) => ({ name: row.name, row, paths: ANYWHERE })),
  ];
  const changes = new Map<string, Promise<string | null>>();
  const holds = new Map<string, Promise<boolean>>();
  const old = await Promise.all(asked.map(async ({ name, row, paths }): Promise<OldCell | null> => {
    if (!row) return { name, why: 'never run' };
    if (row.problems.length > 0) return { name, why: 'failed' };
    if (row.commit.endsWith('+')) return { name, why: 'its files were not committed' };
    const change = await once(changes, paths.join(' '), () => history.lastChange(paths));
    if (change === null || (await once(holds, `${row.commit} ${change}`, () => history.has(row.commit, change)))) return null;
    return { name, why: 'the code was changed since' };
  }));
  return old.filter((cell) => cell !== null);
}

function once<T>(known: Map<string, Promise<T>>, key: string, ask: () => Promise<T>): Promise<T> {
  const asked = known.get(key) ?? ask();
  known.set(key, asked);
  return asked;
}

/** Of the repository in `folder`. */
export function gitHistory(folder: string): History {
  const git = (...args: string[]) => promisify(execFile)('git', args, { cwd: folder });
  return {
    lastChange: async (paths) => (await git('log', '-1', '--format=%H', '--', ...paths)).stdout.trim() || null,
    has: (commit, change) => git('merge-base', '--is-ancestor', change, commit).then(() => true, () => false),
  };
}

/** One sentence for people, and how to mend it. */
export function ageReport(record: Pick<MatrixRecord, 'cells'>, old: readonly OldCell[]): string {
  const dates = record.cells.map(({ date }) => date).sort();
  const all = `fault matrix on record (${RECORD_FILE}, ${dates[0]} to ${dates.at(-1)})`;
  if (old.length === 0) return `${all}: no cell is older than the last change of the code that it guards`;
  const counted = [...new Set(old.map(({ why }) => why))].map((why) => `${old.filter((cell) => cell.why === why).length} ${why}`);
  const known = new Set([...record.cells, ...old].map(({ name }) => name)).size;
  return `${all}: ${old.length} of ${known} cells were not run since the last change of the code that they guard (${counted.join('; ')}).\n  \`npm run matrix -- --older --record\` runs those again.`;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const record = JSON.parse(await readFile(RECORD_FILE, 'utf8')) as MatrixRecord;
  process.stdout.write(`${ageReport(record, await oldCells(record.cells, [...allCells(), ...allButtons()], gitHistory('.')))}\n`);
}
