/**
 * Genuine evidence, and a TLS connection that it is not of: his own key in the place of the attested one; and the attested keys themselves, as if either
 * worker had lost them, under connections of his own through which he relays what the hosts prove to each other.
 */
import { readFile } from 'node:fs/promises';
import type { ChannelIdentity } from '../../../channel/port.js';
import { createIdentity } from '../../../channel/identity.js';
import { answered } from '../until.js';
import type { Arena } from './arena.js';
import type { Trial } from './flip-trials.js';
import { lostIdentityFile } from './lost-identity.js';
import { type Heard, type Masks, middle } from './middle.js';
import { judged, withSessions } from './sessions.js';

/** A confirmation and a last word; an image has millions. */
const TALK_BYTES = 4096;

export async function relayedEvidence(arena: Arena): Promise<readonly Trial[]> {
  const { attacked, orderTo } = arena;
  const own = await createIdentity();
  return [
    await attacked('his key written into evidence of host-b', 'host-b', ['QUALIFYING_DATA_MISMATCH'], async () =>
      withSessions(arena, await orderTo('host-b'), ({ evidence: { destination }, ...now }) =>
        judged(arena, now, 'source', { ...destination, binding: { ...destination.binding, tlsSpkiSha256: own.spkiSha256 } }))),
    // host-b hangs up on him, and the source gets no proof of the session key.
    await relayed(arena, 'the attested key of host-b, lost, and his own towards it', ['CHANNEL_LOST'], async () => ({ toSource: await lost(arena, 'host-b'), toDestination: own })),
    await relayed(arena, 'the attested keys of both, lost, and their proofs relayed', ['CHANNEL_KEY_UNCONFIRMED'], async () => ({ toSource: await lost(arena, 'host-b'), toDestination: await lost(arena, 'host-a') })),
  ];
}

async function relayed({ attacked, move, wires }: Arena, what: string, expected: readonly string[], masks: () => Promise<Masks>): Promise<Trial> {
  const heard: Heard = { fromSource: 0, fromDestination: 0 };
  const trial = await attacked(what, 'host-b', expected, async () => {
    const attacking = wires['host-b'].attackNext(async (source, target) => middle(await masks(), heard)(source, target));
    const codes = await move('host-b');
    await answered('both sides to hang up on him', attacking, { tell: () => JSON.stringify(heard) });
    return codes;
  });
  const problems = heard.fromSource > TALK_BYTES ? [`he heard ${heard.fromSource} bytes of the source`] : [];
  return { ...trial, problems: [...trial.problems, ...problems] };
}

async function lost({ insideFile }: Arena, host: 'host-a' | 'host-b'): Promise<ChannelIdentity> {
  return JSON.parse(await readFile(lostIdentityFile(insideFile, host), 'utf8')) as ChannelIdentity;
}
