/**
 * What a host trusts, in `<stateDir>/trust/signers.json`: the keys by which trust bundles must be signed, pinned at its enrolment;
 * and the bundle that is installed. The newest one that it has seen stands in its TPM: a disk that is put back brings no older one back.
 */
import { z } from 'zod';
import { parseDocumentOf, parseJson } from '../domain/documents.js';
import { PublicKey, keyIdOf } from '../domain/envelope.js';
import { refuse } from '../domain/failures.js';
import { type InstalledBundle, installBundle } from '../domain/trust-bundle.js';
import type { HostAccess } from '../host/port.js';
import type { NvMemory } from '../tpm/port.js';
import type { HostConfig } from './config.js';

const Pinned = z.strictObject({ version: z.literal(1), publicKeys: z.array(PublicKey).min(1).max(8) });

export interface Trust {
  /** SIGNER_NOT_PINNED, BUNDLE_INVALID, BUNDLE_NOT_SIGNED, BUNDLE_OLDER, BUNDLE_SERIAL_USED; those of the TPM. */
  installedBundle(): Promise<InstalledBundle>;
  /** SIGNER_NOT_PINNED. */
  pinned(): Promise<readonly PublicKey[]>;
  /** SIGNER_PINNED where others are pinned, unless they are to be replaced. */
  pin(keys: readonly PublicKey[], isReplacement: boolean): Promise<void>;
}

/** `newest`: in the host's TPM; serial (64 bit, big-endian) and digest of the newest bundle that was seen. */
export function createTrust(access: HostAccess, { hostId, stateDir, trustBundle }: Pick<HostConfig, 'hostId' | 'stateDir' | 'trustBundle'>, newest: NvMemory): Trust {
  const folder = `${stateDir}/trust`;
  const file = `${folder}/signers.json`;
  let last: { readonly content: Buffer; readonly pinned: readonly PublicKey[]; readonly installed: InstalledBundle } | null = null;

  async function pinnedOrNull(): Promise<readonly PublicKey[] | null> {
    const content = await access.readFile(file);
    if (content === null) return null;
    return parseDocumentOf(Pinned, parseJson(content.toString('utf8'), (problem, cause) => refuse('HOST_CONFIG_INVALID', { file, problem }, cause)), 'HOST_CONFIG_INVALID', { file }).publicKeys;
  }

  async function pinned(): Promise<readonly PublicKey[]> {
    const keys = await pinnedOrNull();
    if (!keys) throw refuse('SIGNER_NOT_PINNED', { host: hostId });
    return keys;
  }

  async function noteNewest({ bundle: { serial }, digest }: InstalledBundle): Promise<void> {
    const seen = await newest.read();
    const seenSerial = seen && Number(seen.readBigUInt64BE());
    if (seenSerial !== null && serial < seenSerial) throw refuse('BUNDLE_OLDER', { host: hostId, serial, newest: seenSerial });
    if (seen && serial === seenSerial) {
      if (seen.toString('hex', 8) !== digest) throw refuse('BUNDLE_SERIAL_USED', { host: hostId, serial });
      return;
    }
    const serialBytes = Buffer.alloc(8);
    serialBytes.writeBigUInt64BE(BigInt(serial));
    await newest.write(Buffer.concat([serialBytes, Buffer.from(digest, 'hex')]));
  }

  return {
    pinned,
    async installedBundle() {
      const [content, keys] = [await access.readFile(trustBundle), await pinned()];
      if (content === null) throw refuse('BUNDLE_INVALID', { host: hostId, problem: `there is none at ${trustBundle}` });
      // Asked at every step of every move: parsing and checking a large bundle takes longer than reading it.
      if (last && last.content.equals(content) && isSame(last.pinned, keys)) return last.installed;
      const value = parseJson(content.toString('utf8'), (problem, cause) => refuse('BUNDLE_INVALID', { host: hostId, problem }, cause));
      const installed = installBundle(value, hostId, keys);
      await noteNewest(installed);
      last = { content, pinned: keys, installed };
      return installed;
    },
    async pin(keys, isReplacement) {
      const known = await pinnedOrNull();
      if (known && isSame(known, keys)) return;
      if (known && !isReplacement) throw refuse('SIGNER_PINNED', { host: hostId, pinned: known.map(keyIdOf).join(', ') });
      await access.ensureDirectory(folder);
      await access.writeFileDurably(file, `${JSON.stringify({ version: 1, publicKeys: [...keys] } satisfies z.input<typeof Pinned>, null, 2)}\n`);
    },
  };
}

function isSame(a: readonly PublicKey[], b: readonly PublicKey[]): boolean {
  return a.length === b.length && a.every((key, i) => key === b[i]);
}
