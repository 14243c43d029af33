/** Trust bundles made from admitted hosts: a first one, and one with further hosts. Signs nothing and asks nobody. */
import { ACTIONS, type Operator } from '../domain/operators.js';
import type { HostClass, ReferenceSet, TrustBundle } from '../domain/trust-bundle.js';
import type { AdmittedHost } from '../workers/admit.js';

/** The hosts' PCR values are the reference. Not valid without a host. */
export function firstBundle(admitted: readonly AdmittedHost[], operators: readonly Operator[], days: number): TrustBundle {
  const empty: TrustBundle = {
    kind: 'korora/trust-bundle',
    version: 2,
    serial: 1,
    expiresAt: new Date(Date.now() + days * 86_400_000).toISOString(),
    hosts: [],
    classes: {},
    operators: [...operators],
    parameters: { nonceLifetimeMs: 60_000, approverMustDiffer: false, wordsOfTwo: [], yieldedKeptMs: 7 * 86_400_000 },
  };
  return withHosts(empty, admitted, 'active');
}

/**
 * A host that was there is replaced. Each distinct set of values becomes a reference set named after the host and the bundle it came with: active
 * in a class that is new, with this status in one that the bundle has. A set that is known and has no events gets those of the host.
 */
export function withHosts(bundle: TrustBundle, admitted: readonly AdmittedHost[], statusInKnownClass: 'active' | 'pending'): TrustBundle {
  const classes: Record<string, HostClass> = { ...bundle.classes };
  for (const { host, pcrValues, events } of admitted) {
    const sets = classes[host.class]?.referenceSets ?? [];
    const isSame = (set: ReferenceSet) => JSON.stringify(set.pcrValues) === JSON.stringify(pcrValues);
    const kept = events && [...events];
    const status = bundle.classes[host.class] ? statusInKnownClass : 'active';
    classes[host.class] = {
      pcrs: Object.keys(pcrValues).map(Number),
      firmwareVersions: classes[host.class]?.firmwareVersions ?? null,
      referenceSets: sets.some(isSame) ? sets.map((set) => (isSame(set) ? { ...set, events: set.events ?? kept } : set)) : [...sets, { id: `${host.hostId}-in-bundle-${bundle.serial}`, status, pcrValues, events: kept }],
    };
  }
  const hosts = admitted.map(({ host }) => host);
  const others = bundle.hosts.filter(({ hostId }) => !hosts.some((host) => host.hostId === hostId));
  return { ...bundle, hosts: [...others, ...hosts], classes };
}

/** To begin with: narrow the scopes before others get keys. */
export function mayDoAnything(name: string, publicKey: Operator['publicKey']): Operator {
  return { name, publicKey, status: 'active', scopes: [{ actions: [...ACTIONS], vms: ['*'], sources: ['*'], destinations: ['*'], disks: ['*'], bootFiles: ['*'], bridges: ['*'] }] };
}
