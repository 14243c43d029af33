/**
 * A host's TPM in memory: its AK signs real structures, which the real verifier judges; what is sealed or wrapped opens by its keys and, where
 * a policy names PCRs, in their values alone. Whoever holds this object commands it, as malware on a host would.
 */
import { createCipheriv, createDecipheriv, createECDH, createHash, randomBytes } from 'node:crypto';
import type { PcrValues, SignedAttestation } from '../../../domain/attestation.js';
import { refuse } from '../../../domain/failures.js';
import type { HostId } from '../../../domain/ids.js';
import { ALGORITHM } from '../../../tpm/structures.js';
import { marshalEccPublic, pcrDigestOf, pcrPolicyDigest } from '../../../tpm/marshal.js';
import type { HostTpm, WrappingKeyHandle } from '../../../tpm/port.js';
import { openWrapped } from '../../../tpm/wrap.js';
import { CURVE_P256 } from '../../../tpm/structures.js';
import { type SoftwareKey, WRAPPING_ATTRIBUTES, certifiedBy, quoteBy } from '../software-ak.js';
import type { Life, Turns } from './turns.js';

/** What outlives a worker. */
export interface TpmState {
  readonly ak: SoftwareKey;
  /** 32 bytes, under which it seals. */
  readonly root: Buffer;
  pcrs: PcrValues;
  /** How often the host was booted. */
  resetCount: number;
  counter: number | null;
  newestBundle: Buffer | null;
}

export class MemoryTpm {
  constructor(
    readonly hostId: HostId,
    readonly state: TpmState,
  ) {}

  /** In the values that it has: of those no software has a say. */
  quoteNow(pcrs: readonly number[], qualifyingData: Buffer): SignedAttestation & { readonly pcrValues: PcrValues } {
    const pcrValues = this.#read(pcrs);
    const pcrDigest = Buffer.from(pcrDigestOf(pcrs, pcrValues), 'hex');
    return { ...this.state.ak.sign({ ...quoteBy(this.state.ak, { extraData: qualifyingData, pcrs, pcrDigest }), clockInfo: this.#clock() }), pcrValues };
  }

  port(turns: Turns, life: Life): HostTpm {
    const { hostId, state } = this;
    const inTurn = async <T>(what: string, act: () => T): Promise<T> => {
      await turns.take(`TPM of ${hostId} ${what}`, life);
      const result = act();
      await turns.take(`TPM of ${hostId} ${what}, done`, life);
      return result;
    };
    const { publicArea, name } = state.ak;
    return {
      removeLeftovers: async () => undefined,
      readClock: () => inTurn('reads its clock', () => Number(this.#clock().clockMs)),
      ensureAttestationKey: () => inTurn('shows its AK', () => ({ publicArea, name })),
      readPcrs: (pcrs) => inTurn('reads PCRs', () => this.#read(pcrs)),
      quote: (pcrs, data) => inTurn('quotes', () => this.quoteNow(pcrs, data)),
      createWrappingKey: (pcrs) => inTurn('makes a wrapping key', () => this.#wrappingKey(pcrs, inTurn)),
      sealAtRest: (secret) => inTurn('seals', () => this.#seal(secret)),
      unsealAtRest: (blob) => inTurn('unseals', () => this.#unseal(blob.privateArea)),
      ownershipCounter: {
        read: () => inTurn('reads its counter', () => state.counter),
        raise: () => inTurn('raises its counter', () => (state.counter = (state.counter ?? 0) + 1)),
      },
      newestBundle: {
        read: () => inTurn('reads the newest bundle', () => state.newestBundle),
        write: (content) => inTurn('notes the newest bundle', () => void (state.newestBundle = Buffer.from(content))),
      },
    };
  }

  #clock() {
    return { clockMs: 12_345n, resetCount: this.state.resetCount, restartCount: 1, isSafe: true };
  }

  #read(pcrs: readonly number[]): PcrValues {
    return Object.fromEntries(pcrs.map((pcr) => [pcr, this.state.pcrs[pcr] ?? '00'.repeat(32)]));
  }

  #wrappingKey(pcrs: readonly number[], inTurn: <T>(what: string, act: () => T) => Promise<T>): WrappingKeyHandle {
    const values = this.#read(pcrs);
    const agreement = createECDH('prime256v1');
    const point = agreement.generateKeys();
    const publicArea = marshalEccPublic({
      nameAlgorithm: ALGORITHM.sha256, objectAttributes: WRAPPING_ATTRIBUTES, authPolicy: Buffer.from(pcrPolicyDigest(pcrs, values), 'hex'), symmetric: null,
      scheme: { algorithm: ALGORITHM.ecdh, hashAlgorithm: ALGORITHM.sha256 }, curve: CURVE_P256, kdf: null, x: point.subarray(1, 33), y: point.subarray(33),
    });
    const key = { publicArea: publicArea.toString('base64'), name: `000b${createHash('sha256').update(publicArea).digest('hex')}` };
    const { hostId } = this;
    let isForgotten = false;
    return {
      evidence: certifiedBy(this.state.ak, key, { clockInfo: this.#clock() }),
      unwrap: (wrapped, context) =>
        inTurn('opens a wrapping', () => {
          if (isForgotten || pcrDigestOf(pcrs, this.#read(pcrs)) !== pcrDigestOf(pcrs, values)) throw refuse('UNSEAL_REFUSED', { host: hostId });
          const plain = openWrapped(sharedWith(wrapped.ephemeralPoint), { publicArea: key.publicArea, wrapped, context });
          if (!plain) throw refuse('SECRETS_INVALID', { host: hostId, problem: 'the ciphertext does not authenticate' });
          return plain;
        }),
      forget: () => inTurn('forgets a wrapping key', () => void (isForgotten = true)),
    };

    function sharedWith(ephemeralPoint: string): Buffer {
      try {
        return agreement.computeSecret(Buffer.from(ephemeralPoint, 'base64'));
      } catch {
        throw refuse('SECRETS_INVALID', { host: hostId, problem: 'the ephemeral point is not on the curve' });
      }
    }
  }

  #seal(secret: Buffer) {
    const iv = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', this.state.root, iv);
    const sealed = Buffer.concat([iv, cipher.update(secret), cipher.final(), cipher.getAuthTag()]);
    return { publicArea: Buffer.from(this.hostId).toString('base64'), privateArea: sealed.toString('base64') };
  }

  /** TPM_COMMAND_FAILED where another TPM sealed it. */
  #unseal(privateArea: string): Buffer {
    const sealed = Buffer.from(privateArea, 'base64');
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.state.root, sealed.subarray(0, 12), { authTagLength: 16 });
      decipher.setAuthTag(sealed.subarray(-16));
      return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
    } catch (error) {
      throw refuse('TPM_COMMAND_FAILED', { command: 'unseal', host: this.hostId, problem: 'the object is of another TPM' }, error);
    }
  }

  /** For whoever judges the world: does this blob hold these keys here? */
  opens(privateArea: string): Buffer | null {
    try {
      return this.#unseal(privateArea);
    } catch {
      return null;
    }
  }
}
