/**
 * Where a VM's files live on its host, and the document of what is installed there: the VM, which
 * vTPM it has, and the vTPM's keys sealed to this host's TPM. Says nothing about who may run it.
 *
 *   <stateDir>/vms/<vmId>/ownership.json   host/ownership-store.ts
 *                         installed.json   this file
 *                         vtpm/            swtpm's state, encrypted
 *   <runDir>/<vmId>/                       sockets, pid files, logs
 */
import { z } from 'zod';
import { parseDocumentOf, parseJson } from '../domain/documents.js';
import { refuse } from '../domain/failures.js';
import { Base64, MigrationId, Sha256Hex, type VmId } from '../domain/ids.js';
import { VmDocument } from '../domain/vm.js';
import type { HostAccess } from './port.js';

const SealedKeys = z.strictObject({ publicArea: Base64, privateArea: Base64 });

export const InstalledVm = z.strictObject({
  version: z.literal(1),
  vm: VmDocument,
  /** Null for a VM without a vTPM. */
  vtpm: z
    .strictObject({
      /** SHA-256 of its EK certificates; travels with the vTPM. */
      identity: Sha256Hex,
      /** State key and migration key (activities/vtpm-keys.ts), sealed by and for this host's TPM. */
      keys: SealedKeys,
    })
    .nullable(),
  /** The move after whose fence it was booted from its disks, or is being; null where it never was. */
  bootedAfter: MigrationId.nullable().default(null),
  /** Orders to start it that were carried out, as long as they would be good: none boots it twice. */
  started: z.array(z.strictObject({ orderDigest: Sha256Hex, notAfter: z.iso.datetime() })),
});
export type InstalledVm = Readonly<z.infer<typeof InstalledVm>>;

export interface VmStore {
  runDirOf(vmId: VmId): string;
  vtpmStateDirOf(vmId: VmId): string;
  read(vmId: VmId): Promise<InstalledVm | null>;
  write(vmId: VmId, installed: InstalledVm): Promise<void>;
  /** What stands here of a VM beside its ownership record: names for people. */
  traces(vmId: VmId): Promise<readonly string[]>;
  /** Removes what a write that was cut short left aside (host/local.ts, writeFileDurably); its names. */
  removeHalfWritten(vmId: VmId): Promise<readonly string[]>;
  /** Removes all traces; the ownership record stays. */
  erase(vmId: VmId): Promise<void>;
}

export function createVmStore(access: HostAccess, dirs: { readonly vmsDir: string; readonly runDir: string }): VmStore {
  const folderOf = (vmId: VmId) => `${dirs.vmsDir}/${vmId}`;
  const runDirOf = (vmId: VmId) => `${dirs.runDir}/${vmId}`;
  const installedOf = (vmId: VmId) => `${folderOf(vmId)}/installed.json`;

  return {
    runDirOf,
    vtpmStateDirOf: (vmId) => `${folderOf(vmId)}/vtpm`,
    async read(vmId) {
      const content = await access.readFile(installedOf(vmId));
      if (content === null) return null;
      return parseDocumentOf(InstalledVm, parseJson(content.toString('utf8'), (problem, cause) => refuse('HOST_CONFIG_INVALID', { file: installedOf(vmId), problem }, cause)), 'HOST_CONFIG_INVALID', { file: installedOf(vmId) });
    },
    async write(vmId, installed) {
      const checked = parseDocumentOf(InstalledVm, installed, 'HOST_CONFIG_INVALID', { file: installedOf(vmId) });
      await access.ensureDirectory(folderOf(vmId));
      await access.writeFileDurably(installedOf(vmId), `${JSON.stringify(checked, null, 2)}\n`);
    },
    async traces(vmId) {
      const files = (await access.list(folderOf(vmId))).filter((name) => name !== 'ownership.json');
      const run = await access.list(runDirOf(vmId));
      return [...files.map((name) => `${folderOf(vmId)}/${name}`), ...(run.length > 0 ? [runDirOf(vmId)] : [])];
    },
    async removeHalfWritten(vmId) {
      const names = (await access.list(folderOf(vmId))).filter((name) => /^\.(?:ownership|installed)\.json\.[0-9a-f]{12}$/.test(name));
      for (const name of names) await access.remove(`${folderOf(vmId)}/${name}`);
      return names;
    },
    async erase(vmId) {
      await access.remove(runDirOf(vmId));
      await access.remove(`${folderOf(vmId)}/vtpm`);
      await access.remove(installedOf(vmId));
    },
  };
}
