/** domain/markdown.ts: what the details of a move say in Temporal's web UI, where reasons and names come from elsewhere. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { failure } from '../../domain/failures.js';
import { markdownLine } from '../../domain/markdown.js';
import { detailsOf } from '../../domain/status.js';
import { DESTINATION, SOURCE, VM } from '../support/documents.js';

/** What is left for Markdown to read, from left to right: what is escaped is text, and a code span ends at the next run of as many backticks (CommonMark 0.31, 2.4 and 6.1). */
function readable(line: string): string {
  const [escaped] = /^\\[!-/:-@[-`{-~]/.exec(line) ?? [];
  if (escaped) return readable(line.slice(escaped.length));
  const [code] = /^(`+)(?!`)(?:.*?[^`])\1(?!`)/.exec(line) ?? [];
  if (code) return readable(line.slice(code.length));
  return line === '' ? '' : `${line[0]}${readable(line.slice(1))}`;
}

describe('a sentence with text from elsewhere', () => {
  it.each([
    ['a link', 'see [the runbook](https://evil.example/x)', 'see \\[the `runbook](https://evil.example/x)`'],
    ['an image', '![x](a.png)', '!\\[x\\](a.png)'],
    ['a heading on a line of its own', 'x\n# done', 'x\\\\x0a\\# done'],
    ['a bare address', 'go to http://evil.example now', 'go to `http://evil.example` now'],
    ['an address without a scheme, and one of mail', 'www.evil.example a@b.example', '`www.evil.example` `a@b.example`'],
    ['a tag', '<img src=x>', '\\<img src=x\\>'],
    ['emphasis', '**moved** _ok_ ~no~', '\\*\\*moved\\*\\* \\_ok\\_ \\~no\\~'],
    ['a reference', '&lt; &#60;', '\\&lt; \\&\\#60;'],
    ['what a terminal would do', '\u202e\x1b[2J', '\\\\u{202e}\\\\x1b\\[2J'],
    ['lone backticks', 'a ` b ``c``', 'a \\` b \\`\\`c\\`\\`'],
  ])('has no markup of %s', (_, text, expected) => {
    expect(markdownLine(text)).toBe(expected);
  });

  it('keeps the commands that it names', () => {
    expect(markdownLine('Watch it with `korora watch web-1`, or `korora abort web-1`.')).toBe('Watch it with `korora watch web-1`, or `korora abort web-1`.');
  });

  it('leaves nothing to read, whatever it is made of', () => {
    const parts = fc.array(fc.constantFrom('`', '``', '[', '](', ')', 'x', ' ', '\n', '\\', '*', '_', '<', '//', '@', 'www.', '#', 'korora watch'), { maxLength: 14 });
    fc.assert(fc.property(parts, (some) => {
      expect(readable(markdownLine(some.join('')))).not.toMatch(/[\\`*_[\]<>~|&#$\n]|\/\/|www\.|@/);
    }));
  });

  it('is so in the details of a move', () => {
    const failures = [failure('DESTINATION_REJECTED', { reason: '\n\n# moved\n[click](http://evil.example)' })];
    const details = detailsOf({ phase: 'refused', vmId: VM, source: SOURCE, destination: DESTINATION, failures, nextAction: 'see [x](y)' });
    expect(details.split('\n').filter((line) => line.startsWith('#'))).toEqual([]);
    expect(details).toContain('- `DESTINATION_REJECTED` the destination rejected the image: \\\\x0a\\\\x0a\\# `moved\\x0a[click](http://evil.example)`');
    expect(details).toContain('**Next action:** see \\[x\\](y)');
  });
});
