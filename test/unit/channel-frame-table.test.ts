/** channel/frames.ts, the table: which frame may come from whom, when and of which size, one by one; and how a frame that has begun is told from the next. */
import { describe, expect, it } from 'vitest';
import { DATA_LIMIT_BYTES, FRAMES, FrameDecoder, type FrameName, HEADER_BYTES, WINDOW_BYTES, encodeControl, invalid, writeHeader } from '../../channel/frames.js';
import { KororaError } from '../../domain/failures.js';
import type { Role } from '../../domain/ids.js';

const NAMES = ['CONFIRM', 'DATA', 'MANIFEST', 'VERDICT', 'KEEPALIVE', 'ABORT', 'GRANT', 'WAITING'] as const satisfies readonly FrameName[];
const header = (name: FrameName, bytes: number) => {
  const written = Buffer.alloc(HEADER_BYTES);
  writeHeader(written, name, bytes);
  return written;
};
const shortest = (name: FrameName) => Buffer.concat([header(name, FRAMES[name].minBytes), Buffer.alloc(FRAMES[name].minBytes)]);

/** What a decoder gives for these bytes: names in order, pieces of DATA by their bytes, or what it refuses them with. */
function given(sender: Role, ...chunks: readonly Buffer[]): { readonly seen: readonly string[]; readonly refusal: string | null; readonly decoder: FrameDecoder } {
  const seen: string[] = [];
  const decoder = new FrameDecoder(sender, { onData: (piece) => seen.push(`DATA ${piece.length}`), onControl: (name, payload) => seen.push(`${name} ${payload.length}`) });
  try {
    for (const chunk of chunks) decoder.push(chunk);
  } catch (error) {
    if (!(error instanceof KororaError)) throw error;
    return { seen, refusal: error.message, decoder };
  }
  return { seen, refusal: null, decoder };
}

describe('a frame is', () => {
  it('a type, a length and a payload', () => {
    expect(NAMES.map((name) => [name, header(name, 0x01020304).toString('hex')])).toEqual([
      ['CONFIRM', '0101020304'], ['DATA', '0201020304'], ['MANIFEST', '0301020304'], ['VERDICT', '0401020304'],
      ['KEEPALIVE', '0501020304'], ['ABORT', '0601020304'], ['GRANT', '0701020304'], ['WAITING', '0801020304'],
    ]);
    expect(Object.keys(FRAMES).sort()).toEqual([...NAMES].sort());
    expect(encodeControl('ABORT', Buffer.from('no')).toString('hex')).toBe('06000000026e6f');
    expect(encodeControl('KEEPALIVE').toString('hex')).toBe('0500000000');
    expect([DATA_LIMIT_BYTES, WINDOW_BYTES]).toEqual([1024 * 1024, 2 * 1024 * 1024]);
  });

  it.each<[FrameName, number, number]>([
    ['CONFIRM', 32, 32], ['DATA', 1, 1024 * 1024], ['MANIFEST', 2, 64 * 1024], ['VERDICT', 2, 64 * 1024], ['KEEPALIVE', 0, 0], ['WAITING', 0, 0], ['ABORT', 0, 64 * 1024], ['GRANT', 4, 4],
  ])('of its size, and refused by its header where it is of another: %s', (name, least, most) => {
    const sender: Role = name === 'VERDICT' || name === 'GRANT' ? 'destination' : 'source';
    const before = name === 'CONFIRM' ? [] : name === 'WAITING' ? [shortest('CONFIRM'), shortest('MANIFEST')] : [shortest('CONFIRM')];
    for (const bytes of [least, most]) {
      const { seen, refusal } = given(sender, ...before, header(name, bytes), Buffer.alloc(bytes));
      expect([seen.at(-1), refusal]).toEqual([`${name} ${bytes}`, null]);
    }
    for (const bytes of [least - 1, most + 1].filter((one) => one >= 0)) {
      const { seen, refusal } = given(sender, ...before, header(name, bytes));
      expect([seen.length, refusal]).toEqual([before.length, invalid(`${name} of ${bytes} bytes`).message]);
    }
  });

  it.each<[Role, string, readonly FrameName[], readonly FrameName[]]>([
    ['source', 'greeting', [], ['CONFIRM', 'ABORT']],
    ['source', 'streaming', ['CONFIRM'], ['DATA', 'KEEPALIVE', 'MANIFEST', 'ABORT']],
    ['source', 'streaming', ['CONFIRM', 'DATA', 'KEEPALIVE'], ['DATA', 'KEEPALIVE', 'MANIFEST', 'ABORT']],
    ['source', 'awaiting', ['CONFIRM', 'MANIFEST'], ['WAITING', 'ABORT']],
    ['source', 'awaiting', ['CONFIRM', 'MANIFEST', 'WAITING'], ['WAITING', 'ABORT']],
    ['source', 'over', ['ABORT'], []],
    ['source', 'over', ['CONFIRM', 'ABORT'], []],
    ['source', 'over', ['CONFIRM', 'MANIFEST', 'ABORT'], []],
    ['destination', 'greeting', [], ['CONFIRM', 'ABORT']],
    ['destination', 'answering', ['CONFIRM'], ['GRANT', 'KEEPALIVE', 'VERDICT', 'ABORT']],
    ['destination', 'answering', ['CONFIRM', 'GRANT', 'KEEPALIVE'], ['GRANT', 'KEEPALIVE', 'VERDICT', 'ABORT']],
    ['destination', 'over', ['CONFIRM', 'VERDICT'], []],
    ['destination', 'over', ['ABORT'], []],
    ['destination', 'over', ['CONFIRM', 'ABORT'], []],
  ])('taken from the %s while %s after %j where its turn is, and refused by name where not', (sender, state, before, allowed) => {
    for (const name of NAMES) {
      const refusal = allowed.includes(name) ? null : invalid(`${name} from the ${sender} while ${state}`).message;
      expect([name, given(sender, ...before.map(shortest), shortest(name)).refusal]).toEqual([name, refusal]);
    }
  });

  it('of a known type', () => {
    for (const type of [0, 9, 255]) expect(given('source', Buffer.of(type, 0, 0, 0, 0)).refusal).toBe(invalid(`unknown type ${type}`).message);
  });
});

