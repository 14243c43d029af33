/** tpm/event-log.ts: what it reads from a log, how much of it, and in which words it refuses one. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseEventLog } from '../../tpm/event-log.js';
import { EVENT_TYPE, type MadeEvent, SHA256_ALONE, action, event2, eventLog, le, separator, specIdEvent, startupLocality } from '../support/event-log.js';

type Algorithms = NonNullable<Parameters<typeof specIdEvent>[0]>;

const SHA1_ALONE: Algorithms = [[0x0004, 20, 'sha1']];
const BOTH: Algorithms = [...SHA1_ALONE, ...SHA256_ALONE];
const [BYTES_MAX, EVENTS_MAX] = [262144, 4096];
const sha256 = (data: Buffer | string) => createHash('sha256').update(data).digest('hex');
/** SHA-256 and others, of numbers that nobody uses. */
const manyAlgorithms = (count: number): Algorithms => [...SHA256_ALONE, ...Array.from({ length: count - 1 }, (_, i) => [0x7000 + i, 20, 'sha1'] as const)];

/** A copy with some bytes in the place of those from `at` on. */
function changed(bytes: Buffer, at: number, by: readonly number[]): Buffer {
  const copy = Buffer.from(bytes);
  copy.set(by, at);
  return copy;
}

/** The log of both algorithms, then an event that has digests of these. */
const logWithEventOf = (algorithms: Algorithms) => Buffer.concat([specIdEvent(BOTH), event2(action(4, 'calling'), algorithms)]);

describe('of a log is read', () => {
  it('each event that was extended, and the locality', () => {
    const image = { pcr: 23, type: 0x80000042, data: Buffer.from([1, 2, 3]), measured: Buffer.from('the image') };
    expect(parseEventLog(eventLog([startupLocality(3), separator(7), action(0, 'calling'), image]))).toEqual({
      startupLocality: 3,
      events: [
        { pcr: 7, type: 'EV_SEPARATOR', digest: sha256(Buffer.alloc(4)), what: 'data 00000000', isDataMeasured: true },
        { pcr: 0, type: 'EV_ACTION', digest: sha256('calling'), what: 'calling', isDataMeasured: true },
        { pcr: 23, type: '0x80000042', digest: sha256('the image'), what: 'data 010203', isDataMeasured: false },
      ],
    });
  });

  it('nothing where it has nothing, and locality 0 where it says none', () => {
    expect(parseEventLog(eventLog([]))).toEqual({ startupLocality: 0, events: [] });
  });

  it.each([0, 3, 4])('locality %d', (locality) => {
    expect(parseEventLog(eventLog([separator(0), startupLocality(locality)])).startupLocality).toBe(locality);
  });

  it('nothing of an event that extends nothing, whichever PCR it names', () => {
    expect(parseEventLog(eventLog([{ pcr: 0xffffffff, type: EVENT_TYPE.EV_NO_ACTION, data: Buffer.from('something else') }]))).toEqual({ startupLocality: 0, events: [] });
  });

  it.each<[string, Algorithms]>([['SHA-256 alone', SHA256_ALONE], ['SHA-1 beside it', BOTH], ['SHA-1 behind it', [...SHA256_ALONE, ...SHA1_ALONE]], ['sixteen algorithms', manyAlgorithms(16)]])('the SHA-256 digest from %s', (_, algorithms) => {
    expect(parseEventLog(eventLog([action(4, 'calling')], algorithms)).events.map(({ digest }) => digest)).toEqual([sha256('calling')]);
  });

  it('an event that lacks another digest than SHA-256', () => {
    expect(parseEventLog(logWithEventOf(SHA256_ALONE)).events.map(({ digest }) => digest)).toEqual([sha256('calling')]);
  });

  it('what comes behind the vendor’s own bytes', () => {
    const log = Buffer.concat([specIdEvent(BOTH, Buffer.from('vendor')), event2(separator(4), BOTH)]);
    expect(parseEventLog(log).events.map(({ pcr }) => pcr)).toEqual([4]);
  });
});

