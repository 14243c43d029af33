/** One flip, one move to the sink: was it done, was the move refused, and by a code that such a flip can have. */
import { describeFlip, type Flip, type InsideFlip, type StreamSizes, flipInside, flipOnWire, flipped, isOnWire } from './flips.js';
import type { SinkHost, SinkOutcome } from './sink-host.js';
import { RecordWalk } from './tls-records.js';
import { type Direction, passing, recording } from './wire.js';

export interface Trial {
  readonly what: string;
  /** By which it was refused; none where it was not. */
  readonly codes: readonly string[];
  /** What is not as it must be; none where the attack came to nothing. */
  readonly problems: readonly string[];
}

export interface FlipTrials {
  one(flip: Flip): Promise<Trial>;
  /** Every bit of the version field of every record that is not encrypted: without effect, or refused. */
  ignoredBits(): Promise<readonly Trial[]>;
  close(): Promise<void>;
}

/** What a flip may be refused by. INTERNAL and what is not a refusal are never among them. */
export const FLIP_CODES: Readonly<Record<Flip['part'], readonly string[]>> = {
  'handshake to destination': ['CHANNEL_PEER_UNKNOWN', 'CHANNEL_KEY_UNCONFIRMED', 'CHANNEL_LOST', 'CHANNEL_UNREACHABLE', 'CHANNEL_SILENT'],
  'handshake to source': ['CHANNEL_PEER_UNKNOWN', 'CHANNEL_KEY_UNCONFIRMED', 'CHANNEL_LOST', 'CHANNEL_UNREACHABLE', 'CHANNEL_SILENT'],
  'records to destination': ['CHANNEL_PEER_UNKNOWN', 'CHANNEL_KEY_UNCONFIRMED', 'CHANNEL_LOST', 'CHANNEL_SILENT'],
  'record headers to destination': ['CHANNEL_PEER_UNKNOWN', 'CHANNEL_KEY_UNCONFIRMED', 'CHANNEL_LOST', 'CHANNEL_SILENT'],
  'records to source': ['CHANNEL_PEER_UNKNOWN', 'CHANNEL_KEY_UNCONFIRMED', 'CHANNEL_LOST', 'CHANNEL_UNREACHABLE', 'CHANNEL_SILENT'],
  'tail and manifest': ['CHANNEL_LOST', 'CHANNEL_SILENT'],
  confirmation: ['CHANNEL_KEY_UNCONFIRMED', 'CHANNEL_FRAME_INVALID'],
  'frame headers': ['CHANNEL_FRAME_INVALID', 'CHANNEL_LOST', 'STREAM_DIGEST_MISMATCH', 'STREAM_LENGTH_MISMATCH'],
  image: ['STREAM_DIGEST_MISMATCH'],
  'manifest header': ['CHANNEL_FRAME_INVALID', 'CHANNEL_LOST'],
  manifest: ['CHANNEL_FRAME_INVALID', 'MANIFEST_MISMATCH', 'STREAM_LENGTH_MISMATCH', 'STREAM_DIGEST_MISMATCH'],
};

/** Measures a move that nobody touches first: it must be accepted, and its image must be the one that was sent. */
export async function openFlipTrials(host: SinkHost, imageSha256: string, imageBytes: number): Promise<FlipTrials> {
  const clean = recording();
  const untouched = await host.move({ wire: clean.attacker });
  if (untouched.codes.length > 0 || !untouched.hasRun || untouched.receivedSha256 !== imageSha256) throw new Error(`a move that nobody touched was not accepted: ${untouched.codes.join(', ')}`);
  const recorded = clean.recorded();
  const sizes: StreamSizes = { imageBytes, wireBytes: { 'to destination': recorded['to destination'].length, 'to source': recorded['to source'].length } };

  async function one(flip: Flip): Promise<Trial> {
    let isTail = false;
    const onWire = isOnWire(flip) ? flipOnWire(flip, sizes, () => isTail) : null;
    const inside = onWire || isOnWire(flip) ? null : flipInside(flip as InsideFlip, sizes);
    const outcome = await host.move({ ...(onWire ? { wire: passing(onWire.change) } : {}), ...(inside ? { change: inside.change } : {}), beforeManifest: () => (isTail = true) });
    const wasDone = (onWire ?? inside)?.hasFlipped() ?? false;
    return { what: describeFlip(flip), codes: outcome.codes, problems: [...(wasDone ? [] : ['nothing was flipped']), ...refusalProblems(outcome, FLIP_CODES[flip.part])] };
  }

  async function ignoredBits(): Promise<readonly Trial[]> {
    const trials: Trial[] = [];
    for (const direction of ['to destination', 'to source'] as const) {
      for (const at of ignoredBytes(recorded[direction])) for (let bit = 0; bit < 8; bit++) trials.push(await ignored(direction, at, bit));
    }
    return trials;
  }

  /** The n-th byte of a connection; the first records have the same sizes in each. */
  async function ignored(direction: Direction, at: number, bit: number): Promise<Trial> {
    let passed = 0;
    const flipAt = (way: Direction, piece: Buffer) => {
      if (way !== direction) return piece;
      const before = passed;
      passed += piece.length;
      return at >= before && at < passed ? flipped(piece, at - before, bit) : piece;
    };
    const outcome = await host.move({ wire: passing(flipAt) });
    const isWhole = outcome.codes.length > 0 || outcome.receivedSha256 === imageSha256;
    return { what: `bit ${bit} of byte ${at} ${direction}`, codes: outcome.codes, problems: isWhole ? [] : ['the image that was accepted is another one'] };
  }

  return { one, ignoredBits, close: () => host.close() };
}

/** Of a move that must be refused. */
export function refusalProblems({ codes, hasRun }: Pick<SinkOutcome, 'codes' | 'hasRun'>, expected: readonly string[]): readonly string[] {
  const strange = codes.filter((code) => !expected.includes(code));
  return [
    ...(hasRun ? ['the destination was to run it'] : []),
    ...(codes.length === 0 ? ['it was not refused'] : []),
    ...(strange.length > 0 ? [`refused by ${strange.join(', ')}`] : []),
  ];
}

/** Until the first encrypted record, which is the last one that is looked at. */
function ignoredBytes(bytes: Buffer): readonly number[] {
  const found: number[] = [];
  new RecordWalk().walk(bytes, (at, _, { isIgnored }) => {
    if (isIgnored) found.push(at);
  });
  return found;
}
