/** Flips in moves of the whole product: its workflow, its workers, QEMU and its vTPM at either end. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Arena } from './arena.js';
import { FLIP_CODES, type Trial } from './flip-trials.js';
import { type Flip, type InsideFlip, type PlannedFlip, type StreamSizes, describeFlip, flipOnWire, isOnWire } from './flips.js';
import { passing } from './wire.js';

/** Of the workflow, beside what a host says of the channel: QEMU may choke on a flipped bit before its digest is known. */
const OF_A_MOVE = ['DESTINATION_REJECTED', 'IMAGE_NOT_LOADED', 'CHANNEL_LOST', 'ABORTED'];
/** A move sends more or less of the VM than another one did. */
const SURE_SHARE = 0.8;

export function flipInMove(arena: Arena, { imageBytes, wireBytes }: StreamSizes, flip: Flip): Promise<Trial> {
  const allowed = [...FLIP_CODES[flip.part], ...OF_A_MOVE];
  const sizes: StreamSizes = {
    imageBytes: Math.floor(imageBytes * SURE_SHARE),
    wireBytes: { 'to destination': Math.floor(wireBytes['to destination'] * SURE_SHARE), 'to source': Math.floor(wireBytes['to source'] * SURE_SHARE) },
  };
  const isExpected = (codes: readonly string[]) => codes.length > 0 && codes.every((code) => allowed.includes(code));
  return arena.attacked(describeFlip(flip), 'host-b', isExpected, async () => {
    const hasFlipped = isOnWire(flip) ? flipsOnWire(arena, sizes, flip) : flipsInside(arena, sizes, flip as InsideFlip);
    const codes = await arena.move('host-b');
    return hasFlipped() ? codes : [...codes, 'nothing was flipped'];
  });
}

function flipsOnWire({ wires, configs, vm }: Arena, sizes: StreamSizes, flip: Parameters<typeof flipOnWire>[0]): () => boolean {
  const record = join(configs['host-a'].stateDir, 'vms', vm.vmId, 'ownership.json');
  const { change, hasFlipped } = flipOnWire(flip, sizes, () => readFileSync(record, 'utf8').includes('"relinquished"'));
  void wires['host-b'].attackNext(passing(change));
  return hasFlipped;
}

function flipsInside({ insideFile }: Arena, { imageBytes }: StreamSizes, flip: InsideFlip): () => boolean {
  writeFileSync(insideFile, JSON.stringify({ flip, imageBytes } satisfies PlannedFlip));
  return () => {
    const isDone = !existsSync(insideFile);
    rmSync(insideFile, { force: true });
    return isDone;
  };
}
