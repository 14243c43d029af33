/**
 * The trust bundle: which hosts there are, by which AK each is known, and which PCR values are
 * right for its class. Every host reads its own installed copy; nobody takes it from Temporal.
 *
 * A bundle is read as it is installed. Signing it is not built yet; `installBundle` is where a
 * signature will be checked.
 */
import { z } from 'zod';
import { AttestationKeyPublic, PcrValues } from './attestation.js';
import { digestOf } from './canonical.js';
import { parseDocumentOf } from './documents.js';
import { refuse } from './failures.js';
import { HostId, Sha256Hex } from './ids.js';

const ClassName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,46}$/, 'lower-case letters, digits and hyphens');

/** One host as enrolled: `korora host enrol` prints it. */
export const HostEntry = z.strictObject({
  hostId: HostId,
  class: ClassName,
  status: z.enum(['active', 'suspended', 'revoked']),
  attestationKey: AttestationKeyPublic,
  /** SHA-256 of the EK certificate (DER); null where the TPM has none. */
  ekCertificateSha256: Sha256Hex.nullable(),
});
export type HostEntry = Readonly<z.infer<typeof HostEntry>>;

export const ReferenceSet = z.strictObject({
  id: z.string().min(1).max(64),
  status: z.enum(['pending', 'active', 'obsolete', 'revoked']),
  pcrValues: PcrValues,
});
export type ReferenceSet = Readonly<z.infer<typeof ReferenceSet>>;

export const HostClass = z
  .strictObject({
    /** The PCRs that a quote must select: no more, no less. */
    pcrs: z.array(z.int().min(0).max(23)).min(1).max(24),
    referenceSets: z.array(ReferenceSet).min(1),
  })
  .refine((c) => new Set(c.pcrs).size === c.pcrs.length, 'a PCR is listed twice')
  .refine(
    (c) => c.referenceSets.every((set) => sameNumbers(Object.keys(set.pcrValues).map(Number), c.pcrs)),
    'every reference set needs a value for each PCR of the class, and no other',
  )
  .refine((c) => c.referenceSets.some((set) => set.status === 'active'), 'no reference set is active');
export type HostClass = Readonly<z.infer<typeof HostClass>>;

export const TrustBundle = z
  .strictObject({
    kind: z.literal('korora/trust-bundle'),
    version: z.literal(1),
    serial: z.int().min(1),
    expiresAt: z.iso.datetime(),
    hosts: z.array(HostEntry).min(1),
    classes: z.record(ClassName, HostClass),
    parameters: z.strictObject({ nonceLifetimeMs: z.int().min(1000).max(600_000) }),
  })
  .refine((b) => new Set(b.hosts.map((h) => h.hostId)).size === b.hosts.length, 'a host is listed twice')
  .refine((b) => new Set(b.hosts.map((h) => h.attestationKey.name)).size === b.hosts.length, 'two hosts share one AK')
  .refine((b) => b.hosts.every((h) => Object.hasOwn(b.classes, h.class)), 'a host names a class that the bundle lacks');
export type TrustBundle = Readonly<z.infer<typeof TrustBundle>>;

export interface InstalledBundle {
  readonly bundle: TrustBundle;
  readonly digest: Sha256Hex;
}

/** BUNDLE_INVALID, with every wrong field; `host` is whose copy this is. */
export function installBundle(value: unknown, host: string): InstalledBundle {
  const bundle = parseDocumentOf(TrustBundle, value, 'BUNDLE_INVALID', { host });
  return { bundle, digest: digestOf(bundle) };
}

/** HOST_UNKNOWN. */
export function hostIn(bundle: TrustBundle, hostId: string): HostEntry {
  const entry = bundle.hosts.find((h) => h.hostId === hostId);
  if (!entry) throw refuse('HOST_UNKNOWN', { host: hostId });
  return entry;
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((n) => b.includes(n));
}
