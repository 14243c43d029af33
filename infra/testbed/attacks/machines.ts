/** Machines as genuine as the right one, and not it: another host of the bundle, and one with a TPM and an EK certificate of its own that no bundle has. */
import { join } from 'node:path';
import type { SessionOffer } from '../../../domain/attestation.js';
import { openSigned } from '../../../domain/authority.js';
import { type Envelope, signEnvelope } from '../../../domain/envelope.js';
import { HostId } from '../../../domain/ids.js';
import type { Order } from '../../../domain/order.js';
import { createLocalHost } from '../../../host/local.js';
import { ensureTestbedTpm, ensureTestbedTpmStopped } from '../../../tpm/testbed-tpm.js';
import type { HostTpm } from '../../../tpm/port.js';
import { createTpm } from '../../../workers/services.js';
import { freePortPair } from '../ports.js';
import type { Arena } from './arena.js';
import type { Trial } from './flip-trials.js';
import { type Answers, poachedMove } from './poacher.js';
import type { RecordedAnswers } from './recorded.js';
import { judged, quoteAsDestination, tpmOf, withSessions } from './sessions.js';

const NOT_HOST_B = ['QUOTE_SIGNATURE_INVALID', 'QUOTE_SIGNER_WRONG', 'WRAPPING_KEY_INVALID'];

export async function anyGenuineMachine(arena: Arena, recorded: RecordedAnswers): Promise<readonly Trial[]> {
  const { attacked, orderTo, rogue, operator, configs } = arena;
  const asB = (tpm: HostTpm, as: HostId) => async () =>
    withSessions(arena, await orderTo('host-b'), async (now) => judged(arena, now, 'source', await quoteAsDestination(tpm, now.order, now.offers.source.nonce, as)));
  const ofC = tpmOf(arena, 'host-c');
  return withStranger(arena, async (stranger, itsName) => [
    await attacked('host-c, which the bundle has, says that it is host-b', 'host-b', NOT_HOST_B, asB(ofC, configs['host-b'].hostId)),
    await attacked('host-c, on the queue of host-b, in a whole move', 'host-b', NOT_HOST_B, () => poachedMove(arena, answersOf(ofC, configs['host-b'].hostId, recorded))),
    await attacked('a machine that no bundle has says that it is host-b', 'host-b', NOT_HOST_B, asB(stranger, configs['host-b'].hostId)),
    await attacked('the same, under its own name', 'host-b', [...NOT_HOST_B, 'BINDING_MISMATCH'], asB(stranger, itsName)),
    await attacked('an operator’s order to it', 'host-b', ['HOST_UNKNOWN'], async () => {
      const { order } = await orderTo('host-b');
      const toIt: Order = { ...order, destination: itsName };
      return rogue.codesOf('host-a', 'openSession', { order: await signEnvelope(toIt, operator), role: 'source' });
    }),
  ]);
}

/** Of whoever has this TPM, and answers every question to a destination. `recorded`: what the right one answered once. */
function answersOf(tpm: HostTpm, as: HostId, recorded: RecordedAnswers): Answers {
  return {
    inspectDestination: () => recorded.get('host-b inspectDestination'),
    openSession: (): SessionOffer => ({ hostId: as, role: 'destination', nonce: '00'.repeat(32), tlsSpkiSha256: 'ab'.repeat(32) }),
    quoteHost: ({ order, peer }: { readonly order: Envelope; readonly peer: SessionOffer }) => quoteAsDestination(tpm, openSigned('korora/order', order).document, peer.nonce, as),
    appraisePeer: () => recorded.get('host-b appraisePeer'),
    closeSession: () => undefined,
  };
}

/** `work` has a TPM of the same make as those of the hosts, with an EK certificate of its own. */
async function withStranger<T>({ testbed, configs }: Arena, work: (tpm: HostTpm, itsName: HostId) => Promise<T>): Promise<T> {
  const hostId = HostId.parse('host-d');
  const access = createLocalHost(hostId);
  const stateDir = join(testbed.root, hostId, 'tpm');
  const spec = { access, hostId, stateDir, port: await freePortPair() };
  const { tcti } = await ensureTestbedTpm(spec);
  try {
    const tpm = createTpm(access, { ...configs['host-c'], hostId, tcti, stateDir: join(testbed.root, hostId, 'state') });
    await tpm.ensureAttestationKey();
    return await work(tpm, hostId);
  } finally {
    await ensureTestbedTpmStopped(spec);
  }
}
