/** One bad host of the bundle, whose TPM signs whatever it likes, and whoever owns Temporal: words that end, start or settle what is not theirs. */
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { makeKey, readSigner } from '../../../cli/keys.js';
import { digestOf } from '../../../domain/canonical.js';
import { signEnvelope } from '../../../domain/envelope.js';
import { Epoch } from '../../../domain/ids.js';
import type { Claim } from '../../../domain/manifest.js';
import type { Order, StartOrder } from '../../../domain/order.js';
import { TESTBED_PCRS } from '../testbed.js';
import type { Arena } from './arena.js';
import type { Trial } from './flip-trials.js';
import { appraised, quoted, tpmOf, withSessions } from './sessions.js';

/** That no reference set names. */
const OTHER_PCRS = [23];

export async function badHost(arena: Arena): Promise<readonly Trial[]> {
  const { attacked, configs, operator, orderTo, recordAt, rogue, root, testbed, vm } = arena;
  const stranger = await readSigner((await makeKey(join(root, 'stranger.key'))).privateFile);
  const claimed = async (epoch: number, pcrs: readonly number[]) => {
    const { move, signed } = await orderTo('host-b');
    const claim: Claim = { protocol: 'korora/1', purpose: 'claim', vmId: vm.vmId, hostId: configs['host-b'].hostId, epoch: Epoch.parse(epoch), migrationId: move.migrationId };
    const { attest, signature } = await tpmOf(arena, 'host-b').quote(pcrs, Buffer.from(digestOf(claim), 'hex'));
    return rogue.codesOf('host-a', 'yieldToClaim', { statement: { claim, quote: { attest, signature }, authority: signed } });
  };
  const settled = (host: 'host-a' | 'host-b', migrationId: string) => (recordAt(host)?.settled ?? []).some((one) => one.migrationId === migrationId);

  return [
    await attacked('host-b claims epoch 1000, and quotes PCR 23 alone', 'host-b', ['CLAIM_UNPROVEN'], () => claimed(1000, OTHER_PCRS)),
    await attacked('host-b claims epoch 1000, in a reference state, by an order that moved nothing', 'host-b', ['OWNERSHIP_REFUSED'], () => claimed(1000, TESTBED_PCRS)),
    await attacked('host-b claims the next epoch, the same way', 'host-b', ['OWNERSHIP_REFUSED'], async () => claimed((recordAt('host-a')?.epoch ?? 0) + 1, TESTBED_PCRS)),
    await attacked('settlements of a move that no operator ordered', 'host-b', ['ORDER_NOT_SIGNED'], async () => {
      const { order, move } = await orderTo('host-b');
      const unsigned = { order: await signEnvelope(order, stranger), reason: 'the control plane wants it' };
      const codes = [await rogue.codeOf('host-b', 'settleDestination', unsigned), await rogue.codeOf('host-a', 'settleSource', unsigned), await rogue.codeOf('host-b', 'closeSession', unsigned)];
      return settled('host-a', move.migrationId) || settled('host-b', move.migrationId) ? [...codes, 'a record has it'] : codes;
    }),
    await attacked('a settlement at epoch 2.5, and no order', 'host-b', ['ORDER_INVALID'], async () => {
      const { move } = await orderTo('host-b');
      return [...(await rogue.codesOf('host-b', 'settleDestination', { move, epoch: 2.5, reason: 'it is so' })), ...(await rogue.codesOf('host-b', 'settleDestination', { order: (await orderTo('host-b')).signed, epoch: 2.5, reason: 'it is so' }))];
    }),
    await attacked('an order that was refused, again', 'host-b', ['NONCE_UNKNOWN', 'ORDER_SETTLED'], async () => {
      const order = await orderTo('host-b');
      const refused = await withSessions(arena, order, async (now) => appraised(arena, now, 'source', await quoted(arena, now, 'destination', { ...now.offers.source, nonce: 'ab'.repeat(32) })));
      return [...refused, await rogue.codeOf('host-a', 'openSession', { order: order.signed, role: 'source' }), await rogue.codeOf('host-b', 'openSession', { order: order.signed, role: 'destination' })];
    }),
    await attacked('a start, again, after something was written of its VM before it was there', 'host-b', ['START_USED'], async () => startedTwice()),
  ];

  async function startedTwice(): Promise<readonly string[]> {
    const other = await testbed.guest(`once-${randomBytes(3).toString('hex')}`, { hasVtpm: false });
    const { order } = await orderTo('host-b');
    const early: Order = { ...order, vmId: other.vmId, vmDigest: digestOf(other), epoch: Epoch.parse(1) };
    await rogue.ask('host-b', 'settleDestination', { order: await signEnvelope(early, operator), reason: 'before its time' });
    const start: StartOrder = { kind: 'korora/start', version: 1, vmId: other.vmId, vmDigest: digestOf(other), host: configs['host-b'].hostId, epoch: null, by: 'operator', notAfter: order.notAfter };
    const signed = await signEnvelope(start, operator);
    await rogue.ask('host-b', 'startVm', { start: signed, vm: other });
    await testbed.endVms(other.vmId);
    return rogue.codesOf('host-b', 'startVm', { start: signed, vm: other });
  }
}
