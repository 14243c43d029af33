/** infra/testbed/until.ts: a wait resolves with what it saw, passes errors on, and at its limit says what it wanted and saw. */
import { describe, expect, it } from 'vitest';
import { answered, until } from '../../infra/testbed/until.js';

const QUICK = { limitMs: 60, everyMs: 1 };
const never = new Promise<never>(() => undefined);

describe('a wait', () => {
  it('resolves with the first that is there, and looks no more', async () => {
    let looks = 0;
    expect(await until('a third look', () => ++looks, (seen) => seen === 3, { everyMs: 1 })).toBe(3);
    expect(looks).toBe(3);
  });

  it('looks once where that is enough, however short its limit is', async () => {
    expect(await until('it', async () => null, (seen) => seen === null, { limitMs: 0 })).toBeNull();
  });

  it('says at its limit what it waited for and saw last', async () => {
    let looks = 0;
    const waiting = until('the round', async () => ({ round: looks++ && 2, phase: 'copying' }), ({ round }) => round === 3, QUICK);
    await expect(waiting).rejects.toThrow("waited 0.06 s in vain for the round; last seen: { round: 2, phase: 'copying' }");
  });

  it('says the end of a text', async () => {
    const waiting = until('a number', () => `${'x'.repeat(5000)}count 7\n`, (text) => text.includes('count 8'), QUICK);
    await expect(waiting).rejects.toThrow(/^waited 0\.06 s in vain for a number; last seen: …x{992}count 7\n$/);
  });

  it('says it in the words of whoever waits, who may have to ask for them', async () => {
    const waiting = until('an even number', () => 3, (seen) => seen % 2 === 0, { ...QUICK, tell: async (seen) => `${seen}, which is odd` });
    await expect(waiting).rejects.toThrow('waited 0.06 s in vain for an even number; last seen: 3, which is odd');
  });

  it('says what it wanted also where nobody can tell what there was', async () => {
    const tell = () => { throw new Error('gone, too'); };
    await expect(until('it', () => 1, () => false, { ...QUICK, tell })).rejects.toThrow('waited 0.06 s in vain for it; last seen: nobody can tell: gone, too');
  });

  it('ends although a look does not come back, and tells of the one before', async () => {
    const views = [Promise.resolve('admitted'), never];
    await expect(until('the end', () => views.shift() ?? never, () => false, QUICK)).rejects.toThrow('last seen: …admitted');
  });

  it('looks a last time at its limit, whatever the pace', async () => {
    let looks = 0;
    expect(await until('it', () => ++looks, (seen) => seen === 2, { limitMs: 20, everyMs: 60_000 })).toBe(2);
  });

  it('passes an error of a look on as it is', async () => {
    const error = new Error('no such file');
    await expect(until('it', () => Promise.reject(error), () => true)).rejects.toBe(error);
    await expect(until('it', () => { throw error; }, () => true)).rejects.toBe(error);
    await expect(until('it', () => 1, () => { throw error; })).rejects.toBe(error);
  });
});

describe('an answer', () => {
  it('is given on, an error, too', async () => {
    expect(await answered('it', Promise.resolve(undefined))).toBeUndefined();
    await expect(answered('it', Promise.reject(new Error('refused')))).rejects.toThrow('refused');
  });

  it('that does not come is told with what is known meanwhile', async () => {
    await expect(answered('the result', never, { ...QUICK, tell: (seen) => `${seen}, in phase copying` })).rejects.toThrow('waited 0.06 s in vain for the result; last seen: undefined, in phase copying');
  });
});
