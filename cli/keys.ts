/** Ed25519 keys in files: PEM, PKCS #8 for private ones and SubjectPublicKeyInfo for public ones, as OpenSSL reads and writes them. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { PublicKey, type Signer, keyIdOf } from '../domain/envelope.js';
import { problemOf, refuse } from '../domain/failures.js';

export interface NewKey {
  readonly privateFile: string;
  readonly publicFile: string;
  readonly publicKey: PublicKey;
  readonly keyId: string;
}

/** `<file>`, for its owner alone, and `<file>.pub`. Overwrites neither: SIGNING_KEY_INVALID. */
export async function makeKey(file: string): Promise<NewKey> {
  const pair = generateKeyPairSync('ed25519');
  const publicFile = `${file}.pub`;
  try {
    await writeFile(file, pair.privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600, flag: 'wx' });
    await writeFile(publicFile, pair.publicKey.export({ format: 'pem', type: 'spki' }), { mode: 0o644, flag: 'wx' });
  } catch (error) {
    throw refuse('SIGNING_KEY_INVALID', { file, problem: problemOf(error) }, error);
  }
  const publicKey = publicKeyOf(pair.publicKey);
  return { privateFile: file, publicFile, publicKey, keyId: keyIdOf(publicKey) };
}

/** SIGNING_KEY_INVALID. */
export async function readSigner(file: string): Promise<Signer> {
  const key = await readKey(file, createPrivateKey);
  return {
    publicKey: publicKeyOf(createPublicKey(key)),
    sign: (message) => Promise.resolve(sign(null, message, key)),
  };
}

/** From the file of either half. SIGNING_KEY_INVALID. */
export async function readPublicKey(file: string): Promise<PublicKey> {
  return publicKeyOf(await readKey(file, createPublicKey));
}

async function readKey(file: string, open: (pem: Buffer) => KeyObject): Promise<KeyObject> {
  try {
    const key = open(await readFile(file));
    if (key.asymmetricKeyType !== 'ed25519') throw new Error(`it is of type ${key.asymmetricKeyType ?? 'unknown'}`);
    return key;
  } catch (error) {
    throw refuse('SIGNING_KEY_INVALID', { file, problem: problemOf(error) }, error);
  }
}

function publicKeyOf(key: KeyObject): PublicKey {
  return PublicKey.parse(key.export({ format: 'der', type: 'spki' }).toString('base64'));
}
