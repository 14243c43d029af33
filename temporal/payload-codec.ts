/**
 * What Temporal sees of a payload: AES-256-GCM ciphertext that opens in one namespace and workflow only.
 *
 *   metadata  encoding = binary/encrypted, encryption-key-id
 *   data      IV (12 random bytes) | ciphertext | tag (16 bytes)
 *   inside    length of the metadata (4 bytes, big endian) | metadata as JSON of base64 | data
 *   bound to  {kind, version, key id, namespace, workflow id} as canonical JSON (the associated data)
 *
 * Input, result, heartbeats and failures of an activity are bound to the workflow that called it. The SDK names no
 * workflow for the text of a failed workflow task, which nobody reads back; that is bound to none, and opens for none.
 */
import { type DecipherGCM, createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { ApplicationFailure, type Payload, type PayloadCodec, type SerializationContext, defaultPayloadConverter } from '@temporalio/common';
import { canonicalJson } from '../domain/canonical.js';
import { KororaError, refuse } from '../domain/failures.js';
import { refusedPayload } from '../domain/refused-payload.js';
import { toTemporal } from './failures.js';
import type { PayloadKey } from './payload-keys.js';

export const ENCRYPTED = 'binary/encrypted';
const KEY_ID = 'encryption-key-id';
const VERSION = 1;
const CIPHER = 'aes-256-gcm';
/** NIST SP 800-38D §8.2.2: random IVs of 96 bits allow 2^32 payloads a key. */
const IV_BYTES = 12;
const TAG_BYTES = 16;
const LENGTH_BYTES = 4;

/**
 * The first key encrypts; without one payloads pass as they are. Decoding fails with PAYLOAD_NOT_ENCRYPTED (there is a
 * key, and this is plain), PAYLOAD_KEY_UNKNOWN or PAYLOAD_FOREIGN, as Temporal's ApplicationFailure: the SDK passes that
 * on from wherever it decodes.
 */
export function createPayloadCodec(keys: readonly PayloadKey[]): PayloadCodec {
  const [encrypts] = keys;
  return {
    encode: (payloads, context) => Promise.resolve(encrypts ? payloads.map((payload) => encrypt(encrypts, payload, context)) : payloads),
    async decode(payloads, context) {
      try {
        return payloads.map((payload) => decrypt(keys, payload, context));
      } catch (error) {
        throw toTemporal(error);
      }
    },
  };
}

/**
 * The codec of a worker that runs workflows. What such a worker decodes as a workflow's own is its arguments or those of an
 * update: they become the refusal, which workflows/refusals.ts throws where it ends that and nothing else. Answers of
 * activities fail the workflow task, which is tried again until they can be read.
 */
export function forWorkflows(codec: PayloadCodec): PayloadCodec {
  return {
    ...codec,
    decode: (payloads, context) =>
      codec.decode(payloads, context).catch((error: unknown) => {
        const refused = error instanceof ApplicationFailure && context?.type === 'workflow' ? error.cause : null;
        if (!(refused instanceof KororaError)) throw error;
        return [defaultPayloadConverter.toPayload(refusedPayload(refused.failures))];
      }),
  };
}

function encrypt({ id, key }: PayloadKey, payload: Payload, context: SerializationContext | undefined): Payload {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv(CIPHER, key, iv, { authTagLength: TAG_BYTES }).setAAD(boundTo(id, context));
  const data = Buffer.concat([iv, cipher.update(pack(payload)), cipher.final(), cipher.getAuthTag()]);
  return { metadata: { encoding: Buffer.from(ENCRYPTED), [KEY_ID]: Buffer.from(id) }, data };
}

function decrypt(keys: readonly PayloadKey[], payload: Payload, context: SerializationContext | undefined): Payload {
  const workflow = context?.workflowId ?? 'of no name';
  if (textOf(payload.metadata?.['encoding']) !== ENCRYPTED) {
    if (keys.length === 0) return payload;
    throw refuse('PAYLOAD_NOT_ENCRYPTED', { workflow });
  }
  const id = textOf(payload.metadata?.[KEY_ID]);
  const known = keys.find((key) => key.id === id);
  if (!known) throw refuse('PAYLOAD_KEY_UNKNOWN', { workflow, key: id });
  const data = Buffer.from(payload.data ?? []);
  try {
    const decipher: DecipherGCM = createDecipheriv(CIPHER, known.key, data.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES });
    decipher.setAAD(boundTo(id, context)).setAuthTag(data.subarray(-TAG_BYTES));
    return unpack(Buffer.concat([decipher.update(data.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()]));
  } catch (error) {
    throw refuse('PAYLOAD_FOREIGN', { workflow, key: id }, error);
  }
}

function boundTo(keyId: string, context: SerializationContext | undefined): Buffer {
  const { namespace, workflowId } = context ?? {};
  return Buffer.from(canonicalJson({ kind: 'korora/payload', version: VERSION, keyId, namespace: namespace ?? null, workflowId: workflowId ?? null }));
}

function pack({ metadata, data }: Payload): Buffer {
  const names = Object.entries(metadata ?? {}).map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]);
  const head = Buffer.from(JSON.stringify(Object.fromEntries(names)));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(head.length);
  // What has no data at all is an empty array of numbers in some of the SDK's messages.
  return Buffer.concat([length, head, Buffer.from(data ?? [])]);
}

function unpack(packed: Buffer): Payload {
  const end = LENGTH_BYTES + packed.readUInt32BE();
  const names = JSON.parse(packed.toString('utf8', LENGTH_BYTES, end)) as Record<string, string>;
  const metadata = Object.fromEntries(Object.entries(names).map(([name, base64]) => [name, Buffer.from(base64, 'base64')]));
  return { metadata, data: packed.subarray(end) };
}

function textOf(bytes: Uint8Array | null | undefined): string {
  return Buffer.from(bytes ?? []).toString('utf8');
}
