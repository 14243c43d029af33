/** One end of a move taken up anew after the other has looked at it: other keys, other evidence, or none, in the place of what was appraised. */
import type { Arena, ArenaHost } from './arena.js';
import type { Trial } from './flip-trials.js';
import { appraised, believeEachOther, closed, opened, quoted, unwrapped, withSessions, wrapped } from './sessions.js';

export async function rebind(arena: Arena): Promise<readonly Trial[]> {
  const { attacked, orderTo, rogue, testbed, vm } = arena;
  return [
    await attacked('other genuine evidence of host-b, once the first was believed', 'host-b', ['NONCE_UNKNOWN'], async () =>
      withSessions(arena, await orderTo('host-b'), async (now) => {
        await believeEachOther(arena, now);
        const codes = await appraised(arena, now, 'source', await quoted(arena, now, 'destination', { ...now.offers.source, nonce: 'ab'.repeat(32) }));
        // What was believed still stands: the secrets are for the key in it.
        return [...codes, ...(await unwrapped(arena, now, await wrapped(arena, now)))];
      })),
    await attacked('host-b starts anew with other keys, and the source goes by those that it knows', 'host-b', ['NONCE_UNKNOWN', 'SECRETS_INVALID'], async () =>
      withSessions(arena, await orderTo('host-b'), async (now) => {
        await believeEachOther(arena, now);
        await testbed.restartWorker('host-b');
        const offer = await opened(arena, now, 'destination');
        const ofSource = await appraised(arena, now, 'source', await quoted(arena, now, 'destination', now.offers.source));
        const ofDestination = await appraised(arena, now, 'destination', await quoted(arena, now, 'source', offer));
        return [...ofSource, ...ofDestination, ...(await unwrapped(arena, now, await wrapped(arena, now)))];
      })),
    await attacked('host-a starts anew, and goes on from where it was', 'host-b', ['NOT_ATTESTED'], async () =>
      withSessions(arena, await orderTo('host-b'), async (now) => {
        await believeEachOther(arena, now);
        await testbed.restartWorker('host-a');
        await opened(arena, now, 'source');
        return [...(await rogue.codesOf('host-a', 'wrapSecrets', { order: now.signed })), ...(await rogue.codesOf('host-a', 'stopAndCopy', { order: now.signed, port: 1 }))];
      })),
    await attacked('every later step, and no appraisal', 'host-b', ['NOT_ATTESTED'], async () =>
      withSessions(arena, await orderTo('host-b'), async (now) => {
        const steps: readonly (readonly [ArenaHost, string, object])[] = [
          ['host-a', 'wrapSecrets', {}], ['host-b', 'prepareDestination', { vm }], ['host-a', 'copyMemory', { port: 1 }], ['host-a', 'stopAndCopy', { port: 1 }], ['host-b', 'verifyImage', {}],
        ];
        const codes: string[] = [];
        for (const [host, step, rest] of steps) codes.push(await rogue.codeOf(host, step, { order: now.signed, ...rest }));
        return codes;
      })),
    await attacked('a session that was closed, opened again', 'host-b', ['ORDER_SETTLED'], async () => {
      const order = await orderTo('host-b');
      await opened(arena, order, 'source');
      await closed(arena, order);
      return [await rogue.codeOf('host-a', 'openSession', { order: order.signed, role: 'source' }), await rogue.codeOf('host-b', 'openSession', { order: order.signed, role: 'destination' })];
    }),
  ];
}
