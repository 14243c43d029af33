/** domain/secret-key.ts and domain/refused-payload.ts: what is no key, what is left of one, and what a workflow takes for a refusal. */
import { describe, expect, it } from 'vitest';
import { failure } from '../../domain/failures.js';
import { refusedIn, refusedPayload } from '../../domain/refused-payload.js';
import { SECRET_KEY_BYTES, SecretKey } from '../../domain/secret-key.js';

const bytesOf = (...last: readonly number[]) => Uint8Array.from([...Array.from({ length: SECRET_KEY_BYTES - last.length }, () => 0), ...last]);
const invalid = (problem: string) => expect.objectContaining({ code: 'SECRET_KEY_INVALID', message: expect.stringContaining(problem) as string }) as Error;

describe('a secret key', () => {
  it.each([0, 31, 33])('has 32 bytes, not %i', (length) => {
    expect(() => SecretKey.of(new Uint8Array(length).fill(7))).toThrow(invalid(`it has ${length} bytes`));
  });

  it('is not all zeros; one bit makes it a key', () => {
    expect(() => SecretKey.of(bytesOf())).toThrow(invalid('it is all zeros'));
    expect(SecretKey.of(bytesOf(1)).use((bytes) => bytes.at(-1))).toBe(1);
  });

  it('is a copy, and destroyed at its own end', () => {
    const given = bytesOf(1, 2);
    const key = SecretKey.of(given);
    const copy = key.copy();
    given.fill(0);
    const held = key.use((bytes) => bytes);
    key.destroy();
    expect([...held]).toEqual([...bytesOf()]);
    expect([key.isDestroyed, copy.isDestroyed, [...copy.use((bytes) => bytes)]]).toEqual([true, false, [...bytesOf(1, 2)]]);
    for (const work of [() => key.copy(), () => key.use((bytes) => bytes)]) expect(work).toThrow(invalid('the move that it was of has ended'));
  });

  it('is destroyed once more without harm, and written nowhere', () => {
    const key = SecretKey.of(bytesOf(1));
    key.destroy();
    expect(() => key.destroy()).not.toThrow();
    expect(JSON.stringify({ key: SecretKey.of(bytesOf(1)) })).toBe('{"key":"a secret"}');
  });
});

describe('what a workflow is given in the place of its arguments', () => {
  const refusals = [failure('ORDER_INVALID', { problem: 'a' }), failure('ORDER_INVALID', { problem: 'b' })];

  it('is told apart by its name', () => {
    expect(refusedPayload(refusals)).toEqual({ 'korora/refused': refusals });
    expect(refusedIn([refusedPayload(refusals)])).toEqual(refusals);
  });

  it.each<[string, unknown]>([
    ['arguments', { order: {} }],
    ['nothing', undefined],
    ['no failure at all', refusedPayload([])],
    ['a failure of no known code', { 'korora/refused': [{ code: 'NO_SUCH_CODE', message: 'm', remedy: 'r' }] }],
    ['a failure whose code is a member of every object', { 'korora/refused': [{ code: 'constructor', message: 'm', remedy: 'r' }] }],
    ['a failure whose code is no text', { 'korora/refused': [{ code: ['ORDER_INVALID'], message: 'm', remedy: 'r' }] }],
    ['a failure without a remedy', { 'korora/refused': [{ code: 'ORDER_INVALID', message: 'm' }] }],
  ])('is no refusal where it is %s', (_, argument) => {
    expect(refusedIn([argument])).toBeNull();
  });
});
