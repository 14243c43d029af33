/** tpm/event-log.ts: of a log that is cut off, or whose parts have another length than they say, the field is named. */
import { describe, expect, it } from 'vitest';
import { parseEventLog } from '../../tpm/event-log.js';
import { StructureError } from '../../tpm/structures.js';
import { EVENT_TYPE, event2, le, specIdEvent, startupLocality } from '../support/event-log.js';

/** What stands before the data of the Spec ID event, and how long that is. */
const HEAD_BYTES = 32;
const VENDOR_INFO = Buffer.from('abc');

function problemWith(log: Buffer): StructureError {
  try {
    parseEventLog(log);
  } catch (error) {
    if (error instanceof StructureError) return error;
    throw error;
  }
  throw new Error('nothing was wrong with it');
}

/** The fields that the logs lack, in the order of the logs, each with how many in a row lack it. */
function lackingOf(logs: readonly Buffer[]): readonly string[] {
  const rows: { field: string; count: number }[] = [];
  for (const { field } of logs.map(problemWith)) {
    const last = rows.at(-1);
    if (last?.field === field) last.count += 1;
    else rows.push({ field, count: 1 });
  }
  return rows.map(({ field, count }) => `${field} ${count}`);
}

const piecesOf = (bytes: Buffer, from: number) => Array.from({ length: bytes.length - from }, (_, i) => bytes.subarray(0, from + i));

/** A log that begins with these data of a Spec ID event, whose length it says as it is. */
function logWithSpecId(data: Buffer): Buffer {
  return Buffer.concat([specIdEvent().subarray(0, HEAD_BYTES - 4), le(data.length, 4), data]);
}

describe('the field that is lacking is named', () => {
  it('where the log ends within its first event', () => {
    expect(lackingOf(piecesOf(specIdEvent(), 0))).toEqual(['pcrIndex 4', 'eventType 4', 'digest 20', 'eventSize 4', 'event 37']);
  });

  it('where the first event is too short for what it should hold', () => {
    const data = specIdEvent(undefined, VENDOR_INFO).subarray(HEAD_BYTES);
    expect(lackingOf(piecesOf(data, 0).map(logWithSpecId))).toEqual([
      'signature 16', 'platformClass and specVersion 8', 'numberOfAlgorithms 4', 'algorithmId 2', 'digestSize 2', 'algorithmId 2', 'digestSize 2', 'vendorInfoSize 1', 'vendorInfo 3',
    ]);
  });

  it('where the log ends within a later event', () => {
    const before = Buffer.concat([specIdEvent(), event2({ pcr: 1, type: EVENT_TYPE.EV_ACTION, data: Buffer.from('first') })]);
    const log = Buffer.concat([before, event2({ pcr: 2, type: EVENT_TYPE.EV_ACTION, data: Buffer.from('second') })]);
    expect(lackingOf(piecesOf(log, before.length + 1))).toEqual([
      'pcrIndex 3', 'eventType 4', 'digests.count 4', 'digests.hashAlg 2', 'digest 20', 'digests.hashAlg 2', 'digest 32', 'eventSize 4', 'event 6',
    ]);
  });

  it('where a locality is announced and not there', () => {
    const event = startupLocality(3);
    expect(problemWith(Buffer.concat([specIdEvent(), event2({ ...event, data: event.data.subarray(0, -1) })]))).toMatchObject({ name: 'StructureError', field: 'StartupLocality', message: expect.stringMatching(/: 1 bytes wanted, 0 left$/) as string });
  });
});

describe('what is longer than it should be is named', () => {
  it('as the first event', () => {
    const data = Buffer.concat([specIdEvent(undefined, VENDOR_INFO).subarray(HEAD_BYTES), Buffer.alloc(2)]);
    expect(problemWith(logWithSpecId(data))).toMatchObject({ field: 'Spec ID event', message: expect.stringMatching(/: 2 bytes too many$/) as string });
  });

  it('as the locality', () => {
    const event = startupLocality(3);
    expect(problemWith(Buffer.concat([specIdEvent(), event2({ ...event, data: Buffer.concat([event.data, Buffer.alloc(2)]) })]))).toMatchObject({ field: 'StartupLocality', message: expect.stringMatching(/: 2 bytes too many$/) as string });
  });
});
