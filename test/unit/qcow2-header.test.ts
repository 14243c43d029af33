/** domain/qcow2.ts: what the header of an image says of other files, and headers that are none. */
import { describe, expect, it } from 'vitest';
import { readQcow2Header } from '../../domain/qcow2.js';
import { qcow2Header } from '../support/qcow2-images.js';

describe('the header of a qcow2 image', () => {
  it.each<[string, Buffer, readonly string[]]>([
    ['of version 3 alone', qcow2Header({}), []],
    ['of version 2 alone', qcow2Header({ version: 2 }), []],
    ['that was not closed', qcow2Header({ incompatible: 1n }), []],
    ['with a backing file', qcow2Header({ backingOffset: 0x200n, backingBytes: 11 }), ['a backing file']],
    ['of version 2 with a backing file', qcow2Header({ version: 2, backingOffset: 0x200n, backingBytes: 11 }), ['a backing file']],
    ['with a place for a backing file and no length', qcow2Header({ backingOffset: 1n << 40n }), ['a backing file']],
    ['with a length of a backing file and no place', qcow2Header({ backingBytes: 1 }), ['a backing file']],
    ['with an external data file', qcow2Header({ incompatible: 4n }), ['an external data file']],
    ['with both', qcow2Header({ backingOffset: 0x200n, backingBytes: 11, incompatible: 5n }), ['a backing file', 'an external data file']],
  ])('%s', (_, header, others) => {
    expect(readQcow2Header(header)).toEqual({ isReadable: true, others });
    // A view into a larger memory, as Node gives one.
    expect(readQcow2Header(Buffer.concat([Buffer.alloc(7, 0xff), header]).subarray(7))).toEqual({ isReadable: true, others });
  });

  it.each<[string, Buffer, string]>([
    ['of nothing', Buffer.alloc(0), 'it has only 0 bytes'],
    ['that is cut', qcow2Header({}).subarray(0, 79), 'it has only 79 bytes'],
    ['of a raw disk', Buffer.alloc(512), 'it does not begin as one'],
    ['of version 1', qcow2Header({ version: 1 }), 'it is of version 1'],
    ['of version 4', qcow2Header({ version: 4 }), 'it is of version 4'],
  ])('%s is none', (_, header, problem) => {
    expect(readQcow2Header(header)).toEqual({ isReadable: false, problem });
  });
});
