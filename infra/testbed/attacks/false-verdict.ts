/**
 * A move whose destination accepted, and whose source never heard: it waits, stopped, for the verdict. Whatever lets it run now makes two copies run.
 * Unlike after other attacks, the VM counts on at host-b here, and must not run at host-a.
 */
import { join } from 'node:path';
import { digestOf } from '../../../domain/canonical.js';
import { signEnvelope } from '../../../domain/envelope.js';
import { Epoch } from '../../../domain/ids.js';
import { type VerdictStatement, verdictOf } from '../../../domain/manifest.js';
import type { Fence } from '../../../domain/order.js';
import { makeKey, readSigner } from '../../../cli/keys.js';
import { createLocalHost } from '../../../host/local.js';
import { createDrivers } from '../../../workers/hypervisors.js';
import { TESTBED_PCRS } from '../testbed.js';
import { answered } from '../until.js';
import type { Arena, ArenaHost, SignedOrder } from './arena.js';
import type { Trial } from './flip-trials.js';
import { believeEachOther, tpmOf, unwrapped, withSessions, wrapped } from './sessions.js';
import { RECORD_HEADER_BYTES, RecordWalk } from './tls-records.js';
import { type WireAttacker, passing } from './wire.js';

const OTHER_PCRS = [23];
const UNPROVEN = ['VERDICT_UNPROVEN'];

export async function falseVerdict(arena: Arena): Promise<readonly Trial[]> {
  const { root, rogue } = arena;
  const order = await arena.orderTo('host-b');
  await acceptedUnheard(arena, order);
  const { order: { vmId, migrationId, destination, epoch, notAfter }, signed } = order;
  const genuine = await rogue.ask<VerdictStatement>('host-b', 'settleDestination', { order: signed, reason: 'the control plane asks' });
  const rejected = verdictOf({ migrationId, vmId, destination, epoch: Epoch.parse(epoch + 1) }, { verdict: 'rejected', manifestDigest: null, reason: 'ABORTED: it is said so' });
  const stranger = await readSigner((await makeKey(join(root, 'fencer.key'))).privateFile);
  const fence: Fence = { kind: 'korora/fence', version: 1, vmId, migrationId, host: destination, reason: 'it is said to be off', by: 'operator', notAfter };

  const by = async (host: ArenaHost, pcrs: readonly number[], verdict = rejected) => {
    const { attest, signature } = await tpmOf(arena, host).quote(pcrs, Buffer.from(digestOf(verdict), 'hex'));
    return rogue.codesOf('host-a', 'resolveSource', { statement: { verdict, quote: { attest, signature } } });
  };
  const ofRevoked = async () => {
    await arena.setStatus('host-b', 'revoked');
    const codes = await by('host-b', TESTBED_PCRS);
    await arena.setStatus('host-b', 'active');
    return codes;
  };
  const trials = [
    await tried(arena, 'a rejection by host-b’s TPM over PCR 23 alone, as of a host that changed', UNPROVEN, () => by('host-b', OTHER_PCRS)),
    await tried(arena, 'a rejection by host-b, in a reference state, while the bundle has it as revoked', UNPROVEN, ofRevoked),
    await tried(arena, 'a rejection by the TPM of host-c', UNPROVEN, () => by('host-c', TESTBED_PCRS)),
    await tried(arena, 'a rejection under the quote of the acceptance', UNPROVEN, () => rogue.codesOf('host-a', 'resolveSource', { statement: { verdict: rejected, quote: genuine.quote } })),
    await tried(arena, 'a fence of host-b that no operator signed', ['ORDER_NOT_SIGNED'], async () => rogue.codesOf('host-a', 'fenceDestination', { fence: await signEnvelope(fence, stranger) })),
    await tried(arena, 'an operator’s order to host-b in the place of a fence', ['ORDER_INVALID'], () => rogue.codesOf('host-a', 'fenceDestination', { fence: signed })),
  ];
  // Where one was believed, two copies may run, which nothing here puts right.
  if (trials.some(({ problems }) => problems.length > 0)) return trials;
  await rogue.ask('host-a', 'resolveSource', { statement: { verdict: genuine.verdict, quote: genuine.quote } });
  const back = await arena.move('host-a');
  if (back.length > 0) throw new Error(`the way back was refused: ${back.join(', ')}`);
  return trials;
}

/** As the product’s workflow does it, up to the verdict, which is cut off on the wire. */
async function acceptedUnheard(arena: Arena, order: SignedOrder): Promise<void> {
  const { rogue, vm, wires, recordAt } = arena;
  const { signed } = order;
  const codes = await withSessions(arena, order, async (now) => {
    await believeEachOther(arena, now);
    const refused = await unwrapped(arena, now, await wrapped(arena, now));
    if (refused.length > 0) return refused;
    const { port } = await rogue.ask<{ port: number }>('host-b', 'prepareDestination', { order: signed, vm });
    const cutting = wires['host-b'].attackNext(cutBeforeVerdict());
    const ends = await Promise.all([rogue.codeOf('host-a', 'copyMemory', { order: signed, port }), rogue.codeOf('host-a', 'stopAndCopy', { order: signed, port }), rogue.codeOf('host-b', 'verifyImage', { order: signed })]);
    await answered('the end of the connection that is cut', cutting);
    return ends;
  });
  const [source, destination] = [recordAt('host-a')?.state, recordAt('host-b')?.state];
  if (source !== 'relinquished' || destination !== 'owner') throw new Error(`the move whose verdict is cut off left ${source} and ${destination}, by ${codes.join(', ')}`);
}

/** More than the image's first records were sent: what is longer than a confirmation, and comes back, is the verdict. */
const IN_THE_COPY_BYTES = 1_000_000;
const VERDICT_BYTES = 250;

function cutBeforeVerdict(): WireAttacker {
  return async (source, target) => {
    const records = new RecordWalk();
    let sent = 0;
    let isCut = false;
    await passing((direction, piece) => {
      if (direction === 'to destination') sent += piece.length;
      else records.walk(piece, (_, bytes, { offset }) => {
        isCut ||= sent > IN_THE_COPY_BYTES && offset >= RECORD_HEADER_BYTES && bytes > VERDICT_BYTES;
      });
      if (!isCut) return piece;
      source.destroy();
      return Buffer.alloc(0);
    })(source, target);
  };
}

/** host-a waits on, its VM stopped, and host-b has the only copy that runs. */
async function tried({ configs, recordAt, vm, countsOn }: Arena, what: string, expected: readonly string[], attack: () => Promise<readonly string[]>): Promise<Trial> {
  const codes = await attack();
  const { hypervisor } = createDrivers(createLocalHost(configs['host-a'].hostId), configs['host-a']);
  const status = await hypervisor.status(vm.vmId, join(configs['host-a'].runDir, vm.vmId));
  const [source, destination] = [recordAt('host-a')?.state, recordAt('host-b')?.state];
  const counts = await countsOn('host-b');
  const problems = [
    ...(codes.join() === expected.join() ? [] : [`refused by ${codes.join(', ') || 'nobody'}, not by ${expected.join(', ')}`]),
    ...(source === 'relinquished' ? [] : [`host-a holds it as ${source}`]),
    ...(destination === 'owner' ? [] : [`host-b holds it as ${destination}`]),
    ...(status === 'running' ? ['it runs at host-a'] : []),
    ...(counts === 'goes on' ? [] : [counts]),
  ];
  return { what, codes, problems };
}
