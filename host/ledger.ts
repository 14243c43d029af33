/**
 * Whether an ownership record is the last that this host wrote of its VM, or one that came back from a backup. Every record is of a
 * generation; the ledger beside them names the generation of each VM; and the ledger itself is good only while it agrees with a
 * counter in the host's TPM, which no backup of a disk brings back. Decides nothing about who may run a VM.
 *
 *   a new generation:   intent in the ledger ─► the counter goes up ─► the record is written ─► the ledger names it
 *   the counter is      as the ledger says            all went well, or the intent came to nothing
 *                       one more, and there is        the worker died on the way: the record is of one generation or of the other
 *                       an intent
 *                       anything else                 the ledger is not the last one: every record is in doubt
 */
import { dirname } from 'node:path';
import { z } from 'zod';
import { parseDocumentOf, parseJson } from '../domain/documents.js';
import { refuse } from '../domain/failures.js';
import { type HostId, type Sha256Hex, VmId, recordOf } from '../domain/ids.js';
import { type ShownLedger, ledgerDigestOf } from '../domain/survey.js';
import type { MonotonicCounter } from '../tpm/port.js';
import type { HostAccess } from './port.js';

const Count = z.int().min(0);

const LedgerDocument = z.strictObject({
  version: z.literal(1),
  /** Of the TPM, when this was written. */
  counter: Count,
  /** Of each VM whose record is known to be the last. */
  generations: recordOf(VmId, Count),
  /** Begun, and not known to be finished. */
  intent: z.strictObject({ vmId: VmId, generation: Count }).nullable(),
  /** What was found, where records that `generations` does not name are not to be believed: those that are missing, too. */
  doubt: z.string().nullable(),
});
type LedgerDocument = Readonly<z.infer<typeof LedgerDocument>>;

export interface Ledger {
  /** Reads a record while none is renewed. `problem` is null where it is the last of its VM. 0 is the generation of one that is not there. */
  judge<R extends { readonly generation: number }>(vmId: VmId, read: () => Promise<R>): Promise<{ readonly record: R; readonly problem: string | null }>;
  /** What is wrong with the records of this host as a whole; null where nothing is. */
  doubt(): Promise<string | null>;
  /** Has the VM's record written with a new generation. */
  renew<T>(vmId: VmId, write: (generation: number) => Promise<T>): Promise<T>;
  /** What an operator signs for to have all records that `readAll` finds believed as they are. */
  show(readAll: ReadAll): Promise<ShownLedger>;
  /** Believes them. REINSTATEMENT_STALE, unless `signedFor` is the digest of that still. */
  reinstate(readAll: ReadAll, signedFor: Sha256Hex): Promise<void>;
  /** At a host's enrolment. No effect where there is a ledger. */
  begin(): Promise<void>;
}

/** `unreadable`: VMs whose records cannot be read; they stay in doubt. */
export type ReadAll = () => Promise<Pick<ShownLedger, 'records' | 'unreadable'>>;

