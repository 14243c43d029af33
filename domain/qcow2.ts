/**
 * The header of a qcow2 image, as far as it names other files (docs/interop/qcow2.txt of QEMU): versions 2 and 3. Pure. Reads a few fixed
 * places and believes none of them: the bytes are whoever's wrote the disk.
 */

/** Up to and with the incompatible features of version 3. */
export const QCOW2_HEADER_BYTES = 80;

const MAGIC = 0x514649fb;
const EXTERNAL_DATA_FILE = 1n << 2n;

export type Qcow2 =
  | { readonly isReadable: true; /** What the image would have opened beside itself, in words. */ readonly others: readonly string[] }
  | { readonly isReadable: false; readonly problem: string };

/** `start`: the first bytes of the image, QCOW2_HEADER_BYTES where it has so many. */
export function readQcow2Header(start: Uint8Array): Qcow2 {
  if (start.length < QCOW2_HEADER_BYTES) return { isReadable: false, problem: `it has only ${start.length} bytes` };
  const header = new DataView(start.buffer, start.byteOffset, QCOW2_HEADER_BYTES);
  const [magic, version] = [header.getUint32(0), header.getUint32(4)];
  if (magic !== MAGIC) return { isReadable: false, problem: 'it does not begin as one' };
  if (version !== 2 && version !== 3) return { isReadable: false, problem: `it is of version ${version}` };
  const hasBackingFile = header.getBigUint64(8) !== 0n || header.getUint32(16) !== 0;
  const hasDataFile = version === 3 && (header.getBigUint64(72) & EXTERNAL_DATA_FILE) !== 0n;
  return { isReadable: true, others: [...(hasBackingFile ? ['a backing file'] : []), ...(hasDataFile ? ['an external data file'] : [])] };
}
