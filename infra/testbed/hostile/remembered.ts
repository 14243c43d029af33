/** What a signature check said is remembered: a run asks the same few orders a thousand times, at milliseconds each. */
import { createHash } from 'node:crypto';

interface Scheme {
  verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array, options?: object): boolean;
}

export function remembering<S extends Scheme>(real: S): S {
  const known = new Map<string, boolean>();
  return {
    ...real,
    verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array, options?: object): boolean {
      const name = createHash('sha256').update(signature).update(message).update(publicKey).update(JSON.stringify(options ?? null)).digest('hex');
      const found = known.get(name) ?? real.verify(signature, message, publicKey, options);
      known.set(name, found);
      return found;
    },
  };
}
