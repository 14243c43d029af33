/** test/support/secret-search.ts: a secret is found in every form, wherever it begins, and something else is not. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Forms, findings } from '../support/secret-search.js';

const secret = randomBytes(32);
const forms = new Forms('it', secret);

describe('the search', () => {
  it.each([0, 1, 2, 3, 4, 5])('finds each form of a secret that begins %i bytes into what is written', (offset) => {
    const written = Buffer.concat([randomBytes(offset), secret, randomBytes(7)]);
    for (const text of [written, written.toString('hex'), written.toString('hex').toUpperCase(), written.toString('base64'), written.toString('base64url')]) {
      expect(findings([forms], [{ name: 'there', bytes: Buffer.concat([Buffer.from('before '), Buffer.from(text), Buffer.from(' after')]) }])).toEqual(['it in there']);
    }
  });

  it('finds neither another secret nor half of this one', () => {
    for (const bytes of [randomBytes(32), secret.subarray(0, 16), secret.toReversed()]) {
      for (const text of [Buffer.from(bytes), Buffer.from(Buffer.from(bytes).toString('base64')), Buffer.from(Buffer.from(bytes).toString('hex'))]) expect(forms.isIn(text)).toBe(false);
    }
  });

  it('takes nothing that could be there by chance', () => {
    expect(() => new Forms('short', randomBytes(7))).toThrow('by chance');
  });
});
