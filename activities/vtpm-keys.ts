/**
 * The two keys of a vTPM on one host, at rest as one blob that only this host's TPM opens: one call of
 * the TPM instead of two on the way of every move.
 */
import { refuse } from '../domain/failures.js';
import { SECRET_KEY_BYTES, SecretKey } from '../domain/secret-key.js';
import type { InstalledVm } from '../host/vm-store.js';
import type { HostTpm } from '../tpm/port.js';

export interface VtpmKeys {
  /** Encrypts the state at rest; made by and for this host. */
  readonly stateKey: SecretKey;
  /** Encrypts the state inside a migration stream; travels with the vTPM. */
  readonly migrationKey: SecretKey;
}

type SealedKeys = NonNullable<InstalledVm['vtpm']>['keys'];

/** Both, for work that is done when it resolves; then they are zeros. SECRET_KEY_INVALID. */
export async function withKeyBytes<T>({ stateKey, migrationKey }: VtpmKeys, work: (bytes: { readonly stateKey: Buffer; readonly migrationKey: Buffer }) => Promise<T>): Promise<T> {
  const bytes = { stateKey: stateKey.use((key) => Buffer.from(key)), migrationKey: migrationKey.use((key) => Buffer.from(key)) };
  try {
    return await work(bytes);
  } finally {
    bytes.stateKey.fill(0);
    bytes.migrationKey.fill(0);
  }
}

/** SECRET_KEY_INVALID. */
export function sealKeys(tpm: HostTpm, keys: VtpmKeys): Promise<SealedKeys> {
  return withKeyBytes(keys, async ({ stateKey, migrationKey }) => {
    const both = Buffer.concat([stateKey, migrationKey]);
    try {
      return await tpm.sealAtRest(both);
    } finally {
      both.fill(0);
    }
  });
}

/** TPM_COMMAND_FAILED also where the blob is not one of two keys. */
export async function unsealKeys(tpm: HostTpm, host: string, sealed: SealedKeys): Promise<VtpmKeys> {
  const both = await tpm.unsealAtRest(sealed);
  try {
    if (both.length !== 2 * SECRET_KEY_BYTES) throw refuse('TPM_COMMAND_FAILED', { command: 'unseal', host, problem: `${both.length} bytes are not the keys of a vTPM` });
    return { stateKey: SecretKey.of(both.subarray(0, SECRET_KEY_BYTES)), migrationKey: SecretKey.of(both.subarray(SECRET_KEY_BYTES)) };
  } finally {
    both.fill(0);
  }
}

export function destroyKeys({ stateKey, migrationKey }: VtpmKeys): void {
  stateKey.destroy();
  migrationKey.destroy();
}
