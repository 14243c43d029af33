/**
 * Where TLS records begin and end in a stream of bytes (RFC 8446 §5.1): [type u8][version u16][length u16][fragment]. All that
 * an attacker on the wire can tell apart, since everything after the hellos is encrypted.
 */
export const RECORD_HEADER_BYTES = 5;
const APPLICATION_DATA = 23;

/** A byte of the stream, by the record that it is of. */
export interface RecordByte {
  /** 0 for the first record of its direction. */
  readonly record: number;
  /** In the record, header included. */
  readonly offset: number;
  /**
   * legacy_record_version of a record that is not encrypted: a receiver must ignore it (RFC 8446 §5.1), and no key protects it.
   * In an encrypted record the whole header is authenticated (§5.2).
   */
  readonly isIgnored: boolean;
}

/** Follows one direction of a connection, byte by byte where a record's header is, in steps else. */
export class RecordWalk {
  #record = 0;
  #offset = 0;
  #type = 0;
  #lengthBytes = 0;

  /** Calls `visit` with each run of bytes of `piece` that is of one header byte or of one fragment: its first byte, and how many. */
  walk(piece: Buffer, visit: (at: number, bytes: number, first: RecordByte) => void): void {
    let at = 0;
    while (at < piece.length) {
      const inHeader = this.#offset < RECORD_HEADER_BYTES;
      const bytes = inHeader ? 1 : Math.min(piece.length - at, RECORD_HEADER_BYTES + this.#lengthBytes - this.#offset);
      if (inHeader) this.#takeHeaderByte(piece.readUInt8(at));
      visit(at, bytes, { record: this.#record, offset: this.#offset, isIgnored: (this.#offset === 1 || this.#offset === 2) && this.#type !== APPLICATION_DATA });
      this.#offset += bytes;
      at += bytes;
      if (this.#offset >= RECORD_HEADER_BYTES && this.#offset === RECORD_HEADER_BYTES + this.#lengthBytes) {
        this.#record += 1;
        this.#offset = 0;
      }
    }
  }

  #takeHeaderByte(byte: number): void {
    if (this.#offset === 0) this.#type = byte;
    if (this.#offset === 3) this.#lengthBytes = byte << 8;
    if (this.#offset === 4) this.#lengthBytes |= byte;
  }
}
