/** Every way to change one field of a JSON document: each leaf to another value of its type, each list by one element less. */

export interface Tampered {
  /** As `attestation.source.quote.attest`. */
  readonly path: string;
  readonly document: unknown;
}

export function everyChange(document: unknown): readonly Tampered[] {
  return changesOf(document, []).map(({ path, value }) => ({ path: path.join('.'), document: replaced(document, path, value) }));
}

interface Change {
  readonly path: readonly string[];
  readonly value: unknown;
}

function changesOf(value: unknown, path: readonly string[]): readonly Change[] {
  if (Array.isArray(value)) return [...(value.length > 0 ? [{ path, value: value.slice(0, -1) }] : []), ...value.flatMap((item, i) => changesOf(item, [...path, String(i)]))];
  if (typeof value === 'object' && value !== null) return Object.entries(value).flatMap(([key, member]) => changesOf(member, [...path, key]));
  if (typeof value === 'string') return [{ path, value: otherText(value) }];
  if (typeof value === 'number') return [{ path, value: value + 1 }];
  if (typeof value === 'boolean') return [{ path, value: !value }];
  return [];
}

/** Of the same length and kind: one letter or digit in the middle is its neighbour. */
function otherText(text: string): string {
  const at = [...text].findIndex((letter, i) => i >= text.length / 2 && /[a-y0-8]/.test(letter));
  if (at < 0) return `${text}x`;
  return `${text.slice(0, at)}${String.fromCharCode(text.charCodeAt(at) + 1)}${text.slice(at + 1)}`;
}

function replaced(document: unknown, [key, ...rest]: readonly string[], value: unknown): unknown {
  if (key === undefined) return value;
  const copy: unknown = Array.isArray(document) ? [...(document as unknown[])] : { ...(document as object) };
  (copy as Record<string, unknown>)[key] = replaced((document as Record<string, unknown>)[key], rest, value);
  return copy;
}
