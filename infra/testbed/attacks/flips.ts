/**
 * Single-bit flips: where one can be, which ones a seed draws, and how it is done to bytes on the wire or to frames inside the
 * TLS connection. A part is drawn first and a place in it second: a uniform draw would hardly ever hit anything but the image.
 */
import { FRAMES, HEADER_BYTES } from '../../../channel/frames.js';
import { RECORD_HEADER_BYTES, RecordWalk } from './tls-records.js';
import type { Change, Direction } from './wire.js';

export const WIRE_PARTS = ['handshake to destination', 'handshake to source', 'records to destination', 'record headers to destination', 'records to source', 'tail and manifest'] as const;
export const INSIDE_PARTS = ['confirmation', 'frame headers', 'image', 'manifest header', 'manifest'] as const;
export type WirePart = (typeof WIRE_PARTS)[number];
export type InsidePart = (typeof INSIDE_PARTS)[number];

/** `place`: in [0, 1), where in the part. `bit`: 0 to 7, in the byte that this gives. */
export interface Flip {
  readonly part: WirePart | InsidePart;
  readonly place: number;
  readonly bit: number;
}

/** What a move of this image sends, so that places are numbers of bytes. */
export interface StreamSizes {
  readonly imageBytes: number;
  /** TLS bytes of a whole connection. */
  readonly wireBytes: Readonly<Record<Direction, number>>;
}

/** The same for the same seed. Each part in turn. */
export function drawFlips(count: number, random: () => number, parts: readonly (WirePart | InsidePart)[] = [...WIRE_PARTS, ...INSIDE_PARTS]): readonly Flip[] {
  return Array.from({ length: count }, (_, i) => ({ part: parts[i % parts.length]!, place: random(), bit: Math.floor(random() * 8) }));
}

export function describeFlip({ part, place, bit }: Flip): string {
  return `bit ${bit} at ${(place * 100).toFixed(4)} % of ${part}`;
}

/** As host-worker.ts reads it. */
export interface PlannedFlip {
  readonly flip: InsideFlip;
  readonly imageBytes: number;
}

export type InsideFlip = Flip & { readonly part: InsidePart };

export function isOnWire(flip: Flip): flip is Flip & { readonly part: WirePart } {
  return (WIRE_PARTS as readonly string[]).includes(flip.part);
}

/** More than either side sends before its first application byte. */
const HANDSHAKE_BYTES = 1024;
/** Of the whole: what is sent later may vary from one connection to the next, and would not be reached. */
const SURE_SHARE = 0.95;
/** The destination's verdict is among its last bytes: by then it has decided. */
const SHARE_BEFORE_VERDICT = 0.7;
/** The last TLS bytes before the verdict: a piece of the image, the manifest. */
const TAIL_BYTES = 600;

export interface Flipper<T> {
  readonly change: T;
  readonly hasFlipped: () => boolean;
}

/**
 * Flips it in what passes, once. `isTail`: whether the source has begun to send what follows the image, for the part of that
 * name. A byte that no receiver looks at (RecordByte.isIgnored) is left alone, and the next one that counts is taken.
 */
export function flipOnWire(flip: Flip & { readonly part: WirePart }, { wireBytes }: StreamSizes, isTail: () => boolean): Flipper<Change> {
  const direction: Direction = flip.part.endsWith('to source') ? 'to source' : 'to destination';
  const isReached = reaching(flip, wireBytes[direction], isTail);
  const records = new RecordWalk();
  let passedBytes = 0;
  let hasFlipped = false;
  return {
    hasFlipped: () => hasFlipped,
    change(way, piece) {
      if (way !== direction || hasFlipped) return piece;
      const from = isReached(passedBytes, piece.length);
      passedBytes += piece.length;
      let at: number | null = null;
      records.walk(piece, (start, bytes, { offset, isIgnored }) => {
        if (at !== null || from === null || isIgnored || start + bytes <= from) return;
        if (flip.part === 'record headers to destination' && offset >= RECORD_HEADER_BYTES) return;
        at = Math.max(start, from);
      });
      if (at === null) return piece;
      hasFlipped = true;
      return flipped(piece, at, flip.bit);
    },
  };
}

/** From which byte of the piece on, of `bytes` that come after `passedBytes`, the flip may happen; null where not yet. */
function reaching({ part, place }: Flip, wireBytes: number, isTail: () => boolean): (passedBytes: number, bytes: number) => number | null {
  if (part === 'tail and manifest') return (_, bytes) => (isTail() ? bytes - 1 - Math.floor(place * Math.min(bytes, TAIL_BYTES)) : null);
  const share = part.startsWith('handshake') ? HANDSHAKE_BYTES : part === 'records to source' ? wireBytes * SHARE_BEFORE_VERDICT : wireBytes * SURE_SHARE;
  const goal = Math.floor(place * share);
  return (passedBytes, bytes) => (passedBytes + bytes > goal ? Math.max(0, goal - passedBytes) : null);
}

/**
 * Flips it in the frames that the source writes, before they are encrypted: `change` gets whole frames. A place in the image is
 * one byte of its data; a place among the headers is a bit of the header of the frame that this byte is in.
 */
export function flipInside(flip: InsideFlip, { imageBytes }: Pick<StreamSizes, 'imageBytes'>): Flipper<(frame: Buffer) => Buffer> {
  const goal = Math.floor(flip.place * imageBytes);
  let sentBytes = 0;
  let hasFlipped = false;
  const at = (frame: Buffer): number | null => {
    const type = frame.readUInt8(0);
    const payloadBytes = frame.length - HEADER_BYTES;
    switch (flip.part) {
      case 'confirmation':
        return type === FRAMES.CONFIRM.type ? Math.floor(flip.place * frame.length) : null;
      case 'manifest header':
        return type === FRAMES.MANIFEST.type ? Math.floor(flip.place * HEADER_BYTES) : null;
      case 'manifest':
        return type === FRAMES.MANIFEST.type ? HEADER_BYTES + Math.floor(flip.place * payloadBytes) : null;
      case 'frame headers':
      case 'image': {
        if (type !== FRAMES.DATA.type) return null;
        const before = sentBytes;
        sentBytes += payloadBytes;
        if (goal < before || goal >= sentBytes) return null;
        return flip.part === 'image' ? HEADER_BYTES + goal - before : (goal - before) % HEADER_BYTES;
      }
    }
  };
  return {
    hasFlipped: () => hasFlipped,
    change(frame) {
      const found = hasFlipped ? null : at(frame);
      if (found === null) return frame;
      hasFlipped = true;
      return flipped(frame, found, flip.bit);
    },
  };
}

/** A copy: the sender's own buffer, and what it digests of it, stays as it is. */
export function flipped(bytes: Buffer, at: number, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ (1 << bit), at);
  return copy;
}
