/** The frame decoder: whatever the chunking, the same frames; whatever is wrong, a refusal before it is buffered. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { isSameConfirmation } from '../../channel/confirmation.js';
import { FrameDecoder } from '../../channel/frames.js';
import { decodeDocument, encodeDocument } from '../../channel/documents.js';
import { Manifest } from '../../domain/manifest.js';
import type { Role } from '../../domain/ids.js';
import { manifestOf, newEnds, TYPE } from './channel-support.js';

function frame(type: number, payload: Buffer | number): Buffer {
  const body = typeof payload === 'number' ? Buffer.alloc(payload) : payload;
  const header = Buffer.alloc(5);
  header.writeUInt8(type, 0);
  header.writeUInt32BE(body.length, 1);
  return Buffer.concat([header, body]);
}

/** Control frames as [name, payload], neighbouring DATA pieces as one. */
function decode(sender: Role, chunks: readonly Buffer[]): [string, string][] {
  const seen: [string, Buffer][] = [];
  const decoder = new FrameDecoder(sender, {
    onData: (piece) => {
      const last = seen.at(-1);
      if (last?.[0] === 'DATA') last[1] = Buffer.concat([last[1], piece]);
      else seen.push(['DATA', Buffer.from(piece)]);
    },
    onControl: (name, payload) => seen.push([name, payload]),
  });
  for (const chunk of chunks) decoder.push(chunk);
  return seen.map(([name, payload]) => [name, payload.toString('hex')]);
}

const confirm = frame(TYPE.CONFIRM, 32);

describe('frame decoder', () => {
  it('gives the same frames however the bytes are cut', () => {
    const middle = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => ['DATA', Buffer.from(bytes)] as const),
      fc.constant(['KEEPALIVE', Buffer.alloc(0)] as const),
    );
    fc.assert(
      fc.property(fc.array(middle, { maxLength: 12 }), fc.uint8Array({ minLength: 2, maxLength: 90 }), fc.array(fc.nat(), { maxLength: 30 }), (frames, manifest, cuts) => {
        const stream = Buffer.concat([confirm, ...frames.map(([name, payload]) => frame(TYPE[name], payload)), frame(TYPE.MANIFEST, Buffer.from(manifest)), frame(TYPE.WAITING, 0)]);
        const at = [0, ...cuts.map((cut) => cut % (stream.length + 1)).sort((a, b) => a - b), stream.length];
        const chunks = at.slice(1).map((end, i) => stream.subarray(at[i], end));
        expect(decode('source', chunks)).toEqual(decode('source', [stream]));
        const names = decode('source', chunks).map(([name]) => name);
        expect(names[0]).toBe('CONFIRM');
        expect(names.slice(-2)).toEqual(['MANIFEST', 'WAITING']);
      }),
    );
  });
});

describe('documents on the channel', () => {
  it('come back as they went', async () => {
    const manifest = manifestOf(await newEnds(), { bytes: 5, sha256: 'b'.repeat(64) });
    expect(decodeDocument(Manifest, encodeDocument(manifest))).toEqual(manifest);
  });

  it.each<[string, (manifest: object) => Buffer, RegExp]>([
    ['with spaces', (manifest) => Buffer.from(JSON.stringify(manifest, null, 1)), /^CHANNEL_FRAME_INVALID: .*: document: not in canonical form$/],
    ['with an unknown field', (manifest) => encodeDocument({ ...manifest, extra: 1 }), /^CHANNEL_FRAME_INVALID: .*: document: Unrecognized key: "extra"$/],
    ['with a field of another type', (manifest) => encodeDocument({ ...manifest, epoch: '1' }), /^CHANNEL_FRAME_INVALID: .*: epoch: Invalid input: /],
    ['cut off', () => Buffer.from('{"protocol'), /^CHANNEL_FRAME_INVALID: .*: document: .*JSON/],
    ['that is no text', () => Buffer.from([0xff, 0xfe]), /^CHANNEL_FRAME_INVALID: .*: document: .*JSON/],
  ])('are refused %s, and it is said why', async (_, payloadOf, text) => {
    const manifest = manifestOf(await newEnds(), { bytes: 5, sha256: 'b'.repeat(64) });
    expect(() => decodeDocument(Manifest, payloadOf(manifest))).toThrow(text);
  });

  it('name the place of what is wrong inside them', () => {
    const nested = z.object({ a: z.object({ b: z.number() }) });
    expect(() => decodeDocument(nested, Buffer.from('{"a":{"b":"1"}}'))).toThrow(/: a\.b: Invalid input: /);
  });
});

describe('a confirmation', () => {
  it('is the same where all its bytes are, and another where it is longer, shorter or of other bytes', () => {
    const proof = Buffer.alloc(32, 7);
    expect(isSameConfirmation(proof, Buffer.from(proof))).toBe(true);
    for (const other of [Buffer.alloc(32, 8), Buffer.alloc(31, 7), Buffer.alloc(33, 7), Buffer.alloc(0)]) expect(isSameConfirmation(proof, other)).toBe(false);
  });
});
