/**
 * tpm/event-log.ts: logs of real boots add up to what the TPM of that boot said; made ones are read as tpm2_eventlog reads them; whatever is not a
 * log is a StructureError and nothing else. Logs beside a real software TPM are in tpm-event-log-replay.test.ts.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BOOT_EVENTS_MAX, BootEvent, EVENT_LOG_BYTES_MAX, replay } from '../../domain/boot-events.js';
import { parseEventLog } from '../../tpm/event-log.js';
import { StructureError } from '../../tpm/structures.js';
import { EVENT_TYPE, type MadeEvent, SHA256_ALONE, action, bootOf, event2, eventLog, image, le, separator, specIdEvent, startupLocality, variable } from '../support/event-log.js';

const SHIM = '\\EFI\\debian\\shimx64.efi';
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'korora-event-log-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What tpm2-tools make of the log: each event's PCR and SHA-256 digest, and the values. */
function byTpm2Tools(log: Buffer) {
  const file = join(folder, 'log');
  writeFileSync(file, log);
  const [events = '', pcrs = ''] = execFileSync('tpm2_eventlog', [file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\npcrs:\n');
  const digests = events.split('- EventNum: ').map((event) => /PCRIndex: (\d+)\n\s+EventType: (\w+)\n[^]*AlgorithmId: sha256\n\s+Digest: "([0-9a-f]{64})"/.exec(event) ?? []).filter(([, , type]) => type !== undefined && type !== 'EV_NO_ACTION');
  const [, bank = ''] = pcrs.split('  sha256:\n');
  return {
    events: digests.map(([, pcr, type, digest]) => ({ pcr: Number(pcr), type, digest })),
    values: Object.fromEntries([...bank.matchAll(/^ {4}(\d+) +: 0x([0-9a-f]{64})$/gm)].map(([, pcr, value]) => [pcr, value])) as Record<string, string>,
  };
}

describe('the log of a real boot', () => {
  const recorded = (name: string) => JSON.parse(readFileSync(new URL(`../support/event-logs/${name}.json`, import.meta.url), 'utf8')) as { log: string; pcrValues: Record<string, string> };

  it.each(['seabios', 'ovmf', 'ovmf-secure-boot'])('of %s adds up to every value of its TPM but that of PCR 10, which the kernel extends', (name) => {
    const { log: base64, pcrValues } = recorded(name);
    const log = parseEventLog(Buffer.from(base64, 'base64'));
    expect(Object.keys(pcrValues)).toHaveLength(24);
    expect(Object.keys(pcrValues).filter((pcr) => replay(log, Number(pcr)) !== pcrValues[pcr])).toEqual(['10']);
    for (const event of log.events) expect(BootEvent.parse(event)).toEqual(event);
    const told = byTpm2Tools(Buffer.from(base64, 'base64'));
    expect(log.events.map(({ pcr, type, digest }) => ({ pcr, type, digest }))).toEqual(told.events);
  });

  it('says what was booted, and which of that was measured', () => {
    const { events } = parseEventLog(Buffer.from(recorded('ovmf').log, 'base64'));
    expect(events.filter(({ pcr }) => pcr === 4 || pcr === 7).map(({ type, what, isDataMeasured }) => `${type} ${what} ${isDataMeasured}`)).toEqual([
      'EV_EFI_VARIABLE_DRIVER_CONFIG variable SecureBoot = 00 true',
      ...['PK', 'KEK', 'db', 'dbx'].map((name) => `EV_EFI_VARIABLE_DRIVER_CONFIG variable ${name} = nothing true`),
      'EV_SEPARATOR data 00000000 true',
      'EV_EFI_BOOT_SERVICES_APPLICATION image kernel false',
      'EV_EFI_ACTION Calling EFI Application from Boot Option true',
      'EV_SEPARATOR data 00000000 true',
    ]);
  });
});

describe('a made log', () => {
  it('is read as tpm2_eventlog reads it, digests and values', () => {
    const made = eventLog(bootOf(SHIM, '\\EFI\\debian\\grubx64.efi'));
    const [log, told] = [parseEventLog(made), byTpm2Tools(made)];
    expect(log.events.map(({ pcr, type, digest }) => ({ pcr, type, digest }))).toEqual(told.events);
    expect(Object.keys(told.values)).toEqual(['0', '4', '7']);
    for (const [pcr, value] of Object.entries(told.values)) expect(replay(log, Number(pcr))).toBe(value);
  });

  it('of one bank, and with words of its vendor, is read too', () => {
    expect(parseEventLog(eventLog(bootOf(SHIM), SHA256_ALONE))).toEqual(parseEventLog(eventLog(bootOf(SHIM))));
    expect(parseEventLog(Buffer.concat([specIdEvent(SHA256_ALONE, Buffer.alloc(255)), event2(separator(0), SHA256_ALONE)])).events).toHaveLength(1);
    expect(parseEventLog(specIdEvent())).toEqual({ startupLocality: 0, events: [] });
  });

  it('does not extend by EV_NO_ACTION, wherever that stands', () => {
    const nothing: MadeEvent = { pcr: 0xffffffff, type: EVENT_TYPE.EV_NO_ACTION, data: Buffer.from('SP800-155 Event3') };
    expect(parseEventLog(eventLog([nothing, ...bootOf(SHIM), nothing]))).toEqual(parseEventLog(eventLog(bootOf(SHIM))));
  });

  it('begins PCR 0, and no other, at the locality of its start', () => {
    const [plain, at3] = [parseEventLog(eventLog(bootOf(SHIM))), parseEventLog(eventLog([startupLocality(3), ...bootOf(SHIM)]))];
    expect([plain.startupLocality, at3.startupLocality]).toEqual([0, 3]);
    expect(at3.events).toEqual(plain.events);
    expect(replay(at3, 0)).not.toBe(replay(plain, 0));
    expect(replay({ ...at3, events: [] }, 0)).toBe(`${'0'.repeat(63)}3`);
    for (const pcr of [1, 4, 7, 23]) expect(replay(at3, pcr)).toBe(replay(plain, pcr));
  });

  const bytesOf = (text: string) => Buffer.from(text, 'latin1');
  it.each<[string, MadeEvent, string, boolean]>([
    ['a variable', variable('SecureBoot', Buffer.from([1])), 'variable SecureBoot = 01', true],
    ['a long variable', variable('dbx', Buffer.alloc(5000)), 'variable dbx, 5000 bytes', true],
    ['a variable whose value alone was measured', { ...variable('BootOrder', Buffer.from([1, 0])), measured: Buffer.from([1, 0]) }, 'variable BootOrder = 0100', false],
    ['a variable that is none', { ...variable('x', Buffer.alloc(1)), data: Buffer.alloc(33, 1) }, '33 bytes', true],
    ['an image', image(SHIM, 'shim'), `image ${SHIM}`, false],
    ['an image without a path', { ...image('', ''), data: Buffer.concat([Buffer.alloc(24), le(4, 8), Buffer.from([0x7f, 0xff, 4, 0])]) }, 'image, not from a file', false],
    ['an image whose path goes round in circles', { ...image('', ''), data: Buffer.concat([Buffer.alloc(24), le(4, 8), Buffer.from([4, 4, 0, 0])]) }, 'image, not from a file', false],
    ['an image that is none', { ...image('', ''), data: Buffer.alloc(32, 0xff) }, '32 bytes', false],
    ['firmware', { pcr: 0, type: EVENT_TYPE.EV_EFI_PLATFORM_FIRMWARE_BLOB2, data: Buffer.concat([le(4, 1), bytesOf('BIOS'), Buffer.alloc(16)]) }, 'firmware BIOS', true],
    ['firmware without a name', { pcr: 0, type: EVENT_TYPE.EV_EFI_PLATFORM_FIRMWARE_BLOB2, data: Buffer.alloc(17) }, '17 bytes', true],
    ['a partition table', { pcr: 5, type: EVENT_TYPE.EV_EFI_GPT_EVENT, data: Buffer.alloc(92) }, 'partition table', true],
    ['a tag', { pcr: 9, type: EVENT_TYPE.EV_EVENT_TAG, data: Buffer.concat([le(0x8f3b22ec, 4), le(12, 4), bytesOf('Linux initrd')]) }, 'tag 8f3b22ec, Linux initrd', true],
    ['a text', action(4, 'Calling INT 19h'), 'Calling INT 19h', true],
    ['a version in UTF-16', { pcr: 0, type: EVENT_TYPE.EV_S_CRTM_VERSION, data: Buffer.from('1.0\0', 'utf16le') }, '1.0', true],
    ['a command of GRUB', { pcr: 8, type: EVENT_TYPE.EV_IPL, data: bytesOf('grub_cmd: linux /vmlinuz\0'), measured: bytesOf('linux /vmlinuz') }, 'grub_cmd: linux /vmlinuz', false],
    ['a separator', separator(7), 'data 00000000', true],
    ['no data', { pcr: 7, type: EVENT_TYPE.EV_SEPARATOR, data: Buffer.alloc(0) }, 'data none', true],
    ['control characters', action(4, 'a\x1b[31mb\nc\x07'), '10 bytes', true],
    ['controls in the name of a variable', variable('a\x1b[2J\n\u202eb', Buffer.alloc(1)), 'variable a??2J??b = 00', true],
    ['markup', action(4, '<b>`x`</b> [y](https://z) **'), '?b??x??/b? ?y?(https?//z) ??', true],
    ['what Markdown makes a link', action(4, 'www.z.org Www.z.org ftp://z a:b'), 'www?z.org Www?z.org ftp?//z a:b', true],
    ['a long text', action(4, 'a'.repeat(4000)), `${'a'.repeat(97)}...`, true],
  ])('tells %s in harmless words', (_, made, what, isDataMeasured) => {
    const [event] = parseEventLog(eventLog([made])).events;
    expect(event).toMatchObject({ what, isDataMeasured });
    expect(BootEvent.parse(event)).toEqual(event);
  });

  it('shows a type without a name by its number', () => {
    expect(parseEventLog(eventLog([{ ...separator(0), type: 0x8000ffff }])).events[0]?.type).toBe('0x8000ffff');
  });
});

const at = (log: Buffer, offset: number, value: Buffer) => Buffer.concat([log.subarray(0, offset), value, log.subarray(offset + value.length)]);
const sha384: readonly [number, number, string] = [0x000c, 48, 'sha384'];

describe('refused is a log', () => {
  const good = eventLog([startupLocality(3), separator(0)]);
  const first = specIdEvent().length;
  it.each<[string, Buffer, RegExp]>([
    ['that is empty', Buffer.alloc(0), /^pcrIndex at byte 0/],
    ['that is too large', Buffer.alloc(EVENT_LOG_BYTES_MAX + 1), /^event log at byte 0: 262145 bytes, at most 262144/],
    ['that begins with another PCR', at(good, 0, le(1, 4)), /^Spec ID event at byte 0/],
    ['that begins with another event', at(good, 4, le(4, 4)), /^Spec ID event at byte 0/],
    ['that begins with a digest', at(good, 8, Buffer.from([1])), /^Spec ID event at byte 0/],
    ['of SHA-1 digests only', at(good, 32, Buffer.from('Spec ID Event02\0')), /^signature at byte 32: not Spec ID Event03/],
    ['without an algorithm', at(good, 56, le(0, 4)), /^numberOfAlgorithms at byte 56/],
    ['with too many algorithms', at(good, 56, le(17, 4)), /^numberOfAlgorithms at byte 56/],
    ['with one algorithm twice', eventLog([], [...SHA256_ALONE, ...SHA256_ALONE]), /^algorithmId at byte \d+: 0xb a second time/],
    ['without SHA-256', eventLog([separator(0)], [sha384]), /^digestSizes at byte 60: no SHA-256/],
    ['with a SHA-256 of another size', eventLog([], [[0x000b, 20, 'sha1']]), /^digestSizes at byte 60/],
    ['whose first event is longer than what is in it', at(at(good, 28, le(38, 4)), 69, Buffer.alloc(1)), /^Spec ID event at byte 37: 1 bytes too many/],
    ['whose first event is shorter', at(good, 28, le(36, 4)), /^vendorInfoSize at byte 36: 1 bytes wanted, 0 left/],
    ['with more digests than algorithms', at(good, first + 8, le(3, 4)), /^digests.count at byte \d+: 3, at most 2/],
    ['with a digest of no algorithm of it', Buffer.concat([specIdEvent(SHA256_ALONE), event2(separator(0), [sha384])]), /^digests.hashAlg at byte \d+: unexpected value 0xc/],
    ['with one digest twice', Buffer.concat([specIdEvent(), event2(separator(0), [...SHA256_ALONE, ...SHA256_ALONE])]), /^digests.hashAlg at byte \d+: unexpected value 0xb/],
    ['with an event that has no SHA-256 digest', Buffer.concat([specIdEvent(), event2(separator(0), [[0x0004, 20, 'sha1']])]), /^digests at byte \d+: no SHA-256 digest/],
    ['with an event without digests', Buffer.concat([specIdEvent(), event2(separator(0), [])]), /^digests at byte \d+: no SHA-256 digest/],
    ['with an event of PCR 24', eventLog([separator(24)]), /^pcrIndex at byte \d+: no PCR 24/],
    ['with an event longer than the log', at(good, good.length - 8, le(5, 4)), /^event at byte \d+: 5 bytes wanted, 4 left/],
    ['with an event of 4 GiB', at(good, good.length - 8, le(0xffffffff, 4)), /^event at byte \d+: 4294967295 bytes wanted/],
    ['with two startups', eventLog([startupLocality(3), startupLocality(3)]), /^StartupLocality at byte \d+: a second one/],
    ['with a startup at no locality', eventLog([{ ...startupLocality(0), data: Buffer.from('StartupLocality\0') }]), /^StartupLocality at byte 0/],
    ['with a startup at two', eventLog([{ ...startupLocality(0), data: Buffer.from('StartupLocality\0\0\0') }]), /^StartupLocality at byte 1: 1 bytes too many/],
    ['with a startup at locality 5', eventLog([startupLocality(5)]), /^StartupLocality at byte 0: unexpected value 0x5/],
    ['with too many events', Buffer.concat([specIdEvent(SHA256_ALONE), ...Array.from({ length: BOOT_EVENTS_MAX + 1 }, () => event2({ pcr: 0, type: 4, data: Buffer.alloc(0) }, SHA256_ALONE))]), /^event log at byte \d+: more than 4096 events/],
    ['with bytes after its end', Buffer.concat([good, Buffer.alloc(1)]), /^pcrIndex at byte \d+: 4 bytes wanted, 1 left/],
  ])('%s', (_, log, message) => {
    expect(() => parseEventLog(log)).toThrow(StructureError);
    expect(() => parseEventLog(log)).toThrow(message);
  });

  it('that ends anywhere but between two events; one that ends there has only fewer events', () => {
    const made = [startupLocality(3), ...bootOf(SHIM)];
    const log = eventLog(made);
    const ends = made.reduce<number[]>((all, event) => [...all, (all.at(-1) ?? 0) + event2(event).length], [specIdEvent().length]);
    const whole = parseEventLog(log).events;
    for (let length = 0; length <= log.length; length += 1) {
      const after = ends.indexOf(length);
      if (after < 0) expect(() => parseEventLog(log.subarray(0, length))).toThrow(StructureError);
      else expect(parseEventLog(log.subarray(0, length)).events).toEqual(whole.slice(0, Math.max(0, after - 1)));
    }
  });
});

describe('whatever the bytes', () => {
  const outcome = (bytes: Uint8Array) => {
    try {
      return parseEventLog(Buffer.from(bytes));
    } catch (error) {
      if (!(error instanceof StructureError)) throw error;
      return null;
    }
  };
  const random = fc.uint8Array({ maxLength: 600 });

  it('they are no log, and no other error', () => {
    fc.assert(fc.property(random, (bytes) => outcome(bytes) === null));
  });

  it('behind a good beginning they are a StructureError or events that documents take', () => {
    const beginnings = [specIdEvent(), eventLog(bootOf(SHIM)), eventLog([startupLocality(4)], SHA256_ALONE)];
    fc.assert(fc.property(fc.constantFrom(...beginnings), random, (beginning, bytes) => outcome(Buffer.concat([beginning, bytes]))?.events.every((event) => BootEvent.safeParse(event).success) ?? true));
  });

  it('in the place of others of a good log, and as the data of events, too', () => {
    const log = eventLog(bootOf(SHIM));
    fc.assert(fc.property(fc.nat(log.length - 1), fc.uint8Array({ minLength: 1, maxLength: 8 }), (offset, bytes) => outcome(at(log, offset, Buffer.from(bytes)))?.events.every((event) => BootEvent.safeParse(event).success) ?? true));
    fc.assert(fc.property(fc.constantFrom(...Object.values(EVENT_TYPE)), random, (type, data) => {
      const parsed = outcome(eventLog([{ pcr: 1, type, data: Buffer.from(data) }]));
      return parsed?.events.every((event) => BootEvent.safeParse(event).success) ?? false;
    }));
  });
});
