/** Every kind of attack, and what each is tried on: the list of `npm run attack` and of test/e2e/attacks.test.ts. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { MIB } from '../../../domain/vm.js';
import { randomFrom } from '../random.js';
import type { Arena } from './arena.js';
import { badHost } from './bad-host.js';
import { falseVerdict } from './false-verdict.js';
import { type FlipTrials, type Trial, openFlipTrials } from './flip-trials.js';
import { INSIDE_PARTS, type InsidePart, type StreamSizes, WIRE_PARTS, type WirePart, drawFlips } from './flips.js';
import { recordImage, recordMove } from './images.js';
import { anyGenuineMachine } from './machines.js';
import { manInTheMiddle } from './middle.js';
import { pulledVm } from './pulled.js';
import { flipInMove } from './qemu-flips.js';
import { anotherHost, reflectedQuote, yesterdaysQuote } from './quotes.js';
import { rebind } from './rebind.js';
import { type RecordedAnswers, fixedNonce, recordedAttestation } from './recorded.js';
import { relayedEvidence } from './relayed.js';
import { type SinkHost, openSinkHost } from './sink-host.js';
import { playedAgain, splicedInside, splicedStream } from './streams.js';
import type { Recording } from './wire.js';

/** What attacks of several kinds use, recorded once. */
export interface Loot {
  /** Of a move that succeeded, from host-a to host-b. */
  readonly earlier: Recording;
  /** What its hosts answered. */
  readonly answers: RecordedAnswers;
  /** Of the VM's image at two times, the beginning of one and the end of the other: as much as is sent to the sink, which loads nothing. Their beginnings may be the same. */
  readonly images: readonly [Buffer, Buffer];
  readonly sink: SinkHost;
  readonly flips: FlipTrials;
  /** Of a whole move. */
  readonly sizes: StreamSizes;
}

const SINK_IMAGE_BYTES = 16 * MIB;

export async function collectLoot(arena: Arena): Promise<Loot> {
  const [whole, later] = [await recordImage(arena), await recordImage(arena)];
  const images = [whole.subarray(0, SINK_IMAGE_BYTES), later.subarray(-SINK_IMAGE_BYTES)] as const;
  const { bytes: earlier, answers } = await recordMove(arena);
  const sizes: StreamSizes = { imageBytes: whole.length, wireBytes: { 'to destination': earlier['to destination'].length, 'to source': earlier['to source'].length } };
  const sink = await openSinkHost({ installed: arena.installed, operator: { name: 'operator', signer: arena.operator }, folder: join(arena.root, 'sink'), image: images[0] });
  return { earlier, answers, images, sink, flips: await openFlipTrials(sink, createHash('sha256').update(images[0]).digest('hex'), images[0].length), sizes };
}

export interface FlipCounts {
  readonly seed: number;
  /** To the sink, and to QEMU. */
  readonly sink: number;
  readonly qemu: number;
}

export interface Kind {
  readonly name: string;
  readonly on: 'QEMU' | 'sink';
  readonly what: string;
  run(arena: Arena, loot: Loot, flips: FlipCounts): Promise<readonly Trial[]>;
}

export const KINDS: readonly Kind[] = [
  { name: 'man-in-the-middle', on: 'QEMU', what: 'TLS of his own, genuine quotes relayed', run: manInTheMiddle },
  { name: 'yesterdays-quote', on: 'QEMU', what: 'evidence of an earlier session', run: yesterdaysQuote },
  { name: 'reflected-quote', on: 'QEMU', what: 'a host’s own evidence, given back to it', run: reflectedQuote },
  { name: 'another-host', on: 'QEMU', what: 'an enrolled host that the order does not name', run: anotherHost },
  { name: 'recorded-attestation', on: 'QEMU', what: 'all that hosts said in a move that succeeded', run: (arena, { answers }) => recordedAttestation(arena, answers) },
  { name: 'fixed-nonce', on: 'QEMU', what: 'quotes made beforehand, over guessed challenges', run: fixedNonce },
  { name: 'rebind', on: 'QEMU', what: 'other keys or evidence, once the peer was believed', run: rebind },
  { name: 'relayed-evidence', on: 'QEMU', what: 'genuine evidence, and another TLS connection', run: relayedEvidence },
  { name: 'any-genuine-machine', on: 'QEMU', what: 'another genuine machine in the destination’s place', run: (arena, { answers }) => anyGenuineMachine(arena, answers) },
  { name: 'pulled-vm', on: 'QEMU', what: 'a host that pulls a VM to itself', run: pulledVm },
  { name: 'bad-host', on: 'QEMU', what: 'claims, settlements, starts and orders out of place', run: badHost },
  { name: 'false-verdict', on: 'QEMU', what: 'a rejection of a move that was accepted', run: falseVerdict },
  { name: 'spliced-stream', on: 'QEMU', what: 'TLS records of two moves in one', run: (arena, { earlier }) => splicedStream(arena, earlier) },
  { name: 'spliced-image', on: 'sink', what: 'images of two moves in one, inside TLS', run: (_, { sink, images }) => splicedInside(sink, ...images) },
  { name: 'played-again', on: 'QEMU', what: 'a recorded stream, to a third host and to the same', run: (arena, { earlier }) => playedAgain(arena, earlier) },
  { name: 'flips-on-the-wire', on: 'sink', what: 'a bit of the TLS bytes, either way', run: (_, { flips }, counts) => toSink(flips, counts, WIRE_PARTS) },
  { name: 'flips-inside', on: 'sink', what: 'a bit of frames, image or manifest', run: (_, { flips }, counts) => toSink(flips, counts, INSIDE_PARTS) },
  { name: 'ignored-bits', on: 'sink', what: 'every bit of the version of unencrypted records', run: (_, { flips }) => flips.ignoredBits() },
  { name: 'flips-of-a-move', on: 'QEMU', what: 'a bit of any of these', run: toQemu },
];

/**
 * In the order in which few flips should be spent: these take seconds each. Without the manifest's header: a destination that waits
 * for a longer manifest, while its peer keeps the channel alive, may do so for hours.
 */
const PARTS_OF_A_MOVE: readonly (WirePart | InsidePart)[] = [
  'image', 'tail and manifest', 'manifest', 'records to destination', 'frame headers', 'records to source', 'confirmation', 'handshake to source', 'record headers to destination', 'handshake to destination',
];

/** A share of the flips that goes by how many parts these are. */
async function toSink(flips: FlipTrials, { seed, sink }: FlipCounts, parts: readonly (WirePart | InsidePart)[]): Promise<readonly Trial[]> {
  const all = [...WIRE_PARTS, ...INSIDE_PARTS];
  const trials: Trial[] = [];
  for (const flip of drawFlips(sink, randomFrom(seed), all)) if (parts.includes(flip.part)) trials.push(await flips.one(flip));
  return trials;
}

async function toQemu(arena: Arena, { sizes }: Loot, { seed, qemu }: FlipCounts): Promise<readonly Trial[]> {
  const trials: Trial[] = [];
  for (const flip of drawFlips(qemu, randomFrom(seed + 1), PARTS_OF_A_MOVE)) trials.push(await flipInMove(arena, sizes, flip));
  return trials;
}
