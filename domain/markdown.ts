/** Sentences with text from elsewhere in them, for what shows Markdown: nothing in them is taken for markup but the commands in backticks. Pure. */
import { visibleLine } from './visible.js';

/** A command, as sentences of this house have it; or what would be made a link without any markup. Neither is read for markup as code. */
const AS_CODE = /(?<!`)`[^`]+`(?!`)|[^\s`]*(?:\/\/|www\.|@)[^\s`]*/g;
const MARKUP = /[\\`*_[\]<>~|&#$]/g;

/** One line. Of no use at the beginning of a line, where also a number or a dash means something. */
export function markdownLine(text: string): string {
  const line = visibleLine(text);
  const codes = [...line.matchAll(AS_CODE)];
  const between = (from: number, to: number) => line.slice(from, to).replace(MARKUP, '\\$&');
  const ends = codes.map(({ index, 0: code }) => index + code.length);
  const parts = codes.map(({ index, 0: code }, i) => between(ends[i - 1] ?? 0, index) + (code.startsWith('`') ? code : `\`${code}\``));
  return parts.join('') + between(ends.at(-1) ?? 0, line.length);
}
