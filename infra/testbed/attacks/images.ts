/** What real moves send: the image of the arena's VM as QEMU writes it, and the bytes of whole moves on the wire. */
import { join } from 'node:path';
import { DEFAULT_LIMITS } from '../../../domain/progress.js';
import { createLocalHost } from '../../../host/local.js';
import { createDrivers } from '../../../workers/hypervisors.js';
import { answered } from '../until.js';
import type { Arena, ArenaHost } from './arena.js';
import { type RecordedAnswers, answersInHistory } from './recorded.js';
import { type Recording, recording } from './wire.js';

/** QEMU's whole image of the running VM, which runs on afterwards. Nobody receives it. */
export async function recordImage({ configs, vm }: Arena): Promise<Buffer> {
  const config = configs['host-a'];
  const { hypervisor } = createDrivers(createLocalHost(config.hostId), config);
  const runDir = join(config.runDir, vm.vmId);
  const outgoing = await hypervisor.openOutgoing(vm, runDir, DEFAULT_LIMITS);
  const pieces: Buffer[] = [];
  outgoing.image.on('data', (piece: Buffer) => pieces.push(piece));
  const ended = new Promise((resolve, reject) => outgoing.image.once('end', resolve).once('error', reject));
  const tell = async () => JSON.stringify(await outgoing.progress());
  await answered('the pause of the source', outgoing.paused, { tell });
  await answered('the end of the image', Promise.all([outgoing.release(), ended]), { tell });
  await outgoing.close();
  await hypervisor.ensureRunning(vm.vmId, runDir);
  return Buffer.concat(pieces);
}

export interface RecordedMove {
  readonly bytes: Recording;
  readonly answers: RecordedAnswers;
}

/** A move to host-b, which succeeds, and one back. */
export async function recordMove(arena: Arena): Promise<RecordedMove> {
  const { move, wires } = arena;
  const { attacker, recorded } = recording();
  const recordingIt = wires['host-b'].attackNext(attacker);
  await untouched('host-b');
  const answers = await answersInHistory(arena);
  await untouched('host-a');
  await answered('the end of the connection that is recorded', recordingIt);
  return { bytes: recorded(), answers };

  async function untouched(host: ArenaHost): Promise<void> {
    const codes = await move(host);
    if (codes.length > 0) throw new Error(`a move that nobody touched, to ${host}, was refused: ${codes.join(', ')}`);
  }
}
