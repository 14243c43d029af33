/**
 * The trust bundle: which hosts there are, by which AK each is known, which PCR values are right for its class, and who may
 * have what done. Every host reads its own installed copy, signed by a key that it pinned at its enrolment; nobody takes it
 * from Temporal.
 */
import { z } from 'zod';
import { AttestationKeyPublic, PcrValues } from './attestation.js';
import { BOOT_EVENTS_MAX, BootEvent } from './boot-events.js';
import { digestOf } from './canonical.js';
import { parseDocumentOf } from './documents.js';
import { Envelope, type PublicKey, keyIdOf, readEnvelope, signersOf } from './envelope.js';
import { refuse } from './failures.js';
import { Hex, HostId, NetworkAddress, Sha256Hex, recordOf } from './ids.js';
import { Operator, WORDS_OF_TWO } from './operators.js';

const DAY_MS = 86_400_000;

const ClassName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,46}$/, 'lower-case letters, digits and hyphens');

/** The AK is in one TPM with the EK of this certificate, whose chain ends at this root: SHA-256 of each (DER). */
export const ProvenIdentity = z.strictObject({ proof: z.literal('ek-certificate'), ekCertificateSha256: Sha256Hex, rootSha256: Sha256Hex });

/** What was shown about the TPM that holds a host's AK; `none`: whoever signed the bundle said that the host is to be believed. */
export const HostIdentity = z.discriminatedUnion('proof', [ProvenIdentity, z.strictObject({ proof: z.literal('none') })]);

/** One host as admitted; domain/enrolment.ts has the way there. */
export const HostEntry = z.strictObject({
  hostId: HostId,
  class: ClassName,
  status: z.enum(['active', 'suspended', 'revoked']),
  /** Where its peers reach its channel; port 0 for one that it chooses at every move. */
  address: NetworkAddress,
  attestationKey: AttestationKeyPublic,
  identity: HostIdentity,
});
export type HostEntry = Readonly<z.infer<typeof HostEntry>>;

export const ReferenceSet = z.strictObject({
  id: z.string().regex(/^[!-~]{1,64}$/, 'printable ASCII without spaces, at most 64'),
  status: z.enum(['pending', 'active', 'obsolete', 'revoked']),
  pcrValues: PcrValues,
  /** The boot behind the values, for people to compare another with: of those PCRs that its log adds up to. Null where no log was kept. */
  events: z.array(BootEvent).max(BOOT_EVENTS_MAX).nullable(),
});
export type ReferenceSet = Readonly<z.infer<typeof ReferenceSet>>;

export const HostClass = z
  .strictObject({
    /** The PCRs that a quote must select: no more, no less. */
    pcrs: z.array(z.int().min(0).max(23)).min(1).max(24),
    referenceSets: z.array(ReferenceSet).min(1),
    /** Of the TPMs of the class, as TPMS_ATTEST has them (64 bit, hex); null for any. */
    firmwareVersions: z.array(Hex.length(16)).min(1).max(64).nullable(),
  })
  .refine((c) => isUnique(c.pcrs), 'a PCR is listed twice')
  .refine(
    (c) => c.referenceSets.every((set) => sameNumbers(Object.keys(set.pcrValues).map(Number), c.pcrs)),
    'every reference set needs a value for each PCR of the class, and no other',
  )
  .refine((c) => c.referenceSets.some((set) => set.status === 'active'), 'no reference set is active');
export type HostClass = Readonly<z.infer<typeof HostClass>>;

export const TrustBundle = z
  .strictObject({
    kind: z.literal('korora/trust-bundle'),
    version: z.literal(2),
    /** A host takes no bundle of a lower serial than the highest it has seen. */
    serial: z.int().min(1),
    expiresAt: z.iso.datetime(),
    hosts: z.array(HostEntry).min(1),
    classes: recordOf(ClassName, HostClass),
    operators: z.array(Operator).max(1000),
    parameters: z.strictObject({
      nonceLifetimeMs: z.int().min(1000).max(600_000),
      /** Whether whoever ordered a move is refused as its approver. */
      approverMustDiffer: z.boolean(),
      /** How long a host that gave a VM up to another one’s claim keeps the vTPM state and the keys that it had. */
      yieldedKeptMs: z.int().min(0).max(366 * DAY_MS),
      /** What two different operators must sign, who both may do it. */
      wordsOfTwo: z.array(z.enum(WORDS_OF_TWO)).max(WORDS_OF_TWO.length),
    }),
  })
  .refine((b) => isUnique(b.hosts.map((h) => h.hostId)), 'a host is listed twice')
  .refine((b) => isUnique(b.hosts.map((h) => h.attestationKey.name)), 'two hosts share one AK')
  .refine((b) => isUnique(b.hosts.flatMap(({ identity }) => (identity.proof === 'none' ? [] : [identity.ekCertificateSha256]))), 'two hosts share one TPM')
  .refine((b) => isUnique(b.operators.map((o) => o.name)) && isUnique(b.operators.map((o) => o.publicKey)), 'two operators share a name or a key')
  .refine((b) => isUnique(b.parameters.wordsOfTwo), 'a word of two is listed twice')
  .refine((b) => b.hosts.every((h) => Object.hasOwn(b.classes, h.class)), 'a host names a class that the bundle lacks');
export type TrustBundle = Readonly<z.infer<typeof TrustBundle>>;

export interface InstalledBundle {
  readonly bundle: TrustBundle;
  readonly digest: Sha256Hex;
}

/**
 * `host` is whose copy this is. BUNDLE_INVALID, with every wrong field; BUNDLE_NOT_SIGNED, unless one of the `pinned` keys
 * signed it: those are `signedBy`. A client pins none: whoever keeps its signing key keeps its copy, by which it believes what it shows before it signs.
 */
export function installBundle(value: unknown, host: string, pinned: readonly PublicKey[] | 'any signer'): InstalledBundle & { readonly signedBy: readonly PublicKey[] } {
  const envelope = parseDocumentOf(Envelope, value, 'BUNDLE_INVALID', { host });
  // The signature first: what no pinned key signed is not read.
  const signedBy = pinned === 'any signer' ? [] : signersOf(envelope, pinned);
  if (pinned !== 'any signer' && signedBy.length === 0) {
    const signers = envelope.signatures.map(({ keyid }) => keyid).join(', ');
    throw refuse('BUNDLE_NOT_SIGNED', { host, pinned: pinned.map(keyIdOf).join(', ') || 'none', signers });
  }
  const opened = readEnvelope(TrustBundle, 'korora/trust-bundle', envelope);
  if ('problem' in opened) throw refuse('BUNDLE_INVALID', { host, problem: opened.problem });
  return { bundle: opened.document, digest: digestOf(opened.document), signedBy };
}

/** HOST_UNKNOWN. */
export function hostIn(bundle: TrustBundle, hostId: string): HostEntry {
  const entry = bundle.hosts.find((h) => h.hostId === hostId);
  if (!entry) throw refuse('HOST_UNKNOWN', { host: hostId });
  return entry;
}

/** A bundle that was read has it. POLICY_EMPTY of any other. */
export function classOf({ classes }: TrustBundle, { class: name }: HostEntry): HostClass {
  const hostClass = classes[name];
  if (!hostClass) throw refuse('POLICY_EMPTY', { class: name });
  return hostClass;
}

function isUnique(values: readonly unknown[]): boolean {
  return new Set(values).size === values.length;
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((n) => b.includes(n));
}
