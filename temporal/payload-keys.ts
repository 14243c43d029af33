/**
 * The keys that payloads are encrypted with, from one file: a key a line, `<id> <base64 of 32 bytes>`. The first encrypts,
 * all decrypt, so a key is changed by writing the new one above the old. The file is for its owner alone.
 */
import { type KeyObject, createSecretKey } from 'node:crypto';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { problemOf, refuse } from '../domain/failures.js';

export interface PayloadKey {
  /** Goes with every payload, in clear. */
  readonly id: string;
  /** 32 bytes, for AES-256-GCM. */
  readonly key: KeyObject;
}

export type PayloadKeys = readonly [encrypts: PayloadKey, ...others: PayloadKey[]];

const KEY_BYTES = 32;
const LINE = /^([A-Za-z0-9._-]{1,64})[ \t]+([A-Za-z0-9+/]{43}=)$/;
const OF_OTHERS = 0o077;
/** In the folder that systemd makes for one unit alone, the bits of the group stand for an access list that names the unit's user (systemd 254 and later). */
const OF_OTHERS_IN_CREDENTIALS = 0o037;

/** PAYLOAD_KEY_INVALID; what it says of a line is its number, never its text. */
export async function readPayloadKeys(file: string): Promise<PayloadKeys> {
  try {
    return keysIn(await readPrivately(file));
  } catch (error) {
    throw refuse('PAYLOAD_KEY_INVALID', { file, problem: problemOf(error) }, error);
  }
}

async function readPrivately(file: string): Promise<string> {
  const handle = await open(file);
  try {
    const { mode } = await handle.stat();
    const ofOthers = dirname(file) === process.env['CREDENTIALS_DIRECTORY'] ? OF_OTHERS_IN_CREDENTIALS : OF_OTHERS;
    if ((mode & ofOthers) !== 0) throw new Error(`its mode is ${(mode & 0o777).toString(8)}: others than its owner may use it`);
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

function keysIn(text: string): PayloadKeys {
  const [first, ...others] = text.split('\n').flatMap((line, at) => (line.trim() === '' ? [] : [keyIn(line.trim(), at + 1)]));
  if (!first) throw new Error('no key is in it');
  const ids = [first, ...others].map(({ id }) => id);
  const twice = ids.find((id, at) => ids.indexOf(id) !== at);
  if (twice !== undefined) throw new Error(`two keys have the id ${twice}`);
  return [first, ...others];
}

function keyIn(line: string, number: number): PayloadKey {
  const [, id, base64] = LINE.exec(line) ?? [];
  const bytes = Buffer.from(base64 ?? '', 'base64');
  if (id === undefined || bytes.length !== KEY_BYTES) throw new Error(`line ${number} is not an id and ${KEY_BYTES} bytes of base64`);
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return { id, key };
}
