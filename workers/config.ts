/** The configuration of a host worker: one document, validated before anything is touched. */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { parseDocumentOf } from '../domain/documents.js';
import { problemOf, refuse } from '../domain/failures.js';
import { AbsolutePath, HostId, NetworkAddress } from '../domain/ids.js';

/** Longest unix socket path is 107 bytes (sun_path); a VM id takes up to 48, a socket's name up to 24. */
const LONGEST_RUN_DIR = 107 - 1 - 48 - 1 - 24;

export const HostConfig = z.strictObject({
  kind: z.literal('korora/host'),
  version: z.literal(1),
  hostId: HostId,
  /** Only local hosts so far: the worker runs on the host that it drives. */
  access: z.literal('local'),
  /** `fake`: VMs in memory only, for scale runs and tests (docs/fake-driver.md). */
  hypervisor: z.enum(['qemu', 'fake']),
  /** Records, VMs, vTPM state. Must survive a reboot. */
  stateDir: AbsolutePath,
  /** Sockets and pid files; short. */
  runDir: AbsolutePath.max(LONGEST_RUN_DIR, `at most ${LONGEST_RUN_DIR} characters: unix sockets live below it`),
  trustBundle: AbsolutePath,
  /** As tpm2-tools take it: `device:/dev/tpmrm0`, `swtpm:host=127.0.0.1,port=2321`. */
  tcti: z.string().regex(/^(?:device:\/|swtpm:|mssim:|tabrmd:)/, 'a TCTI of tpm2-tools, such as device:/dev/tpmrm0'),
  /** Where the boot event log is; null for none. Left out: where Linux has that of its first TPM, for one that is a device. */
  eventLog: AbsolutePath.nullable().optional(),
  /** Below which folders a VM may open files (or which files and block devices themselves): its disks, and what it boots. Whatever a path leads to counts. */
  storage: z.strictObject({ disks: z.array(AbsolutePath).max(100), boot: z.array(AbsolutePath).max(100) }),
  channel: z.strictObject({
    listen: NetworkAddress,
    /** Where peers reach the channel, for the trust bundle; the listening address where left out. Read at the enrolment. */
    advertise: NetworkAddress.optional(),
  }),
});
export type HostConfig = Readonly<z.infer<typeof HostConfig>>;

/** HOST_CONFIG_INVALID, naming every wrong field. Relative paths are of the file's own folder. */
export async function loadHostConfig(file: string): Promise<HostConfig> {
  const value = await readJson(file);
  const base = dirname(resolve(file));
  const absolute = (path: unknown) => (typeof path === 'string' && path !== '' ? resolve(base, path) : path);
  const located =
    typeof value === 'object' && value !== null
      ? Object.fromEntries(Object.entries(value).map(([key, v]) => [key, ['stateDir', 'runDir', 'trustBundle', 'eventLog'].includes(key) ? absolute(v) : v]))
      : value;
  return parseDocumentOf(HostConfig, located, 'HOST_CONFIG_INVALID', { file });
}

/** HOST_CONFIG_INVALID where the file is missing or not JSON. */
export async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw refuse('HOST_CONFIG_INVALID', { file, problem: problemOf(error) }, error);
  }
}
