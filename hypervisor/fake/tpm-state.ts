/**
 * The TPM inside a fake vTPM: an endorsement key, PCRs, and objects sealed to a PCR that only this TPM opens. Its
 * state leaves it encrypted (AES-256-GCM) under a key that the caller gives, so that a lost, mixed-up or
 * erased key shows as it does with swtpm. It protects nothing from whoever reads the process's memory.
 */
import { createCipheriv, createDecipheriv, createHash, createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { Base64, Sha256Hex } from '../../domain/ids.js';

const TpmState = z.strictObject({
  /** PKCS #8, DER. */
  endorsementKey: Base64,
  /** 32 bytes; opens sealed objects. */
  storageKey: Base64,
  /** By PCR number; a PCR that is not named is zero. Volatile: not kept over a restart. */
  pcrs: z.record(z.string(), Sha256Hex),
});
type TpmState = z.infer<typeof TpmState>;

const RESET_PCR = '0'.repeat(64);
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export interface FakeTpm {
  /** DER SubjectPublicKeyInfo. */
  readonly endorsementKey: Buffer;
  pcr(index: number): string;
  extend(index: number, digest: string): void;
  /** An object that opens on this TPM alone, and only while the PCR is what it is now. */
  seal(secret: Buffer, pcr: number): Buffer;
  /** Throws where the object is another TPM's or the PCR has changed. */
  unseal(sealed: Buffer, pcr: number): Buffer;
  /** Encrypted under `key`, 32 bytes; with the PCRs for a move, without them for the disk. */
  save(key: Buffer, keeps: 'all' | 'permanent'): Buffer;
}

export function manufactureTpm(): FakeTpm {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const endorsementKey = privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64');
  return createTpm({ endorsementKey, storageKey: randomBytes(32).toString('base64'), pcrs: {} });
}

/** Throws where `saved` is not what `save` gave under this key. */
export function loadTpm(saved: Buffer, key: Buffer): FakeTpm {
  return createTpm(TpmState.parse(JSON.parse(decrypt(saved, key, 'TPM state').toString('utf8'))));
}

function createTpm(state: TpmState): FakeTpm {
  const storageKey = Buffer.from(state.storageKey, 'base64');
  const privateKey = createPrivateKey({ key: Buffer.from(state.endorsementKey, 'base64'), format: 'der', type: 'pkcs8' });
  const pcrs = new Map(Object.entries(state.pcrs));
  const pcr = (index: number) => pcrs.get(String(index)) ?? RESET_PCR;

  return {
    endorsementKey: createPublicKey(privateKey).export({ format: 'der', type: 'spki' }),
    pcr,
    extend(index, digest) {
      pcrs.set(String(index), createHash('sha256').update(Buffer.from(pcr(index) + digest, 'hex')).digest('hex'));
    },
    seal: (secret, index) => encrypt(Buffer.concat([Buffer.from(pcr(index), 'hex'), secret]), storageKey),
    unseal(sealed, index) {
      const plain = decrypt(sealed, storageKey, 'sealed object');
      if (plain.subarray(0, 32).toString('hex') !== pcr(index)) throw new Error(`PCR ${index} has changed`);
      return plain.subarray(32);
    },
    save(key, keeps) {
      const saved: TpmState = { ...state, pcrs: keeps === 'all' ? Object.fromEntries(pcrs) : {} };
      return encrypt(Buffer.from(JSON.stringify(saved)), key);
    },
  };
}

/** nonce, tag, ciphertext */
function encrypt(plain: Buffer, key: Buffer): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  const ciphertext = Buffer.concat([cipher.update(plain), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]);
}

function decrypt(bytes: Buffer, key: Buffer, what: string): Buffer {
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES));
    decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
    return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]);
  } catch (cause) {
    throw new Error(`the ${what} does not open under this key`, { cause });
  }
}
