/**
 * The bytes of a fake VM's image: records of one type byte, a length (32 bits, little endian) and a content.
 *
 *   H  header, once, first: JSON {vmId, pages}
 *   P  one page: its number (32 bits), then its 4096 bytes; as often as it changed
 *   T  state of the vTPM, encrypted under its migration key; absent without one
 *   G  the guest's state, once: JSON
 *   E  the end, empty
 *
 * There is no checksum in it, as there is none in QEMU's: that what arrived is what was sent is for the channel
 * and the manifest to say. What is not of this form, or ends before E, is refused.
 */
import { z } from 'zod';
import { VmId } from '../../domain/ids.js';
import { GuestState } from './guest.js';
import { PAGE_BYTES } from './settings.js';

const Header = z.strictObject({ vmId: VmId, pages: z.int().min(1) });
export type Header = Readonly<z.infer<typeof Header>>;

const PREFIX_BYTES = 5;
const LONGEST_CONTENT_BYTES = 64 * 1024;

export const encodeRecord = {
  header: (header: Header) => record('H', Buffer.from(JSON.stringify(header))),
  page(page: number, content: Buffer) {
    const number = Buffer.alloc(4);
    number.writeUInt32LE(page);
    return record('P', Buffer.concat([number, content]));
  },
  vtpm: (state: Buffer) => record('T', state),
  guest: (state: GuestState) => record('G', Buffer.from(JSON.stringify(state))),
  end: () => record('E', Buffer.alloc(0)),
};

export interface ImageTarget {
  readonly vmId: VmId;
  readonly pages: number;
  readonly hasVtpm: boolean;
  loadPage(page: number, content: Buffer): void;
}

export interface LoadedImage {
  readonly guest: GuestState;
  readonly vtpm: Buffer | null;
}

/** Loads pages as they come; resolves after E, whatever follows. Rejects where the image is broken or short. */
export async function loadImage(source: AsyncIterable<Buffer>, target: ImageTarget): Promise<LoadedImage> {
  let isStarted = false;
  let guest: GuestState | null = null;
  let vtpm: Buffer | null = null;
  for await (const { type, content } of records(source)) {
    if (isStarted !== (type !== 'H')) throw new Error('Not a migration stream');
    switch (type) {
      case 'H': {
        const { vmId, pages } = Header.parse(JSON.parse(content.toString('utf8')));
        if (vmId !== target.vmId || pages !== target.pages) throw new Error(`it is the image of ${vmId} with ${pages} pages`);
        isStarted = true;
        break;
      }
      case 'P':
        if (content.length !== 4 + PAGE_BYTES) throw new Error(`a page of ${content.length} bytes`);
        target.loadPage(content.readUInt32LE(), content.subarray(4));
        break;
      case 'T':
        vtpm = content;
        break;
      case 'G':
        guest = GuestState.parse(JSON.parse(content.toString('utf8')));
        break;
      case 'E':
        if (!guest || (vtpm !== null) !== target.hasVtpm) throw new Error('device state is missing');
        return { guest, vtpm };
      default:
        throw new Error(`Unknown record type ${JSON.stringify(type)}`);
    }
  }
  throw new Error('the stream ends early');
}

async function* records(source: AsyncIterable<Buffer>): AsyncGenerator<{ readonly type: string; readonly content: Buffer }> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (rest.length >= PREFIX_BYTES) {
      const length = rest.readUInt32LE(1);
      if (length > LONGEST_CONTENT_BYTES) throw new Error('Not a migration stream');
      const end = PREFIX_BYTES + length;
      if (rest.length < end) break;
      yield { type: rest.toString('latin1', 0, 1), content: rest.subarray(PREFIX_BYTES, end) };
      rest = rest.subarray(end);
    }
  }
}

function record(type: string, content: Buffer): Buffer {
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.write(type, 'latin1');
  prefix.writeUInt32LE(content.length, 1);
  return Buffer.concat([prefix, content]);
}
