/** Headers of qcow2 images as an attacker would write them (docs/interop/qcow2.txt of QEMU). */

export interface Qcow2Fields {
  readonly version?: number;
  readonly backingOffset?: bigint;
  readonly backingBytes?: number;
  /** Incompatible features. */
  readonly incompatible?: bigint;
}

export function qcow2Header({ version = 3, backingOffset = 0n, backingBytes = 0, incompatible = 0n }: Qcow2Fields): Buffer {
  const header = Buffer.alloc(512);
  header.writeUInt32BE(0x514649fb, 0);
  header.writeUInt32BE(version, 4);
  header.writeBigUInt64BE(backingOffset, 8);
  header.writeUInt32BE(backingBytes, 16);
  header.writeBigUInt64BE(version === 2 ? 0n : incompatible, 72);
  return header;
}
