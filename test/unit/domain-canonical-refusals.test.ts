/** domain/canonical.ts: what has a form, and what is said of all else. Nothing here is digested before a test runs. */
import { describe, expect, it } from 'vitest';
import { canonicalJson } from '../../domain/canonical.js';

describe('the canonical form', () => {
  it.each<[string, unknown, string]>([
    ['true', true, 'true'],
    ['false', false, 'false'],
    ['no items', [], '[]'],
    ['items, in their order', [2, 'b', [false]], '[2,"b",[false]]'],
    ['members, by their names', { b: [1], a: { d: true, c: null } }, '{"a":{"c":null,"d":true},"b":[1]}'],
  ])('is there for %s', (_, value, text) => {
    expect(canonicalJson(value)).toBe(text);
  });

  it.each<[string, unknown, string]>([
    ['NaN', NaN, 'canonical JSON has no form for NaN'],
    ['an infinite number', Infinity, 'canonical JSON has no form for Infinity'],
    ['an infinite number below zero', { a: [-Infinity] }, 'canonical JSON has no form for -Infinity'],
    ['nothing', undefined, 'canonical JSON has no form for undefined'],
    ['an item that is missing', [undefined], 'canonical JSON has no form for undefined'],
    ['a bigint', { a: 1n }, 'canonical JSON has no form for bigint'],
    ['a function', () => 1, 'canonical JSON has no form for function'],
    ['a symbol', Symbol('a'), 'canonical JSON has no form for symbol'],
    ['a date', new Date(0), 'canonical JSON takes plain objects only'],
    ['a map', { a: new Map() }, 'canonical JSON takes plain objects only'],
    ['bytes', new Uint8Array(2), 'canonical JSON takes plain objects only'],
  ])('is refused for %s, by its kind', (_, value, message) => {
    expect(() => canonicalJson(value)).toThrow(new TypeError(message));
  });
});
