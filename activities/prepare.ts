/**
 * Phase prepare, on the destination: the record says `incoming`, the vTPM and the hypervisor wait,
 * the channel listens for the attested source. Undone by settleDestination.
 */
import { randomBytes } from 'node:crypto';
import { refuse } from '../domain/failures.js';
import type { VmId } from '../domain/ids.js';
import type { Order } from '../domain/order.js';
import { isSurplus } from '../domain/ownership.js';
import { SECRET_KEY_BYTES, SecretKey } from '../domain/secret-key.js';
import type { VmDocument } from '../domain/vm.js';
import type { IncomingImage } from '../hypervisor/port.js';
import { admit } from './admission.js';
import { assertSameDisks } from './disks.js';
import type { HostInput } from './inputs.js';
import { openable, refuseResources } from './resources.js';
import type { HostServices } from './services.js';
import { type IncomingMove, type MoveSecrets, type Session, appraisedPeer, secretsOf } from './session.js';
import { type VtpmKeys, sealKeys, withKeyBytes } from './vtpm-keys.js';

export function createPreparation(services: HostServices) {
  const { hostId, access, tpm, vtpms, hypervisor, channels, sessions, ownership, vms } = services;

  /** Where the channel listens; the bundle says on which address peers reach it. Idempotent: the same port while the session lives. */
  async function prepareDestination({ order: envelope, vm }: HostInput<'prepareDestination'>): Promise<{ readonly port: number }> {
    const admitted = await admit(services, envelope, 'destination');
    await refuseResources(services, admitted.order, vm);
    return sessions.inTurn(admitted, async (session) => {
      session.incoming ??= await prepare(session, vm);
      return { port: session.incoming.listener.address.port };
    });
  }

  async function prepare(session: Session, vm: VmDocument): Promise<IncomingMove> {
    const { order } = session;
    const peer = appraisedPeer(session, hostId, 'preparing the destination');
    const secrets = secretsOf(session, hostId, 'preparing the destination');
    await assertSameDisks(access, order, vm, secrets.disks);
    await refuseLeftovers(order.vmId);
    await ownership.apply(order.vmId, { type: 'expect', migrationId: order.migrationId, source: order.source, epoch: secrets.epoch, order: session.signed });
    const image = await openIncoming(order, vm, secrets);
    // Last, so that no step after it can fail and leave the door open.
    const listener = await channels.listen(services.channelListen, {
      migrationId: order.migrationId,
      identity: session.identity,
      peerSpkiSha256: peer.evidence.binding.tlsSpkiSha256,
      sessionKey: secrets.sessionKey,
    });
    return { image, listener, giveUp: new AbortController(), isConnected: false, verification: null };
  }

  /** What no record explains is nobody's to clear away; a move that skipped the preflight clears it away no more than another. */
  async function refuseLeftovers(vmId: VmId): Promise<void> {
    const record = await ownership.read(vmId);
    if (record.state !== 'none' || isSurplus(record)) return;
    const [what] = await vms.traces(vmId);
    if (what !== undefined) throw refuse('LEFTOVER_FOUND', { host: hostId, vm: vmId, what });
  }

  /** While the move is expected here, and not a moment longer: settled meanwhile, it would clear away another move's VM. */
  function openIncoming({ migrationId }: Order, vm: VmDocument, secrets: MoveSecrets): Promise<IncomingImage> {
    const { vmId } = vm;
    const runDir = vms.runDirOf(vmId);
    const keys: VtpmKeys = { stateKey: SecretKey.of(randomBytes(SECRET_KEY_BYTES)), migrationKey: secrets.vtpmMigrationKey };
    const startWaitingCopy = async () => {
      const vtpm = await withKeyBytes(keys, (bytes) => vtpms.ensureRunning({ stateDir: vms.vtpmStateDirOf(vmId), runDir, ...bytes }));
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
      // Both end before anything else is done with the VM, also where one of them fails.
      const [image, installed] = await Promise.allSettled([startWaitingCopy(), install(vm, secrets.vtpmIdentity, keys)]);
      keys.stateKey.destroy();
      if (image.status === 'rejected') throw image.reason;
      if (installed.status === 'rejected') {
        await image.value.close();
        throw installed.reason;
      }
      return image.value;
    });
  }

  async function install(vm: VmDocument, identity: string, keys: VtpmKeys) {
    await vms.write(vm.vmId, { version: 1, vm, vtpm: { identity, keys: await sealKeys(tpm, keys) }, bootedAfter: null, started: [] });
  }

  return { prepareDestination };
}
