/** Finding a secret in bytes, in every form that a program is likely to give it: raw, hex, base64 and base64url at any offset. */
import { readFile, readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** Of a base64 text, what stands for whole bytes of the secret only. */
const BITS_OF_DIGIT = 6;

export class Forms {
  private readonly needles: readonly Buffer[];

  constructor(
    readonly name: string,
    secret: Buffer,
  ) {
    if (secret.length < 8) throw new Error(`${name}: ${secret.length} bytes would be found by chance`);
    const hex = secret.toString('hex');
    const base64 = [0, 1, 2].flatMap((offset) => {
      const text = inBase64At(secret, offset);
      return [text, text.replaceAll('+', '-').replaceAll('/', '_')];
    });
    this.needles = [secret, ...[hex, hex.toUpperCase(), ...base64].map((text) => Buffer.from(text))];
  }

  isIn(bytes: Buffer): boolean {
    return this.needles.some((needle) => bytes.includes(needle));
  }
}

/** The digits that depend on the secret alone, where `offset` bytes of something else were encoded before it. */
function inBase64At(secret: Buffer, offset: number): string {
  const text = Buffer.concat([Buffer.alloc(offset), secret]).toString('base64');
  const from = Math.ceil((offset * 8) / BITS_OF_DIGIT);
  const to = Math.floor(((offset + secret.length) * 8) / BITS_OF_DIGIT);
  return text.slice(from, to);
}

/** Something that is searched, as a person would name it. */
export interface Place {
  readonly name: string;
  readonly bytes: Buffer;
}

/** `<secret> in <place>` of each that is where it must not be. */
export function findings(secrets: readonly Forms[], places: readonly Place[]): string[] {
  return places.flatMap(({ name, bytes }) => secrets.filter((secret) => secret.isIn(bytes)).map((secret) => `${secret.name} in ${name}`));
}

/** Every file below, by its path there. */
export async function filesBelow(folder: string): Promise<Place[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const read = await Promise.all(files.map(async (file) => ({ name: relative(folder, file), bytes: await readFile(file).catch(() => null) })));
  // A socket's or a round's own file may be gone by now.
  return read.flatMap(({ name, bytes }) => (bytes ? [{ name, bytes }] : []));
}

/** Arguments and environment of processes. */
export async function processes(pids: readonly number[]): Promise<Place[]> {
  const files = pids.flatMap((pid) => ['cmdline', 'environ'].map((name) => `/proc/${pid}/${name}`));
  return Promise.all(files.map(async (name) => ({ name, bytes: await readFile(name) })));
}
