/** Finding a secret in bytes, in every form that a program is likely to give it: raw, hex, base64 and base64url at any offset. */

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
