/**
 * Keeps the ownership record of each VM on its host: read, apply one event, write durably, in
 * that order and one at a time per VM. The rules are domain/ownership.ts; nothing is decided here. Which records are the last
 * ones the ledger beside them says (ledger.ts); one that may come from a backup is not acted on.
 */
import { parseDocumentOf, parseJson } from '../domain/documents.js';
import { KororaError, refuse } from '../domain/failures.js';
import { type HostId, type Sha256Hex, VmId } from '../domain/ids.js';
import { OwnershipRecord, type OwnershipEvent, applyOwnershipEvent, noRecord, startsGeneration } from '../domain/ownership.js';
import type { ShownLedger } from '../domain/survey.js';
import { type Ledger, type ReadAll, createLedger } from './ledger.js';
import type { MonotonicCounter } from '../tpm/port.js';
import type { HostAccess } from './port.js';

export interface OwnershipStore {
  /**
   * `none` where there is no record. RECORD_UNREADABLE where there is one that cannot be read: never `none`. RECORD_STALE where it
   * may not be the last one, or the last one is missing.
   */
  read(vmId: VmId): Promise<OwnershipRecord>;
  /** What stands on disk, whether or not it is the last one. RECORD_UNREADABLE. For people, never to act on. */
  inspect(vmId: VmId): Promise<{ readonly record: OwnershipRecord; readonly problem: string | null }>;
  /** Resolves once the new record is on disk. OWNERSHIP_REFUSED changes nothing. Only a proven claim of another host is taken by a record in doubt. */
  apply(vmId: VmId, event: OwnershipEvent): Promise<OwnershipRecord>;
  /** Starts a new generation with the record as it is: after an acceptance, whose pause had no time for the TPM. */
  renew(vmId: VmId): Promise<void>;
  /**
   * Looks at the record and acts on it, while no other event changes it: what `work` found allowed still is when it is done.
   * Events of its own `work` applies by what it is given; by the store they would wait for it for ever.
   */
  hold<T>(vmId: VmId, work: (record: OwnershipRecord, apply: (event: OwnershipEvent) => Promise<OwnershipRecord>) => Promise<T>): Promise<T>;
  /** VMs that have a folder here: with a record, or with something that was left before there was one. */
  list(): Promise<readonly VmId[]>;
  /** What is wrong with the records of this host as a whole; null where nothing is. */
  doubt(): Promise<string | null>;
  /** What an operator signs for to have all records believed as they are. RECORD_UNREADABLE. */
  showLedger(): Promise<ShownLedger>;
  /** REINSTATEMENT_STALE, unless `signedFor` is the digest of that still. RECORD_UNREADABLE. */
  reinstate(signedFor: Sha256Hex): Promise<void>;
  /** At the host's enrolment. */
  begin(): Promise<void>;
}

export interface OwnershipPlace {
  readonly hostId: HostId;
  readonly vmsDir: string;
  readonly ledgerFile: string;
  /** In the host's TPM. */
  readonly counter: MonotonicCounter;
}

