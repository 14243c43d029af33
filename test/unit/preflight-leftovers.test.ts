/** activities/preflight.ts at the destination, over stand-ins: what a record holds is never called a leftover, which people may remove. */
import { describe, expect, it } from 'vitest';
import { createPreflight } from '../../activities/preflight.js';
import type { HostServices } from '../../activities/services.js';
import { digestOf } from '../../domain/canonical.js';
import { signEnvelope } from '../../domain/envelope.js';
import type { OwnershipState } from '../../domain/ownership.js';
import { ADA, DESTINATION, orderOf, trustBundleOf, vmDocument } from '../support/documents.js';

const TRACES = ['/var/lib/korora/vms/web-1/vtpm'];
const bundle = trustBundleOf();

function destinationWith(state: OwnershipState, keptUntil: string | null) {
  return createPreflight({
    hostId: DESTINATION,
    clock: { now: () => Date.now() },
    storage: { disks: ['/srv'], boot: ['/srv'], reserved: [] },
    access: { stat: async () => ({ kind: 'file', links: 1, isOpenToOthers: false }), resolve: async (path: string) => path, availableMemoryBytes: async () => 2 ** 40 },
    hypervisor: { facts: async () => null, strangers: async () => [] },
    vtpms: { version: async () => '0.8' },
    tpm: { ensureAttestationKey: async () => undefined },
    installedBundle: async () => ({ bundle, digest: digestOf(bundle) }),
    ownership: { read: async () => ({ state, epoch: 2, keptUntil }) },
    vms: { traces: async () => TRACES },
  } as unknown as HostServices);
}

async function seenBy(state: OwnershipState, keptUntil: string | null = null) {
  const vm = vmDocument({ disks: [], networks: [] });
  const order = await signEnvelope(orderOf({ bundleDigest: digestOf(bundle), vmDigest: digestOf(vm) }), ADA);
  const { failures, leftovers } = await destinationWith(state, keptUntil).inspectDestination({ order, vm });
  return { codes: failures.map(({ code }) => code), leftovers };
}

describe('a destination with files of the VM', () => {
  it.each<OwnershipState>(['owner', 'offering', 'relinquished', 'incoming'])('whose record says %s names the record, and no file', async (state) => {
    expect(await seenBy(state)).toEqual({ codes: ['VM_HELD'], leftovers: [] });
  });

  it.each<OwnershipState>(['none', 'retired'])('whose record says %s names each of them', async (state) => {
    expect(await seenBy(state)).toEqual({ codes: [], leftovers: TRACES });
  });

  it('that keeps what it gave up to a claim names none: the order brings the VM back, and what was kept goes', async () => {
    expect(await seenBy('retired', '2030-01-01T00:00:00Z')).toEqual({ codes: [], leftovers: [] });
  });
});
