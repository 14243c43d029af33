/** domain/boot-events.ts: the fields of an event, the first values of PCRs, a foreign text made plain, and differences told at the boundaries of their number. */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import { describe, expect, it } from 'vitest';
import { BootEvent, type BootLog, STARTUP_LOCALITIES, explainDifference, plainText, replay } from '../../domain/boot-events.js';
import { describeIssues } from '../../domain/documents.js';

const digestOf = (what: string) => bytesToHex(sha256(utf8ToBytes(what)));
const eventOf = (what: string): BootEvent => ({ pcr: 4, type: 'EV_ACTION', digest: digestOf(what), what, isDataMeasured: true });
const logOf = (...whats: readonly string[]): BootLog => ({ startupLocality: 0, events: whats.map(eventOf) });

describe('an event', () => {
  const wrongWith = (changes: object) => {
    const { error } = BootEvent.safeParse({ ...eventOf('kernel'), ...changes });
    return error ? describeIssues(error) : null;
  };

  it.each(['EV_A', 'EV_EFI_GPT_EVENT', `EV_${'A'.repeat(40)}`, '0x0badcafe'])('may be of type %s', (type) => {
    expect(wrongWith({ type })).toBeNull();
  });

  it.each(['', 'EV_', 'ACTION', 'xEV_ACTION', '[link] EV_ACTION', 'EV_ACTION ', 'ev_action', `EV_${'A'.repeat(41)}`, '0x0badcaf', '0x0badcafe0', '0x0BADCAFE', '10x0badcafe'])('is of no type "%s"', (type) => {
    expect(wrongWith({ type })).toBe('type: the name of an event type, or its number in hex');
  });

  it.each(['', 'image \\EFI\\BOOT\\BOOTX64.EFI', 'a'.repeat(100)])('may be described as "%s"', (what) => {
    expect(wrongWith({ what })).toBeNull();
  });

  it.each(['<b>', '[a](b)', 'two\nlines', '\u001b[31m', 'ü'])('is not described as %j', (what) => {
    expect(wrongWith({ what })).toBe('what: plain text');
  });

  it('is not described at length', () => {
    expect(wrongWith({ what: 'a'.repeat(101) })).toBe('what: Too big: expected string to have <=100 characters');
  });
});

describe('a PCR into which nothing was extended', () => {
  const valueOf = (pcr: number, startupLocality: number) => replay({ startupLocality, events: [] }, pcr);

  it.each(STARTUP_LOCALITIES)('is the locality of the start, if it is PCR 0: %i', (locality) => {
    expect(valueOf(0, locality)).toBe(`${'0'.repeat(63)}${locality}`);
  });

  it.each([1, 4, 7, 15, 16, 23])('is zero, wherever the TPM was started: PCR %i', (pcr) => {
    expect(STARTUP_LOCALITIES.map((locality) => valueOf(pcr, locality))).toEqual(STARTUP_LOCALITIES.map(() => '0'.repeat(64)));
  });

  it.each([17, 18, 19, 20, 21, 22])('says that there was no dynamic launch: PCR %i', (pcr) => {
    expect(STARTUP_LOCALITIES.map((locality) => valueOf(pcr, locality))).toEqual(STARTUP_LOCALITIES.map(() => 'f'.repeat(64)));
  });
});

describe('a difference', () => {
  const told = (booted: BootLog, reference: BootLog) =>
    explainDifference({ pcr: 4, value: replay(booted, 4), log: booted, reference: { value: replay(reference, 4), events: reference.events } });
  const isNew = (at: number, what: string) => `event ${at} of PCR 4 is new: EV_ACTION, ${what} (measured; SHA-256 ${digestOf(what).slice(0, 16)}…)`;

  it('of four events is told in full, and no more are counted', () => {
    expect(told(logOf('kernel', 'a', 'b', 'c', 'd'), logOf('kernel'))).toBe([isNew(2, 'a'), isNew(3, 'b'), isNew(4, 'c'), isNew(5, 'd')].join('; '));
  });

  it('of five events is told as four and one more', () => {
    expect(told(logOf('kernel', 'a', 'b', 'c', 'd', 'e'), logOf('kernel'))).toBe([isNew(2, 'a'), isNew(3, 'b'), isNew(4, 'c'), isNew(5, 'd'), 'and 1 more'].join('; '));
  });

  it('in order is told from the first event on', () => {
    expect(told(logOf('grub', 'shim', 'kernel'), logOf('shim', 'grub', 'kernel'))).toBe('the events of PCR 4 are those of the reference, from event 1 on in another order');
  });
});

describe('a foreign text', () => {
  it.each([
    ['a link', 'see https://evil.example/a', 'see https?//evil.example/a'],
    ['a link without its scheme', 'www.evil.example and WWW.EVIL.EXAMPLE', 'www?evil.example and WWW?EVIL.EXAMPLE'],
    ['a colon that makes no link', 'C:\\EFI: a:b:/c', 'C:\\EFI: a:b:/c'],
    ['Markdown and HTML', '[a](b) <i> `c` *d* | #e', '?a?(b) ?i? ?c? ?d? ? ?e'],
    ['what a terminal obeys', 'a\u001b[31m\r\nb', 'a??31m??b'],
    ['other letters', 'grün', 'gr?n'],
    ['harmless signs', 'Az09 ._:-\\/,=+()', 'Az09 ._:-\\/,=+()'],
  ])('is plain: %s', (_, text, plain) => {
    expect(plainText(text)).toBe(plain);
  });

  it.each([
    ['none of a hundred characters', 'a'.repeat(100), 'a'.repeat(100)],
    ['what is beyond a hundred characters', `${'a'.repeat(97)}bcde`, `${'a'.repeat(97)}...`],
    ['all the rest of a long text', 'ab'.repeat(500), `${'ab'.repeat(48)}a...`],
  ])('loses %s', (_, text, plain) => {
    expect(plainText(text)).toBe(plain);
  });

  it('is one that an event takes as its description', () => {
    const what = plainText('\u001b]8;;https://evil.example\u0007'.repeat(20));
    expect(BootEvent.safeParse({ ...eventOf('kernel'), what }).success).toBe(true);
  });
});
