/**
 * Identifiers and small value types that every document shares. Pure; each schema is also the one
 * validation of that value.
 */
import { base64 } from '@scure/base';
import { z } from 'zod';

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$/;
const name = z.string().regex(NAME, 'lower-case letters, digits and inner hyphens, at most 48');

export const HostId = name.brand('HostId');
export type HostId = z.infer<typeof HostId>;

export const VmId = name.brand('VmId');
export type VmId = z.infer<typeof VmId>;

/** Unique for every attempt of a move; chosen by whoever writes the order (a UUID). */
export const MigrationId = z.uuid().brand('MigrationId');
export type MigrationId = z.infer<typeof MigrationId>;

/** Goes up by one with every completed move of a VM; 1 when the VM is created. */
export const Epoch = z.int().min(1).brand('Epoch');
export type Epoch = z.infer<typeof Epoch>;

/** Lower-case hex of a SHA-256 digest. */
export const Sha256Hex = z.string().regex(/^[0-9a-f]{64}$/, '64 lower-case hex digits (SHA-256)');
export type Sha256Hex = z.infer<typeof Sha256Hex>;

export const Hex = z.string().regex(/^(?:[0-9a-f]{2})*$/, 'lower-case hex');
/** With padding, and the unused bits of the last digit zero (RFC 4648 §3.5): one text for the same bytes. Zod's own wants atob, which the workflow sandbox lacks. */
export const Base64 = z.string().refine(isBase64, 'base64 with padding, its unused bits zero');

/** Written in one way only, so that two paths are compared as texts: no `.`, `..` or empty part, no slash at the end. */
export const AbsolutePath = z
  .string()
  .max(4096)
  .regex(/^(?:\/(?!\.{1,2}(?:\/|$))[^\p{Cc},/]+)+$/u, 'an absolute path, normalised, without control characters or commas');

export const NetworkAddress = z.strictObject({
  host: z.string().min(1).max(253),
  port: z.int().min(0).max(65535),
});
export type NetworkAddress = z.infer<typeof NetworkAddress>;

/** Which end of a move a host is. */
export const ROLES = ['source', 'destination'] as const;
export const Role = z.enum(ROLES);
export type Role = z.infer<typeof Role>;

/**
 * Zod's record, but for a member named `__proto__`: that one drops it unseen, and a document would be read as another than the one that
 * was signed.
 */
export function recordOf<K extends z.core.$ZodRecordKey, V extends z.ZodType>(key: K, value: V) {
  return z.preprocess((members, context) => {
    if (typeof members === 'object' && members !== null && Object.hasOwn(members, '__proto__')) context.addIssue({ code: 'custom', message: 'no member is named __proto__' });
    return members;
  }, z.record(key, value));
}

export function assertNever(value: never): never {
  throw new Error(`unexpected value ${JSON.stringify(value)}`);
}

function isBase64(text: string): boolean {
  try {
    base64.decode(text);
    return true;
  } catch {
    return false;
  }
}
