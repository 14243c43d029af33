/**
 * The two keys of a vTPM on one host, at rest as one blob that only this host's TPM opens: one call of
 * the TPM instead of two on the way of every move.
 */
import { refuse } from '../domain/failures.js';
import type { InstalledVm } from '../host/vm-store.js';
import type { HostTpm } from '../tpm/port.js';

const KEY_BYTES = 32;

export interface VtpmKeys {
  /** 32 bytes. Encrypts the state at rest; made by and for this host. */
  readonly stateKey: Buffer;
  /** 32 bytes. Encrypts the state inside a migration stream; travels with the vTPM. */
  readonly migrationKey: Buffer;
}

type SealedKeys = NonNullable<InstalledVm['vtpm']>['keys'];

export async function sealKeys(tpm: HostTpm, { stateKey, migrationKey }: VtpmKeys): Promise<SealedKeys> {
  const both = Buffer.concat([stateKey, migrationKey]);
  try {
    return await tpm.sealAtRest(both);
  } finally {
    both.fill(0);
  }
}

/** TPM_COMMAND_FAILED also where the blob is not one of two keys. */
export async function unsealKeys(tpm: HostTpm, host: string, sealed: SealedKeys): Promise<VtpmKeys> {
  const both = await tpm.unsealAtRest(sealed);
  if (both.length !== 2 * KEY_BYTES) throw refuse('TPM_COMMAND_FAILED', { command: 'unseal', host, problem: `${both.length} bytes are not the keys of a vTPM` });
  return { stateKey: both.subarray(0, KEY_BYTES), migrationKey: both.subarray(KEY_BYTES) };
}
