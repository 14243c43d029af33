/**
 * Text from elsewhere, as it may be shown: what would steer a terminal, turn the direction of reading, end a line or not be seen at all is
 * written out. Nothing is lost that anybody could have seen. Pure.
 */

/** Control characters (C0, DEL, C1), formats (directions, joiners, tags), lone surrogates, separators of lines and paragraphs. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** One line: an end of line is written out, too. */
export function visibleLine(text: string): string {
  return text.replace(UNSEEN, spelled);
}

/** Lines stay lines: for text that was put together here, of values that are visible themselves (`visibleValues`). */
export function visibleText(text: string): string {
  return text.split('\n').map(visibleLine).join('\n');
}

/** A copy in which every string and every name of a member is one visible line. */
export function visibleValues<T>(value: T): T {
  return visible(value) as T;
}

/** JSON that means the same, in ASCII wherever a terminal would do more than show it. `indent`: as of JSON.stringify. */
export function visibleJson(value: unknown, indent?: number): string {
  const units = (character: string) => [...Array(character.length).keys()].map((i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`).join('');
  return JSON.stringify(value, null, indent).replace(UNSEEN, (character) => (character === '\n' ? character : units(character)));
}

function visible(value: unknown): unknown {
  if (typeof value === 'string') return visibleLine(value);
  if (Array.isArray(value)) return value.map(visible);
  if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([name, member]) => [visibleLine(name), visible(member)]));
  return value;
}

function spelled(character: string): string {
  const code = (character.codePointAt(0) ?? 0).toString(16);
  return code.length <= 2 ? `\\x${code.padStart(2, '0')}` : `\\u{${code}}`;
}