describe('a frame on its way', () => {
  it('has a number that only it has, from its first byte to its last; between two frames there is none', () => {
    const decoder = new FrameDecoder('source', { onData: () => undefined, onControl: () => undefined });
    const after = (chunk: Buffer) => (decoder.push(chunk), decoder.unfinished);
    const confirm = shortest('CONFIRM');
    expect(decoder.unfinished).toBeNull();
    expect([after(confirm.subarray(0, 1)), after(confirm.subarray(1, 5)), after(confirm.subarray(5, 36)), after(confirm.subarray(36))]).toEqual([1, 1, 1, null]);
    expect([after(shortest('KEEPALIVE')), after(shortest('KEEPALIVE').subarray(0, 4)), after(shortest('KEEPALIVE').subarray(4))]).toEqual([null, 3, null]);
    expect([after(header('DATA', 3)), after(Buffer.of(1)), after(Buffer.of(2)), after(Buffer.of(3))]).toEqual([4, 4, 4, null]);
    expect(after(Buffer.concat([shortest('DATA'), shortest('DATA'), header('MANIFEST', 9).subarray(0, 2)]))).toBe(7);
  });

  it('gives DATA as it comes, and the rest once it is whole', () => {
    const manifest = Buffer.concat([header('MANIFEST', 4), Buffer.from('abcd')]);
    const controls: string[] = [];
    const decoder = new FrameDecoder('source', { onData: (piece) => controls.push(`DATA ${piece.toString()}`), onControl: (name, payload) => controls.push(`${name} ${payload.toString()}`) });
    decoder.push(shortest('CONFIRM'));
    controls.length = 0;
    decoder.push(Buffer.concat([header('DATA', 3), Buffer.from('xy')]));
    expect(controls).toEqual(['DATA xy']);
    decoder.push(Buffer.concat([Buffer.from('z'), manifest.subarray(0, 7)]));
    expect(controls).toEqual(['DATA xy', 'DATA z']);
    decoder.push(manifest.subarray(7));
    expect(controls).toEqual(['DATA xy', 'DATA z', 'MANIFEST abcd']);
  });
});
