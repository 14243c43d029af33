/**
 * activities/outgoing-move.ts at the moment when the source has paused: the host's own gate against a control plane that lets a held copy go on.
 * Over stand-ins, as outgoing-move.test.ts.
 */
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createOutgoingMove } from '../../activities/outgoing-move.js';
import type { HostServices } from '../../activities/services.js';
import type { Session } from '../../activities/session.js';
import type { AppraisedPeer } from '../../domain/appraisal.js';
import { Epoch } from '../../domain/ids.js';
import type { Approval } from '../../domain/order.js';
import type { OwnershipEvent } from '../../domain/ownership.js';
import { PEER_BOOT, approvalOf, digest, manifestOf, orderOf, samples, verdictOf, vmDocument } from '../support/documents.js';
import { SecretKey } from '../../domain/secret-key.js';

/** Its hypervisor pauses by itself, held or not, as QEMU may in a late round; the image is sent at once. */
function pausedMove({ requiresApproval = false, approval = null as Approval | null } = {}) {
  const done: string[] = [];
  const image = {
    image: new PassThrough(),
    paused: Promise.resolve({ stoppedAtMs: 0 }),
    release: async () => undefined,
    close: async () => void done.push('close image'),
  };
  const channel = {
    sendImage: async () => ({ bytes: 1, sha256: digest(2) }),
    sendManifest: async () => void done.push('manifest'),
    receiveVerdict: async () => verdictOf(),
    broken: new Promise<never>(() => undefined),
    abort: () => undefined,
    close: async () => undefined,
  };
  const services = {
    hypervisor: { status: async () => 'running', openOutgoing: async () => image },
    channels: { connect: async () => channel },
    ownership: { apply: async (_: unknown, { type }: OwnershipEvent) => void done.push(type) },
    vms: { runDirOf: () => '/run/of/the/test' },
  } as unknown as HostServices;
  const withdrawOffer = async () => {
    done.push('bring back, withdraw');
    return 'runs' as const;
  };
  const session = { order: orderOf({ requiresApproval }), isHeld: requiresApproval, approval, identity: { spkiSha256: digest(1), certificate: '', privateKey: '' } } as unknown as Session;
  const move = createOutgoingMove(services, { withdrawOffer }, {
    session,
    vm: vmDocument(),
    address: { host: '127.0.0.1', port: 1 },
    peer: { evidence: samples.destinationEvidence } as unknown as AppraisedPeer,
    peerBoot: PEER_BOOT,
    secrets: { sessionKey: SecretKey.of(Buffer.alloc(32, 1)), vtpmMigrationKey: SecretKey.of(Buffer.alloc(32, 2)), epoch: Epoch.parse(2), previousVerdict: null, vtpmIdentity: manifestOf().vtpmIdentity, disks: [] },
  });
  return { move, done, session };
}

describe('a source that has paused', () => {
  it('without the approval that its order asks for runs on, and neither relinquishes nor sends its manifest', async () => {
    const { move, done } = pausedMove({ requiresApproval: true });
    await expect(move.finish()).rejects.toMatchObject({ code: 'APPROVAL_MISSING' });
    expect(done).toEqual(['offer', 'close image', 'bring back, withdraw']);
  });

  it.each([['with the approval that its order asks for', { requiresApproval: true, approval: approvalOf() }], ['whose order asks for none', {}]])('%s hands over', async (_, parts) => {
    const { move, done } = pausedMove(parts);
    expect((await move.finish()).verdict.verdict).toBe('accepted');
    expect(done).toEqual(['offer', 'relinquish', 'manifest', 'learn-verdict', 'close image']);
  });
});
