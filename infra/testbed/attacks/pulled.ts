/** A host of the bundle that pulls a VM to itself: with orders of its own making, with those of others, and with its control plane's help. */
import { join } from 'node:path';
import { makeKey, readSigner } from '../../../cli/keys.js';
import { type Envelope, PAYLOAD_TYPES, signEnvelope } from '../../../domain/envelope.js';
import { canonicalJson } from '../../../domain/canonical.js';
import { Epoch } from '../../../domain/ids.js';
import type { Order } from '../../../domain/order.js';
import type { Arena } from './arena.js';
import type { Trial } from './flip-trials.js';
import { closed, movedByProduct, opened } from './sessions.js';

export async function pulledVm(arena: Arena): Promise<readonly Trial[]> {
  const { attacked, orderTo, operator, rogue, root, configs } = arena;
  const own = await readSigner((await makeKey(join(root, 'host-c.key'))).privateFile);
  const asked = (order: Envelope) => rogue.codesOf('host-a', 'openSession', { order, role: 'source' });
  const inAWorkflow = (order: Envelope) => movedByProduct(arena, order);

  /** The operator's signature over an order to host-b, under one that says host-c. */
  async function renamed(): Promise<Envelope> {
    const { order, signed } = await orderTo('host-b');
    return { payloadType: PAYLOAD_TYPES['korora/order'], payload: Buffer.from(canonicalJson({ ...order, destination: configs['host-c'].hostId })).toString('base64'), signatures: signed.signatures };
  }
  return [
    await attacked('an order that it signed itself, in the operator’s name', 'host-c', ['ORDER_NOT_SIGNED'], async () => asked(await signEnvelope((await orderTo('host-c')).order, own))),
    await attacked('an order to host-b, with its name in the place of that', 'host-c', ['ORDER_NOT_SIGNED'], async () => asked(await renamed())),
    await attacked('the same, as the input of the product’s workflow', 'host-c', ['ORDER_NOT_SIGNED'], async () => inAWorkflow(await renamed())),
    await attacked('an order to host-b, taken up by itself', 'host-c', ['ORDER_INVALID'], async () => rogue.codesOf('host-c', 'openSession', { order: (await orderTo('host-b')).signed, role: 'destination' })),
    await attacked('an order to it that ended before it began', 'host-c', ['ORDER_SETTLED'], async () => {
      const order = await orderTo('host-c');
      await opened(arena, order, 'source');
      await closed(arena, order);
      return [...(await asked(order.signed)), ...(await inAWorkflow(order.signed))];
    }),
    await attacked('an order to it that nobody used, from before the VM’s last moves', 'host-c', ['ORDER_STALE'], async () => {
      const { order } = await orderTo('host-c');
      const old: Order = { ...order, epoch: Epoch.parse(order.epoch - 2) };
      const signed = await signEnvelope(old, operator);
      return [...(await asked(signed)), ...(await inAWorkflow(signed))];
    }),
  ];
}