/** `generationOn`: of the VM's record on disk. */
export function createLedger(
  access: HostAccess,
  { hostId, file, counter, generationOn }: { readonly hostId: HostId; readonly file: string; readonly counter: MonotonicCounter; readonly generationOn: (vmId: VmId) => Promise<number> },
): Ledger {
  let current: LedgerDocument | null = null;
  let last: Promise<unknown> = Promise.resolve();

  async function write(next: LedgerDocument): Promise<LedgerDocument> {
    await access.ensureDirectory(dirname(file));
    const checked = parseDocumentOf(LedgerDocument, next, 'HOST_CONFIG_INVALID', { file });
    await access.writeFileDurably(file, `${JSON.stringify(checked, null, 2)}\n`);
    return (current = checked);
  }

  async function opened(): Promise<LedgerDocument> {
    if (current) return current;
    const [content, value] = [await access.readFile(file), await counter.read()];
    if (content === null) return write(inDoubt(value ?? (await counter.raise()), 'there is no ledger of them'));
    const found = parseDocumentOf(LedgerDocument, parseJson(content.toString('utf8'), (problem, cause) => refuse('HOST_CONFIG_INVALID', { file, problem }, cause)), 'HOST_CONFIG_INVALID', { file });
    if (value === null) return write(inDoubt(await counter.raise(), `the TPM lacks the counter, which stood at ${found.counter}`));
    if (value === found.counter) return (current = { ...found, intent: null });
    if (found.intent && value === found.counter + 1) return write(await finished(found, found.intent, value));
    return write(inDoubt(value, `the counter of the TPM is at ${value}, and their ledger is of ${found.counter}`));
  }

  async function finished(found: LedgerDocument, { vmId, generation }: NonNullable<LedgerDocument['intent']>, value: number): Promise<LedgerDocument> {
    const isWritten = (await generationOn(vmId)) === generation;
    return { ...found, counter: value, intent: null, generations: isWritten ? { ...found.generations, [vmId]: generation } : found.generations };
  }

  /** Of all VMs: the counter is one. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const next = last.then(work);
    last = next.catch(() => undefined);
    return next;
  }

  /** Of one moment, since the counter goes up with every new generation; and of the records, since another backup may have come meanwhile. */
  const showNow = async (all: Awaited<ReturnType<ReadAll>>): Promise<ShownLedger> => {
    const { counter: value, generations, doubt } = await opened();
    return { counter: value, generations, doubt, ...all };
  };

  return {
    judge: (vmId, read) =>
      inTurn(async () => {
        const ledger = await opened();
        const record = await read();
        return { record, problem: problemIn(ledger, vmId, record.generation) };
      }),
    doubt: () => inTurn(async () => (await opened()).doubt),
    renew: (vmId, writeRecord) =>
      inTurn(async () => {
        const before = await opened();
        const generation = before.counter + 1;
        await write({ ...before, intent: { vmId, generation } });
        // Until all is written, what stands on disk is the truth: whoever comes next reads it anew.
        current = null;
        const value = await counter.raise();
        if (value !== generation) return refuseRaised(value, generation);
        const written = await writeRecord(generation);
        await write({ ...before, counter: value, intent: null, generations: { ...before.generations, [vmId]: generation } });
        return written;
      }),
    show: (readAll) => inTurn(async () => showNow(await readAll())),
    reinstate: (readAll, signedFor) =>
      inTurn(async () => {
        const all = await readAll();
        if (ledgerDigestOf(hostId, await showNow(all)) !== signedFor) throw refuse('REINSTATEMENT_STALE', { host: hostId });
        const generations = Object.fromEntries(all.records.map(({ vmId, generation }) => [vmId, generation]));
        await write({ version: 1, counter: await counter.raise(), generations, intent: null, doubt: null });
      }),
    begin: () =>
      inTurn(async () => {
        if ((await access.readFile(file)) === null) await write({ version: 1, counter: await counter.raise(), generations: {}, intent: null, doubt: null });
      }),
  };

  function refuseRaised(value: number, generation: number): never {
    throw refuse('RECORDS_IN_DOUBT', { host: hostId, problem: `the counter of the TPM went to ${value} instead of ${generation}: something else raises it` });
  }
}

function problemIn({ generations, doubt }: LedgerDocument, vmId: VmId, generation: number): string | null {
  // A VM may be named `constructor`.
  const known = Object.hasOwn(generations, vmId) ? generations[vmId] : undefined;
  if (known === generation) return null;
  if (known !== undefined) return generation === 0 ? 'it is missing' : `it is of generation ${generation}, the last one is of ${known}`;
  if (doubt !== null) return doubt;
  return generation === 0 ? null : `it is of generation ${generation}, and the ledger knows none`;
}

function inDoubt(value: number, doubt: string): LedgerDocument {
  return { version: 1, counter: value, generations: {}, intent: null, doubt };
}
