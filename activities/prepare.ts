/**
 * Phase prepare, on the destination: the record says `incoming`, the vTPM and the hypervisor wait,
 * the channel listens for the attested source. Undone by settleDestination.
 */
import { randomBytes } from 'node:crypto';
import { parseDocument } from '../domain/documents.js';
import { refuse } from '../domain/failures.js';
import { digestOf } from '../domain/canonical.js';
import type { Order } from '../domain/order.js';
import { VmDocument } from '../domain/vm.js';
import type { IncomingImage } from '../hypervisor/port.js';
import { admit } from './admission.js';
import { assertSameDisks } from './disks.js';
import type { MoveRequest } from './preflight.js';
import { openable, refuseResources } from './resources.js';
import type { HostServices } from './services.js';
import { type MoveSecrets, appraisedPeer, secretsOf, sessionOf } from './session.js';
import { type VtpmKeys, sealKeys } from './vtpm-keys.js';

export function createPreparation(services: HostServices) {
  const { hostId, access, tpm, vtpms, hypervisor, channels, sessions, ownership, vms } = services;

  /** Where the channel listens; the bundle says on which address peers reach it. Idempotent: the same port while the session lives. */
  async function prepareDestination(request: MoveRequest): Promise<{ readonly port: number }> {
    const { order, orderDigest } = await admit(services, request.order, 'destination');
    const vm = parseDocument(VmDocument, request.vm, 'VM_DOCUMENT_INVALID');
    if (digestOf(vm) !== order.vmDigest) throw refuse('VM_DIFFERS', { host: hostId });
    await refuseResources(services, order, vm);
    const session = sessionOf(sessions, order, 'destination', orderDigest, hostId);
    const peer = appraisedPeer(session, hostId, 'preparing the destination');
    const secrets = secretsOf(session, hostId, 'preparing the destination');
    if (session.incoming) return { port: session.incoming.listener.address.port };

    await assertSameDisks(access, order, vm, secrets.disks);
    await ownership.apply(order.vmId, { type: 'expect', migrationId: order.migrationId, source: order.source, epoch: secrets.epoch });
    const image = await openIncoming(order, vm, secrets);
    // Last, so that no step after it can fail and leave the door open.
    const listener = await channels.listen(services.channelListen, {
      migrationId: order.migrationId,
      identity: session.identity,
      peerSpkiSha256: peer.evidence.binding.tlsSpkiSha256,
      sessionKey: secrets.sessionKey,
    });
    session.incoming = { image, listener, giveUp: new AbortController(), verification: null };
    return { port: listener.address.port };
  }

  /** While the move is expected here, and not a moment longer: settled meanwhile, it would clear away another move's VM. */
  function openIncoming({ migrationId }: Order, vm: VmDocument, secrets: MoveSecrets): Promise<IncomingImage> {
    const { vmId } = vm;
    const runDir = vms.runDirOf(vmId);
    const keys: VtpmKeys = { stateKey: randomBytes(32), migrationKey: secrets.vtpmMigrationKey };
    const startWaitingCopy = async () => {
      const vtpm = await vtpms.ensureRunning({ stateDir: vms.vtpmStateDirOf(vmId), runDir, ...keys });
      return hypervisor.openIncoming(await openable(services, vm), { runDir, vtpmControlSocketPath: vtpm.controlSocketPath });
    };
    return ownership.hold(vmId, async (record) => {
      if (record.state !== 'incoming' || record.migrationId !== migrationId) {
        throw refuse('OWNERSHIP_REFUSED', { host: hostId, event: 'expect', vm: vmId, state: record.state });
      }
      // The record says that nothing may run here: what a try before this one left has other keys.
      await hypervisor.ensureDestroyed(vmId, runDir);
      await vtpms.ensureStopped(runDir);
      await vms.erase(vmId);
      const [image] = await Promise.all([startWaitingCopy(), install(vm, secrets.vtpmIdentity, keys)]);
      return image;
    });
  }

  async function install(vm: VmDocument, identity: string, keys: VtpmKeys) {
    await vms.write(vm.vmId, { version: 1, vm, vtpm: { identity, keys: await sealKeys(tpm, keys) }, bootedAfter: null });
  }

  return { prepareDestination };
}
