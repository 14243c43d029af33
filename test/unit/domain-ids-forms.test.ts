/** domain/ids.ts, enrolment.ts, manifest.ts and markdown.ts: forms to the letter, and in which words another one is refused. */
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { digestOf } from '../../domain/canonical.js';
import { Enrolment, answerDigestOf } from '../../domain/enrolment.js';
import { isFailureCode, refuse } from '../../domain/failures.js';
import { AbsolutePath, Base64, Hex, HostId, Sha256Hex, VmId, assertNever, recordOf } from '../../domain/ids.js';
import { ClaimStatement, Succession, SuccessionStatement, Verdict, verdictOf } from '../../domain/manifest.js';
import { markdownLine } from '../../domain/markdown.js';
import { wrongWith as wrong } from '../support/problems.js';

describe.each([['a host', HostId], ['a VM', VmId]])('the name of %s', (_, schema) => {
  it.each(['a', '7', 'ab', 'a-b', 'web-1', 'a'.repeat(48), `a${'-'.repeat(46)}b`])('may be %s', (name) => expect(wrong(schema, name)).toBeNull());

  it.each(['', '-a', 'a-', 'A', 'a_b', 'a b', ' a', 'a ', 'a\n', 'a'.repeat(49)])('is not "%s"', (name) => {
    expect(wrong(schema, name)).toBe('document: lower-case letters, digits and inner hyphens, at most 48');
  });
});

describe('a digest', () => {
  it.each([['ab'.repeat(32), null], [`0${'ab'.repeat(32)}`, 'x'], [`${'ab'.repeat(32)}0`, 'x'], ['AB'.repeat(32), 'x'], ['ab'.repeat(31), 'x']])('%s', (text, problem) => {
    expect(wrong(Sha256Hex, text)).toBe(problem && 'document: 64 lower-case hex digits (SHA-256)');
  });
});

describe('hex', () => {
  it.each([['', null], ['00ff', null], ['0', 'x'], ['0g', 'x'], ['FF', 'x'], ['x00', 'x'], ['00x', 'x']])('"%s"', (text, problem) => expect(wrong(Hex, text)).toBe(problem && 'document: lower-case hex'));
});

describe('base64', () => {
  it.each([['', null], ['AA==', null], ['AAA=', null], ['AAAA', null], ['AA', 'x'], ['AB==', 'x'], ['A-__', 'x'], ['AAAA\n', 'x']])('"%s"', (text, problem) => {
    expect(wrong(Base64, text)).toBe(problem && 'document: base64 with padding, its unused bits zero');
  });
});

describe('a path', () => {
  it.each([['/a', null], ['/a/b c/.d', null], ['/...', null], ['/', 'x'], ['a', 'x'], ['/a/', 'x'], ['/a//b', 'x'], ['/a/./b', 'x'], ['/..', 'x'], ['/a,b', 'x'], ['/a\nb', 'x'], ['x/a', 'x']])('"%s"', (path, problem) => {
    expect(wrong(AbsolutePath, path)).toBe(problem && 'document: an absolute path, normalised, without control characters or commas');
  });
});

describe('a record', () => {
  const schema = recordOf(z.string(), z.number());

  it('has no member named __proto__, and is one', () => {
    expect(wrong(schema, { a: 1 })).toBeNull();
    expect(schema.safeParse(JSON.parse('{"__proto__":1,"a":1}')).error?.issues).toEqual([expect.objectContaining({ code: 'custom', message: 'no member is named __proto__' })]);
    for (const value of [null, 7, 'text', undefined]) expect(wrong(schema, value)).toMatch(/^document: Invalid input: expected record/);
  });
});

it('a case that nobody thought of ends the work, and is shown', () => {
  expect(() => assertNever({ kind: 'new' } as never)).toThrow('unexpected value {"kind":"new"}');
});

