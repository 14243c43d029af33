/**
 * A secret of 32 bytes that knows whether it is still one. A step owns its copy; a key that was destroyed, or that never was one, gives no
 * bytes to anybody: a buffer of zeros never passes for a key on a channel or in a seal.
 */
import { refuse } from './failures.js';

export const SECRET_KEY_BYTES = 32;

export class SecretKey {
  #bytes: Uint8Array | null;

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Of a copy of `bytes`. SECRET_KEY_INVALID. */
  static of(bytes: Uint8Array): SecretKey {
    if (bytes.length !== SECRET_KEY_BYTES) throw refuse('SECRET_KEY_INVALID', { problem: `it has ${bytes.length} bytes` });
    if (bytes.every((byte) => byte === 0)) throw refuse('SECRET_KEY_INVALID', { problem: 'it is all zeros' });
    return new SecretKey(Uint8Array.from(bytes));
  }

  get isDestroyed(): boolean {
    return this.#bytes === null;
  }

  /** The same secret, with an end of its own. SECRET_KEY_INVALID once this one is destroyed. */
  copy(): SecretKey {
    return new SecretKey(Uint8Array.from(this.#live()));
  }

  /** For work that is done when this returns: `bytes` are the key itself. SECRET_KEY_INVALID once it is destroyed. */
  use<T>(work: (bytes: Uint8Array) => T): T {
    return work(this.#live());
  }

  destroy(): void {
    this.#bytes?.fill(0);
    this.#bytes = null;
  }

  /** It is written nowhere. */
  toJSON(): string {
    return 'a secret';
  }

  #live(): Uint8Array {
    if (!this.#bytes) throw refuse('SECRET_KEY_INVALID', { problem: 'the move that it was of has ended' });
    return this.#bytes;
  }
}
