/**
 * Keeps the ownership record of each VM on its host: read, apply one event, write durably, in
 * that order and one at a time per VM. The rules are domain/ownership.ts; nothing is decided here.
 */
import { parseDocumentOf } from '../domain/documents.js';
import { KororaError, problemOf, refuse } from '../domain/failures.js';
import { type HostId, VmId } from '../domain/ids.js';
import { OwnershipRecord, type OwnershipEvent, applyOwnershipEvent, noRecord } from '../domain/ownership.js';
import type { HostAccess } from './port.js';

export interface OwnershipStore {
  /** `none` where there is no record. RECORD_UNREADABLE where there is one that cannot be read: never `none`. */
  read(vmId: VmId): Promise<OwnershipRecord>;
  /** Resolves once the new record is on disk. OWNERSHIP_REFUSED changes nothing. */
  apply(vmId: VmId, event: OwnershipEvent): Promise<OwnershipRecord>;
  /**
   * Looks at the record and acts on it, while no event changes it: what `work` found allowed still is when it is done.
   * `work` must not apply an event, which would wait for it for ever.
   */
  hold<T>(vmId: VmId, work: (record: OwnershipRecord) => Promise<T>): Promise<T>;
  /** VMs that have a folder here: with a record, or with something that was left before there was one. */
  list(): Promise<readonly VmId[]>;
}

export function createOwnershipStore(access: HostAccess, hostId: HostId, vmsDir: string): OwnershipStore {
  const last = new Map<VmId, Promise<unknown>>();
  /** What this store wrote last: it is the host's only writer, and within a pause no file need be read again. */
  const written = new Map<VmId, OwnershipRecord>();
  const pathOf = (vmId: VmId) => `${vmsDir}/${vmId}/ownership.json`;

  async function read(vmId: VmId): Promise<OwnershipRecord> {
    const content = await access.readFile(pathOf(vmId));
    if (content === null) return noRecord(vmId, hostId);
    const record = parseDocumentOf(OwnershipRecord, parseJson(content, vmId, hostId), 'RECORD_UNREADABLE', { vm: vmId, host: hostId });
    if (record.vmId === vmId && record.hostId === hostId) return record;
    throw refuse('RECORD_UNREADABLE', { vm: vmId, host: hostId, problem: `it is of VM ${record.vmId} on ${record.hostId}` });
  }

  async function applyNow(vmId: VmId, event: OwnershipEvent): Promise<OwnershipRecord> {
    const record = written.get(vmId) ?? (await read(vmId));
    const transition = applyOwnershipEvent(record, event);
    if (!transition.ok) throw new KororaError([transition.failure]);
    if (transition.record === record) return record;
    if (!written.delete(vmId)) await access.ensureDirectory(`${vmsDir}/${vmId}`);
    await access.writeFileDurably(pathOf(vmId), `${JSON.stringify(transition.record, null, 2)}\n`);
    written.set(vmId, transition.record);
    return transition.record;
  }

  function inTurn<T>(vmId: VmId, work: () => Promise<T>): Promise<T> {
    const next = (last.get(vmId) ?? Promise.resolve()).then(work);
    last.set(vmId, next.catch(() => undefined));
    return next;
  }

  return {
    read,
    apply: (vmId, event) => inTurn(vmId, () => applyNow(vmId, event)),
    hold: (vmId, work) => inTurn(vmId, async () => work(await read(vmId))),
    async list() {
      const names = await access.list(vmsDir);
      return names.flatMap((name) => VmId.safeParse(name).data ?? []);
    },
  };
}

function parseJson(content: Buffer, vmId: string, hostId: string): unknown {
  try {
    return JSON.parse(content.toString('utf8'));
  } catch (error) {
    throw refuse('RECORD_UNREADABLE', { vm: vmId, host: hostId, problem: problemOf(error) }, error);
  }
}