export function createOwnershipStore(access: HostAccess, { hostId, vmsDir, ledgerFile, counter }: OwnershipPlace): OwnershipStore {
  const last = new Map<VmId, Promise<unknown>>();
  /** What this store wrote last: it is the host's only writer, and within a pause no file need be read again. */
  const written = new Map<VmId, OwnershipRecord>();
  const pathOf = (vmId: VmId) => `${vmsDir}/${vmId}/ownership.json`;
  const ledger: Ledger = createLedger(access, { hostId, file: ledgerFile, counter, generationOn: async (vmId) => (await readUnjudged(vmId)).generation });

  async function read(vmId: VmId): Promise<OwnershipRecord> {
    const { record, problem } = await inspect(vmId);
    if (problem !== null) throw refuse('RECORD_STALE', { vm: vmId, host: hostId, problem });
    return record;
  }

  const inspect = (vmId: VmId) => ledger.judge(vmId, () => readUnjudged(vmId));

  async function readUnjudged(vmId: VmId): Promise<OwnershipRecord> {
    const content = await access.readFile(pathOf(vmId));
    if (content === null) return noRecord(vmId, hostId);
    const record = parseDocumentOf(OwnershipRecord, parseJson(content.toString('utf8'), (problem, cause) => refuse('RECORD_UNREADABLE', { vm: vmId, host: hostId, problem }, cause)), 'RECORD_UNREADABLE', { vm: vmId, host: hostId });
    if (record.vmId === vmId && record.hostId === hostId) return record;
    throw refuse('RECORD_UNREADABLE', { vm: vmId, host: hostId, problem: `it is of VM ${record.vmId} on ${record.hostId}` });
  }

  async function applyNow(vmId: VmId, event: OwnershipEvent): Promise<OwnershipRecord> {
    const { record, problem } = await newest(vmId);
    if (problem !== null && event.type !== 'learn-claim') throw refuse('RECORD_STALE', { vm: vmId, host: hostId, problem });
    const transition = applyOwnershipEvent(record, event, problem !== null);
    if (!transition.ok) throw new KororaError([transition.failure]);
    if (transition.record === record) return record;
    return startsGeneration(record, transition.record) ? writeAnew(transition.record) : write(transition.record);
  }

  const newest = async (vmId: VmId) => {
    const record = written.get(vmId);
    return record ? { record, problem: null } : inspect(vmId);
  };

  function writeAnew(record: OwnershipRecord): Promise<OwnershipRecord> {
    return ledger.renew(record.vmId, (generation) => write({ ...record, generation }));
  }

  async function write(unchecked: OwnershipRecord): Promise<OwnershipRecord> {
    const { vmId } = unchecked;
    // What nobody could read again is not written: the record that stands is worth more.
    const record = parseDocumentOf(OwnershipRecord, unchecked, 'RECORD_UNREADABLE', { vm: vmId, host: hostId });
    if (!written.delete(vmId)) await access.ensureDirectory(`${vmsDir}/${vmId}`);
    await access.writeFileDurably(pathOf(vmId), `${JSON.stringify(record, null, 2)}\n`);
    written.set(vmId, record);
    return record;
  }

  async function list(): Promise<readonly VmId[]> {
    const names = await access.list(vmsDir);
    return names.flatMap((name) => VmId.safeParse(name).data ?? []);
  }

  /** One that cannot be read is in doubt alone: the others need not wait for it. */
  const readAll: ReadAll = async () => {
    const unreadable: VmId[] = [];
    const read = (await list()).map((vmId) =>
      readUnjudged(vmId).catch((error: unknown) => {
        if (!(error instanceof KororaError && error.code === 'RECORD_UNREADABLE')) throw error;
        unreadable.push(vmId);
        return null;
      }),
    );
    const records = (await Promise.all(read)).filter((record) => record !== null);
    return { records, unreadable: unreadable.sort() };
  };

  function inTurn<T>(vmId: VmId, work: () => Promise<T>): Promise<T> {
    const next = (last.get(vmId) ?? Promise.resolve()).then(work);
    last.set(vmId, next.catch(() => undefined));
    return next;
  }

  return {
    read,
    inspect,
    apply: (vmId, event) => inTurn(vmId, () => applyNow(vmId, event)),
    hold: (vmId, work) => inTurn(vmId, async () => work(await read(vmId), (event) => applyNow(vmId, event))),
    renew: (vmId) => inTurn(vmId, async () => void (await writeAnew(await read(vmId)))),
    list,
    doubt: () => ledger.doubt(),
    showLedger: () => ledger.show(readAll),
    async reinstate(signedFor) {
      await ledger.reinstate(readAll, signedFor);
      written.clear();
    },
    begin: () => ledger.begin(),
  };
}
