/**
 * temporal/payload-codec.ts and payload-keys.ts: what Temporal gets is ciphertext under the first key; it opens in its own
 * namespace and workflow, with its own key, unchanged, and nowhere else. test/e2e/payloads.test.ts shows the same with the real server.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApplicationFailure, type Payload, type SerializationContext, defaultPayloadConverter } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { KororaError } from '../../domain/failures.js';
import { refusedIn } from '../../domain/refused-payload.js';
import { createPayloadCodec, forWorkflows } from '../../temporal/payload-codec.js';
import { type PayloadKeys, readPayloadKeys } from '../../temporal/payload-keys.js';

const HERE = { type: 'workflow', namespace: 'default', workflowId: 'migrate-web-1' } as const;
const WORDS = 'an operator wrote this';
let folder: string;
let keys: PayloadKeys;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'korora-payloads-'));
  keys = await readPayloadKeys(await keyFile('keys', `new ${newKey()}\n\nold ${newKey()}\n`));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const newKey = () => randomBytes(32).toString('base64');
const payloadOf = (value: unknown): Payload => defaultPayloadConverter.toPayload(value) as Payload;
const plain = () => payloadOf({ reason: WORDS });
const bytesOf = (payload: Payload) => Buffer.concat([...Object.entries(payload.metadata ?? {}).flatMap(([name, bytes]) => [Buffer.from(name), Buffer.from(bytes)]), Buffer.from(payload.data ?? [])]);

async function keyFile(name: string, text: string, mode = 0o600): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, text);
  await chmod(file, mode);
  return file;
}

async function sealed(context: SerializationContext | undefined = HERE, with_: Parameters<typeof createPayloadCodec>[0] = keys): Promise<Payload> {
  const [payload] = await createPayloadCodec(with_).encode([plain()], context);
  if (!payload) throw new Error('nothing was encoded');
  return payload;
}

/** The value, or the code of the refusal. */
async function opened(payload: Payload, context: SerializationContext | undefined = HERE, with_: Parameters<typeof createPayloadCodec>[0] = keys): Promise<unknown> {
  try {
    const [decoded] = await createPayloadCodec(with_).decode([payload], context);
    return decoded && defaultPayloadConverter.fromPayload(decoded);
  } catch (error) {
    if (!(error instanceof ApplicationFailure)) throw error;
    const [failures] = error.details as [readonly { readonly code: string }[]];
    expect(failures.map(({ code }) => code)).toEqual([error.type]);
    return error.type;
  }
}

describe('a payload', () => {
  it('is ciphertext under the first key, and another one each time', async () => {
    const [one, two] = [await sealed(), await sealed()];
    expect(Object.fromEntries(Object.entries(one.metadata ?? {}).map(([name, bytes]) => [name, Buffer.from(bytes).toString()]))).toEqual({ encoding: 'binary/encrypted', 'encryption-key-id': 'new' });
    for (const hidden of [WORDS, 'json/plain', 'reason']) expect(bytesOf(one).includes(hidden)).toBe(false);
    expect(bytesOf(plain()).includes(WORDS)).toBe(true);
    expect(Buffer.compare(Buffer.from(one.data ?? []), Buffer.from(two.data ?? []))).not.toBe(0);
  });

  it.each([[{ reason: WORDS }], ['text'], [[1, null, { a: 'ü' }]], [undefined], [new Uint8Array([0, 255, 3])], ['x'.repeat(1_000_000)]])('comes back as it was: %j', async (value) => {
    const codec = createPayloadCodec(keys);
    const [decoded] = await codec.decode(await codec.encode([payloadOf(value)], HERE), HERE);
    expect(decoded).toBeDefined();
    expect(defaultPayloadConverter.fromPayload(decoded as Payload)).toEqual(value);
  });

  it.each([undefined, null, [] as unknown as Uint8Array])('without data (%j) comes back without any', async (data) => {
    const codec = createPayloadCodec(keys);
    const nothing = { ...payloadOf(undefined), ...(data === undefined ? {} : { data }) };
    const [decoded] = await codec.decode(await codec.encode([nothing], HERE), HERE);
    expect(decoded?.data).toHaveLength(0);
    expect(defaultPayloadConverter.fromPayload(decoded as Payload)).toBeUndefined();
  });

  it('opens for the activities of its workflow, and for no other workflow, namespace or nobody', async () => {
    const activity = { type: 'activity', namespace: 'default', workflowId: 'migrate-web-1', activityId: '3', isLocal: false } as const;
    const payload = await sealed();
    expect(await opened(payload)).toEqual({ reason: WORDS });
    expect(await opened(payload, activity)).toEqual({ reason: WORDS });
    expect(await opened(await sealed(activity))).toEqual({ reason: WORDS });
    expect(await opened(payload, { ...HERE, workflowId: 'migrate-web-2' })).toBe('PAYLOAD_FOREIGN');
    expect(await opened(payload, { ...activity, workflowId: 'migrate-web-2' })).toBe('PAYLOAD_FOREIGN');
    expect(await opened(payload, { ...HERE, namespace: 'other' })).toBe('PAYLOAD_FOREIGN');
    expect(await createPayloadCodec(keys).decode([payload]).catch((error: ApplicationFailure) => error.type)).toBe('PAYLOAD_FOREIGN');
  });

  it('that was made for no workflow opens for none', async () => {
    const [payload] = await createPayloadCodec(keys).encode([plain()]);
    expect(await opened(payload as Payload)).toBe('PAYLOAD_FOREIGN');
    expect(await createPayloadCodec(keys).decode([payload as Payload])).toHaveLength(1);
  });

  it('does not open when any byte of it is another, or when it is shorter', async () => {
    const payload = await sealed();
    const data = Buffer.from(payload.data ?? []);
    for (const at of [0, 11, 12, data.length - 17, data.length - 16, data.length - 1]) {
      const changed = Buffer.from(data);
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
      expect([at, await opened({ ...payload, data: changed })]).toEqual([at, 'PAYLOAD_FOREIGN']);
    }
    for (const length of [0, 5, 12, 27, 28, data.length - 1]) expect([length, await opened({ ...payload, data: data.subarray(0, length) })]).toEqual([length, 'PAYLOAD_FOREIGN']);
  });

  it('does not open under another key, of the same name or of another', async () => {
    const payload = await sealed();
    const [, old] = keys;
    if (!old) throw new Error('one key only');
    expect(await opened({ ...payload, metadata: { ...payload.metadata, 'encryption-key-id': Buffer.from('old') } })).toBe('PAYLOAD_FOREIGN');
    expect(await opened(payload, HERE, [{ id: 'new', key: old.key }])).toBe('PAYLOAD_FOREIGN');
    expect(await opened(payload, HERE, [old])).toBe('PAYLOAD_KEY_UNKNOWN');
    expect(await opened(payload, HERE, [])).toBe('PAYLOAD_KEY_UNKNOWN');
  });

  it('of the key before still opens after the change of keys', async () => {
    const [, old] = keys;
    expect(await opened(await sealed(HERE, old ? [old] : []))).toEqual({ reason: WORDS });
  });

  it('that is plain is refused where there is a key, and passes where there is none', async () => {
    expect(await opened(plain())).toBe('PAYLOAD_NOT_ENCRYPTED');
    expect(await opened(plain(), HERE, [])).toEqual({ reason: WORDS });
    expect(await createPayloadCodec([]).encode([plain()], HERE)).toEqual([plain()]);
  });
});