describe('a log is refused', () => {
  it.each<[string, Buffer, string]>([
    ['that belongs to another PCR', changed(eventLog([]), 0, [1]), 'Spec ID event at byte 0: the log does not begin with it'],
    ['that begins with an event that extends', changed(eventLog([]), 4, [4]), 'Spec ID event at byte 0: the log does not begin with it'],
    ['whose first digest begins with something', changed(eventLog([]), 8, [1]), 'Spec ID event at byte 0: the log does not begin with it'],
    ['whose first digest ends with something', changed(eventLog([]), 27, [1]), 'Spec ID event at byte 0: the log does not begin with it'],
    ['of an older form', changed(eventLog([]), 32, [...Buffer.from('Spec ID Event02\0')]), 'signature at byte 32: not Spec ID Event03: no crypto agile log'],
    ['of no algorithm', specIdEvent([]), 'numberOfAlgorithms at byte 56: 0, 1 to 16 expected'],
    ['of seventeen algorithms', specIdEvent(manyAlgorithms(17)), 'numberOfAlgorithms at byte 56: 17, 1 to 16 expected'],
    ['without SHA-256', specIdEvent(SHA1_ALONE), 'digestSizes at byte 60: no SHA-256 of 32 bytes'],
    ['with a SHA-256 of another length', specIdEvent([[0x000b, 31, 'sha256']]), 'digestSizes at byte 60: no SHA-256 of 32 bytes'],
  ])('%s', (_, log, message) => {
    expect(() => parseEventLog(log)).toThrow(expect.objectContaining({ name: 'StructureError', message }));
  });

  it('that names an algorithm twice, at the place of the second', () => {
    const log = specIdEvent([...BOTH, [0x000b, 32, 'sha256']]);
    expect(() => parseEventLog(log)).toThrow(expect.objectContaining({ field: 'algorithmId', message: 'algorithmId at byte 68: 0xb a second time' }));
  });

  it.each<[string, Buffer, string]>([
    ['of PCR 24', eventLog([action(23, 'calling'), action(24, 'calling')]), 'pcrIndex at byte 148: no PCR 24'],
    ['of more digests than there are algorithms', logWithEventOf([...BOTH, [0x000c, 48, 'sha384']]), 'digests.count at byte 77: 3, at most 2 expected'],
    ['of an algorithm that was not announced', logWithEventOf([...SHA256_ALONE, [0x000c, 48, 'sha384']]), 'digests.hashAlg at byte 115: unexpected value 0xc'],
    ['of an algorithm twice', logWithEventOf([...SHA256_ALONE, ...SHA256_ALONE]), 'digests.hashAlg at byte 115: unexpected value 0xb'],
    ['without SHA-256', logWithEventOf(SHA1_ALONE), 'digests at byte 77: no SHA-256 digest'],
    ['without any digest', logWithEventOf([]), 'digests at byte 77: no SHA-256 digest'],
    ['of a second locality', eventLog([startupLocality(3), startupLocality(3)]), 'StartupLocality at byte 158: a second one'],
  ])('with an event %s', (_, log, message) => {
    expect(() => parseEventLog(log)).toThrow(expect.objectContaining({ name: 'StructureError', message }));
  });

  it.each([1, 2, 5])('with locality %d, at which no TPM is started', (locality) => {
    expect(() => parseEventLog(eventLog([startupLocality(locality)]))).toThrow(expect.objectContaining({ field: 'StartupLocality', message: expect.stringMatching(new RegExp(`: unexpected value 0x${locality}$`)) as string }));
  });
});

describe('a log is read up to', () => {
  /** One whose only event fills it. */
  function logOfLength(bytes: number): Buffer {
    const around = eventLog([{ pcr: 4, type: EVENT_TYPE.EV_IPL, data: Buffer.alloc(0) }], SHA256_ALONE).length;
    return eventLog([{ pcr: 4, type: EVENT_TYPE.EV_IPL, data: Buffer.alloc(bytes - around) }], SHA256_ALONE);
  }

  it('256 KiB, and not with a byte more', () => {
    expect(parseEventLog(logOfLength(BYTES_MAX)).events).toHaveLength(1);
    expect(() => parseEventLog(logOfLength(BYTES_MAX + 1))).toThrow(expect.objectContaining({ name: 'StructureError', message: 'event log at byte 0: 262145 bytes, at most 262144 expected' }));
  });

  it('4096 events, and not with one more', () => {
    const empty: MadeEvent = { pcr: 4, type: EVENT_TYPE.EV_NO_ACTION, data: Buffer.alloc(0) };
    const [start, event] = [specIdEvent(SHA256_ALONE), event2(empty, SHA256_ALONE)];
    const logOf = (count: number) => Buffer.concat([start, ...Array.from({ length: count - 1 }, () => event), event2(action(5, 'last'), SHA256_ALONE)]);
    expect(parseEventLog(logOf(EVENTS_MAX)).events).toMatchObject([{ pcr: 5, what: 'last' }]);
    expect(() => parseEventLog(logOf(EVENTS_MAX + 1))).toThrow(expect.objectContaining({ name: 'StructureError', message: `event log at byte ${start.length + EVENTS_MAX * event.length}: more than 4096 events` }));
  });
});

it('numbers of a log are little-endian, all four bytes of them', () => {
  const log = changed(eventLog([action(4, 'calling')]), 69, [...le(0x01020304, 4)]);
  expect(() => parseEventLog(log)).toThrow(expect.objectContaining({ message: `pcrIndex at byte 69: no PCR ${0x01020304}` }));
});
