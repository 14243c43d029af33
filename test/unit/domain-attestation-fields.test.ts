/** domain/attestation.ts: which fields are as they must be, at their boundaries, and in which words one is refused that is not. */
import { describe, expect, it } from 'vitest';
import { PcrValues, StateQuestion, TpmBoot } from '../../domain/attestation.js';
import { digest } from '../support/documents.js';
import { wrongWith } from '../support/problems.js';

const INDICES = Array.from({ length: 24 }, (_, index) => index);

describe('values of PCRs', () => {
  it.each(INDICES.map(String))('may be of PCR %s', (pcr) => {
    expect(wrongWith(PcrValues, { [pcr]: digest(1) })).toBeNull();
  });

  it.each(['24', '29', '30', '1a', '2x', '00', '07', '-1', '1.5', '', ' 1', '123', 'x'])('are of no PCR "%s"', (pcr) => {
    expect(wrongWith(PcrValues, { [pcr]: digest(1) })).toBe(`${pcr || 'document'}: a PCR index, 0 to 23`);
  });

  it('are SHA-256 digests', () => {
    expect(wrongWith(PcrValues, { '7': 'ab' })).toBe('7: 64 lower-case hex digits (SHA-256)');
  });
});

describe('the boot of a TPM', () => {
  const boot = { resetCount: 3, restartCount: 1, clock: '12345' };

  it.each([
    ['no reset and no restart', { resetCount: 0, restartCount: 0 }],
    ['many resets and restarts', { resetCount: 4_294_967_295, restartCount: 4_294_967_295 }],
    ['a clock that has not begun', { clock: '0' }],
    ['a clock of twenty digits', { clock: '18446744073709551615' }],
  ])('may have %s', (_, changes) => {
    expect(wrongWith(TpmBoot, { ...boot, ...changes })).toBeNull();
  });

  it.each([
    ['resetCount', { resetCount: -1 }],
    ['restartCount', { restartCount: -1 }],
  ])('has no %s below zero', (field, changes) => {
    expect(wrongWith(TpmBoot, { ...boot, ...changes })).toBe(`${field}: Too small: expected number to be >=0`);
  });

  it.each(['', '007', '00', '-1', '+1', 'x1', '1x', '1 ', '1\n', '1.5', '184467440737095516150'])('has no clock %j', (clock) => {
    expect(wrongWith(TpmBoot, { ...boot, clock })).toBe('clock: a decimal number');
  });
});

describe('a question for the state of a host', () => {
  const asking = (pcrs: readonly number[]) => wrongWith(StateQuestion, { nonce: digest(1), pcrs });

  it.each([
    ['the first PCR', [0]],
    ['the last PCR', [23]],
    ['three PCRs', [0, 4, 7]],
    ['all PCRs', INDICES],
  ])('may be for %s', (_, pcrs) => {
    expect(asking(pcrs)).toBeNull();
  });

  it.each([
    ['no PCR', [], 'pcrs: Too small: expected array to have >=1 items'],
    ['more PCRs than there are', [...INDICES, 0], 'pcrs: Too big: expected array to have <=24 items'],
    ['a PCR below the first', [-1], 'pcrs.0: Too small: expected number to be >=0'],
    ['a PCR beyond the last', [24], 'pcrs.0: Too big: expected number to be <=23'],
  ])('is not for %s', (_, pcrs, problem) => {
    expect(asking(pcrs)).toBe(problem);
  });
});