describe('a verdict', () => {
  const digest = 'ab'.repeat(32);
  const move = { migrationId: '00000000-0000-4000-8000-000000000001', vmId: 'web', destination: 'host-b', epoch: 2 } as Parameters<typeof verdictOf>[0];
  const NAMES = 'document: an acceptance names its manifest, a rejection none';
  const REASON = 'document: a rejection has a reason, an acceptance none';

  it.each<['accepted' | 'rejected', string | null, string | null, string | null]>([
    ['accepted', digest, null, null],
    ['rejected', null, 'why', null],
    ['rejected', null, '', null],
    ['rejected', null, 'x'.repeat(2000), null],
    ['accepted', null, null, NAMES],
    ['rejected', digest, 'why', NAMES],
    ['accepted', digest, 'why', REASON],
    ['rejected', null, null, REASON],
    ['accepted', null, 'why', `${NAMES}; ${REASON}`],
  ])('%s, of manifest %s, for %s', (verdict, manifestDigest, reason, problem) => {
    const made = verdictOf(move, { verdict, manifestDigest, reason });
    expect(made).toEqual({ protocol: 'korora/1', purpose: 'verdict', ...move, verdict, manifestDigest, reason });
    expect(wrong(Verdict, made)).toBe(problem);
  });

  it('has no longer reason', () => {
    expect(wrong(Verdict, verdictOf(move, { verdict: 'rejected', manifestDigest: null, reason: 'x'.repeat(2001) }))).toMatch(/^reason: Too big/);
  });
});

describe('a statement of a host', () => {
  const quote = { attest: 'AAAA', signature: 'AAAA' };
  const migrationId = '00000000-0000-4000-8000-000000000001';
  const succession = { protocol: 'korora/1', purpose: 'succession', vmId: 'web', hostId: 'host-b', migrationId, ownedEpoch: 4 };
  const claim = { protocol: 'korora/1', purpose: 'claim', vmId: 'web', hostId: 'host-b', epoch: 2, migrationId };
  const authority = { payloadType: 'application/vnd.korora.order+json', payload: 'AAAA', signatures: [{ keyid: 'ab'.repeat(32), sig: `${'A'.repeat(86)}==` }] };

  it('is of its protocol and its purpose', () => {
    expect(Succession.parse(succession)).toEqual(succession);
    expect(SuccessionStatement.parse({ succession, quote })).toEqual({ succession, quote });
    expect(ClaimStatement.parse({ claim, quote, authority })).toEqual({ claim, quote, authority });
    for (const [schema, statement] of [[Succession, succession], [ClaimStatement.shape.claim, claim]] as const) {
      for (const member of ['protocol', 'purpose'] as const) expect(wrong(schema, { ...statement, [member]: 'korora/2' })).toMatch(new RegExp(`^${member}: Invalid input: expected "${statement[member]}"`));
    }
    expect(wrong(SuccessionStatement, { succession, quote, more: 1 })).toBe('document: Unrecognized key: "more"');
  });
});

describe('an enrolment', () => {
  it('has a value of some PCR', () => {
    const { pcrValues } = Enrolment.shape;
    expect(wrong(pcrValues, { '0': 'ab'.repeat(32) })).toBeNull();
    expect(wrong(pcrValues, {})).toBe('document: no PCR');
  });

  it('is answered over host and secret, for this purpose alone', () => {
    expect(answerDigestOf('host-a', Uint8Array.from([1, 2, 3]))).toBe(digestOf({ protocol: 'korora/1', purpose: 'enrolment', hostId: 'host-a', secret: 'AQID' }));
  });
});

describe('the code of a failure', () => {
  it('is one of the table', () => {
    expect(['ORDER_INVALID', 'NO_SUCH', 'constructor', '', undefined, null].map(isFailureCode)).toEqual([true, false, false, false, false, false]);
  });

  it('comes with the cause that was given, and with none else', () => {
    const cause = new Error('why');
    expect(refuse('ORDER_INVALID', { problem: 'x' }, cause).cause).toBe(cause);
    expect(Object.hasOwn(refuse('ORDER_INVALID', { problem: 'x' }), 'cause')).toBe(false);
  });
});

describe('a line of Markdown', () => {
  it.each([['`korora watch web`', '`korora watch web`'], ['see https://x.example/`', 'see `https://x.example/`\\`'], ['www.x.example', '`www.x.example`'], ['`', '\\`'], ['`a` b`', '`a` b\\`']])('%s', (text, line) => {
    expect(markdownLine(text)).toBe(line);
  });
});
