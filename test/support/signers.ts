/** Ed25519 keys for tests, the same in every run: the n-th from a seed of n, 32 times. */
import { ed25519 } from '@noble/curves/ed25519.js';
import { PublicKey, type Signer } from '../../domain/envelope.js';

/** SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410 §4). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

export function testSigner(n: number): Signer {
  const seed = Buffer.alloc(32, n);
  return {
    publicKey: PublicKey.parse(Buffer.concat([SPKI_PREFIX, ed25519.getPublicKey(seed)]).toString('base64')),
    sign: (message) => Promise.resolve(ed25519.sign(message, seed)),
  };
}