describe('the codec of a worker that runs workflows', () => {
  const activity = { ...HERE, type: 'activity', isLocal: false } as const;

  it('gives the refusal in the place of arguments, and keeps answers of activities back', async () => {
    const codec = forWorkflows(createPayloadCodec(keys));
    const [refused] = await codec.decode([plain(), plain()], HERE);
    const argument: unknown = defaultPayloadConverter.fromPayload(refused as Payload);
    expect(refusedIn([argument])?.map(({ code }) => code)).toEqual(['PAYLOAD_NOT_ENCRYPTED']);
    await expect(codec.decode([plain()], activity)).rejects.toMatchObject({ type: 'PAYLOAD_NOT_ENCRYPTED' });
  });

  it('opens what it can, and that is no refusal', async () => {
    const codec = forWorkflows(createPayloadCodec(keys));
    const [decoded] = await codec.decode([await sealed()], HERE);
    const argument: unknown = defaultPayloadConverter.fromPayload(decoded as Payload);
    expect(argument).toEqual({ reason: WORDS });
    for (const args of [[argument], [], [null], ['korora/refused'], [{ 'korora/refused': [] }]]) expect(refusedIn(args)).toBeNull();
  });
});

describe('a file of payload keys', () => {
  const secret = newKey();
  const refusalOf = (file: string) =>
    readPayloadKeys(file).then(
      () => 'read',
      (error: unknown) => {
        if (!(error instanceof KororaError)) throw error;
        expect(error.code).toBe('PAYLOAD_KEY_INVALID');
        expect(`${error.message} ${String(error.cause)}`).not.toContain(secret.slice(0, 8));
        return error.failures[0].message;
      },
    );

  it('is read in its order', () => {
    expect(keys.map(({ id, key }) => [id, key.symmetricKeySize])).toEqual([['new', 32], ['old', 32]]);
  });

  it.each<[string, string, number?]>([
    ['no key is in it', '\n \n'],
    ['line 2 is not an id and 32 bytes of base64', `\n${secret}\n`],
    ['line 1 is not an id and 32 bytes of base64', `a ${secret} b`],
    ['line 1 is not an id and 32 bytes of base64', `a/b ${secret}`],
    ['line 1 is not an id and 32 bytes of base64', `a ${secret.slice(4)}`],
    ['two keys have the id a', `a ${secret}\na ${newKey()}`],
    ['its mode is 640: others than its owner may use it', `a ${secret}`, 0o640],
    ['its mode is 604: others than its owner may use it', `a ${secret}`, 0o604],
  ])('is refused: %s', async (problem, text, mode) => {
    expect(await refusalOf(await keyFile(`bad-${randomBytes(4).toString('hex')}`, text, mode))).toContain(problem);
  });

  it('may have an access list for its unit, where systemd has put it, and is for no others there', async () => {
    vi.stubEnv('CREDENTIALS_DIRECTORY', folder);
    try {
      expect((await readPayloadKeys(await keyFile('credential', `a ${secret}`, 0o440)))[0].id).toBe('a');
      expect(await refusalOf(await keyFile('credential', `a ${secret}`, 0o444))).toContain('its mode is 444');
      expect(await refusalOf(await keyFile('credential', `a ${secret}`, 0o660))).toContain('its mode is 660');
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it('is refused where it is missing', async () => {
    expect(await refusalOf(join(folder, 'none'))).toContain('ENOENT');
  });
});
