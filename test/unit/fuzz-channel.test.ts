/** Whatever a peer sends, the channel's reader gives frames, waits for more, or refuses with CHANNEL_FRAME_INVALID; it makes no room for what it refuses. */
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { z } from 'zod';
import { decodeDocument, encodeDocument } from '../../channel/documents.js';
import { type ControlName, DATA_LIMIT_BYTES, FRAMES, FrameDecoder, type FrameName, HEADER_BYTES, encodeControl, writeHeader } from '../../channel/frames.js';
import { canonicalJson } from '../../domain/canonical.js';
import { KororaError } from '../../domain/failures.js';
import { ROLES, type Role } from '../../domain/ids.js';
import { Manifest, Verdict } from '../../domain/manifest.js';
import { samples } from '../support/documents.js';
import { anyBytes, byteEdits, editBytes, editJson, jsonEdits } from '../support/mutations.js';

const CONTROL_LIMIT_BYTES = 64 * 1024;

interface Seen {
  /** Control frames as [name, payload], neighbouring pieces of DATA as one. */
  readonly frames: [string, string][];
  readonly refusal: string | null;
}

/** Any other error than CHANNEL_FRAME_INVALID is thrown. */
function read(sender: Role, chunks: readonly Buffer[]): Seen {
  const frames: [string, string][] = [];
  const decoder = new FrameDecoder(sender, {
    onData(piece) {
      const last = frames.at(-1);
      if (last?.[0] === 'DATA') last[1] += piece.toString('hex');
      else frames.push(['DATA', piece.toString('hex')]);
    },
    onControl: (name, payload) => frames.push([name, payload.toString('hex')]),
  });
  try {
    for (const chunk of chunks) decoder.push(chunk);
    return { frames, refusal: null };
  } catch (error) {
    if (!(error instanceof KororaError) || error.code !== 'CHANNEL_FRAME_INVALID') throw error;
    return { frames, refusal: error.message };
  }
}

function frame(name: FrameName, payload: Uint8Array): Buffer {
  if (name !== 'DATA') return encodeControl(name, Buffer.from(payload));
  const bytes = Buffer.concat([Buffer.alloc(HEADER_BYTES), payload]);
  writeHeader(bytes, name, payload.length);
  return bytes;
}

const payloadOf = (name: FrameName) => fc.uint8Array({ minLength: FRAMES[name].minBytes, maxLength: Math.min(FRAMES[name].maxBytes, 80) });
const frames = (...names: readonly FrameName[]) => fc.array(fc.oneof(...names.map((name) => payloadOf(name).map((payload) => frame(name, payload)))), { maxLength: 10 });
const one = (name: ControlName) => payloadOf(name).map((payload) => [frame(name, payload)]);
const joined = (...parts: readonly fc.Arbitrary<readonly Buffer[]>[]) => fc.tuple(...parts).map((lists) => Buffer.concat(lists.flat()));

/** All that each side may send, in an order that it may send it in. */
const VALID: Readonly<Record<Role, fc.Arbitrary<Buffer>>> = {
  source: joined(one('CONFIRM'), frames('DATA', 'KEEPALIVE'), one('MANIFEST'), frames('WAITING'), one('ABORT')),
  destination: joined(one('CONFIRM'), frames('GRANT', 'KEEPALIVE'), fc.oneof(one('VERDICT'), one('ABORT'))),
};

function cut(stream: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [0, ...cuts.map((place) => place % (stream.length + 1)).sort((a, b) => a - b), stream.length];
  return at.slice(1).map((end, i) => stream.subarray(at[i], end));
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe.each(ROLES)('the frames of the %s', (sender) => {
  it('are the same however they are cut', () => {
    fc.assert(
      fc.property(VALID[sender], fc.array(fc.nat(), { maxLength: 30 }), (stream, cuts) => {
        const whole = read(sender, [stream]);
        expect(whole.refusal).toBeNull();
        expect(read(sender, cut(stream, cuts))).toEqual(whole);
      }),
      { numRuns: 150 },
    );
  });

  it('changed in any way are taken as something else or refused, the same however they are cut', () => {
    fc.assert(
      fc.property(VALID[sender], byteEdits, fc.array(fc.nat(), { maxLength: 10 }), (stream, edits, cuts) => {
        const changed = editBytes(stream, edits);
        expect(read(sender, cut(changed, cuts))).toEqual(read(sender, [changed]));
      }),
      { numRuns: 300 },
    );
  });

  it('are refused, or waited for, where they are any bytes', () => {
    fc.assert(fc.property(anyBytes(200), (bytes) => void read(sender, [bytes])), { numRuns: 300 });
    fc.assert(fc.property(anyBytes(200), (bytes) => void read(sender, [frame('CONFIRM', Buffer.alloc(32)), bytes])), { numRuns: 300 });
  });

  it('of a length beyond the limit of their kind are refused by the header alone, and no room is made for them', () => {
    const alloc = vi.spyOn(Buffer, 'alloc');
    fc.assert(
      fc.property(fc.nat(10), fc.oneof(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 65_530, max: 65_540 }), fc.constantFrom(DATA_LIMIT_BYTES, DATA_LIMIT_BYTES + 1)), (type, length) => {
        const header = Buffer.of(type, ...[24, 16, 8, 0].map((shift) => (length >>> shift) & 0xff));
        alloc.mockClear();
        const { refusal } = read(sender, [frame('CONFIRM', Buffer.alloc(32)), header]);
        const kind = Object.values(FRAMES).find((candidate) => candidate.type === type);
        if (!kind || length > kind.maxBytes || length < kind.minBytes) expect(refusal).not.toBeNull();
        for (const [bytes] of alloc.mock.calls) expect(bytes).toBeLessThanOrEqual(CONTROL_LIMIT_BYTES + HEADER_BYTES);
      }),
      { numRuns: 500 },
    );
  });
});

describe.each<[string, z.ZodType, object]>([['manifest', Manifest, samples.manifest], ['verdict', Verdict, samples.verdict]])('a %s', (_, schema, sample) => {
  /** Null where it is refused; any other error than CHANNEL_FRAME_INVALID is thrown. */
  const decoded = (payload: Buffer): unknown => {
    try {
      return decodeDocument(schema, payload);
    } catch (error) {
      if (error instanceof KororaError && error.code === 'CHANNEL_FRAME_INVALID') return null;
      throw error;
    }
  };
  const isExact = (payload: Buffer) => {
    const document = decoded(payload);
    if (document !== null) expect(canonicalJson(document)).toBe(payload.toString());
  };

  it('is the document of exactly these bytes, or refused', () => {
    expect(decoded(encodeDocument(sample))).toEqual(sample);
    fc.assert(fc.property(byteEdits, (edits) => isExact(editBytes(encodeDocument(sample), edits))), { numRuns: 300 });
    fc.assert(fc.property(jsonEdits, (edits) => isExact(Buffer.from(JSON.stringify(editJson(sample, edits))))), { numRuns: 200 });
    fc.assert(fc.property(jsonEdits, (edits) => isExact(Buffer.from(canonicalJson(editJson(sample, edits))))), { numRuns: 200 });
    fc.assert(fc.property(anyBytes(100), isExact), { numRuns: 200 });
  });

  it.each(['['.repeat(CONTROL_LIMIT_BYTES), `${'['.repeat(30_000)}${']'.repeat(30_000)}`, '{"__proto__":{}}', `"${'a'.repeat(CONTROL_LIMIT_BYTES - 2)}"`])('that is %.10s… is refused', (text) => {
    expect(decoded(Buffer.from(text))).toBeNull();
  });
});
