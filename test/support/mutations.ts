/**
 * Arbitraries for fuzz tests: edits of bytes and edits of JSON documents. What comes out differs from what went in, or not: the
 * caller compares. fast-check prints its seed where a property fails.
 */
import fc from 'fast-check';

type ByteEdit =
  | { readonly kind: 'flip'; readonly at: number; readonly bit: number }
  | { readonly kind: 'truncate'; readonly at: number }
  | { readonly kind: 'insert'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: 'remove'; readonly at: number; readonly count: number };

/** Places are counted from the beginning, round and round. */
const byteEdit: fc.Arbitrary<ByteEdit> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: fc.nat(), bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('truncate' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('insert' as const), at: fc.nat(), bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }) }),
  fc.record({ kind: fc.constant('remove' as const), at: fc.nat(), count: fc.integer({ min: 1, max: 40 }) }),
);

export const byteEdits = fc.array(byteEdit, { minLength: 1, maxLength: 4 });

export function editBytes(original: Buffer, edits: readonly ByteEdit[]): Buffer {
  return edits.reduce<Buffer>((bytes, edit) => {
    const at = edit.at % (bytes.length + 1);
    if (edit.kind === 'truncate') return bytes.subarray(0, at);
    if (edit.kind === 'insert') return Buffer.concat([bytes.subarray(0, at), edit.bytes, bytes.subarray(at)]);
    if (edit.kind === 'remove') return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + edit.count)]);
    return Buffer.from(bytes.map((byte, i) => (i === at ? byte ^ (1 << edit.bit) : byte)));
  }, original);
}

/** As a byte string, of which most tests want a Buffer. */
export const anyBytes = (maxLength: number): fc.Arbitrary<Buffer> => fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes));

type JsonEdit = { readonly at: number } & (
  | { readonly kind: 'drop' }
  | { readonly kind: 'repeat' }
  | { readonly kind: 'set'; readonly value: unknown }
  | { readonly kind: 'add'; readonly key: string; readonly value: unknown }
);

const DEEP: unknown = JSON.parse(`${'['.repeat(1000)}${']'.repeat(1000)}`);
const value: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(null, true, '', 0, -0, -1, 1.5, 2 ** 53, 1e308, [], {}, DEEP, 'a'.repeat(10_000), 'AAAA', '*', 'x\u0000y', '\ud800'),
  fc.jsonValue({ maxDepth: 3 }),
);
const key = fc.oneof(fc.constantFrom('__proto__', 'constructor', 'toString', 'length', '', 'kind', '0'), fc.string({ maxLength: 5 }));

const jsonEdit: fc.Arbitrary<JsonEdit> = fc.oneof(
  fc.record({ at: fc.nat(), kind: fc.constant('drop' as const) }),
  fc.record({ at: fc.nat(), kind: fc.constant('repeat' as const) }),
  fc.record({ at: fc.nat(), kind: fc.constant('set' as const), value }),
  fc.record({ at: fc.nat(), kind: fc.constant('add' as const), key, value }),
);

export const jsonEdits = fc.array(jsonEdit, { minLength: 1, maxLength: 3 });

/** A document such as JSON.parse gives one: `__proto__` is a member like any other. */
export function editJson(original: unknown, edits: readonly JsonEdit[]): unknown {
  const root = { document: JSON.parse(JSON.stringify(original)) as unknown };
  // Each with a value of its own: an edit may be of what another has put there.
  for (const edit of edits) apply(root, structuredClone(edit));
  return root.document;
}

function apply(root: { document: unknown }, edit: JsonEdit): void {
  const places = placesIn(root);
  const { holder, name } = places[edit.at % places.length] ?? { holder: root, name: 'document' };
  const there = (holder as Record<string, unknown>)[name];
  if (edit.kind === 'set') put(holder, name, edit.value);
  else if (edit.kind === 'repeat') {
    if (Array.isArray(there)) there.push(...(there as unknown[]).slice(-1));
  } else if (edit.kind === 'add') {
    if (Array.isArray(there)) there.push(edit.value);
    else if (typeof there === 'object' && there !== null) put(there, edit.key, edit.value);
  } else if (holder !== root) {
    if (Array.isArray(holder)) holder.splice(Number(name), 1);
    else delete (holder as Record<string, unknown>)[name];
  }
}

function put(holder: object, name: string, member: unknown): void {
  Object.defineProperty(holder, name, { value: member, enumerable: true, configurable: true, writable: true });
}

/** Every member and every item, with the whole document as the first; what is nested very deeply is left alone. */
function placesIn(holder: object, depth = 0): readonly { readonly holder: object; readonly name: string }[] {
  if (depth > 20) return [];
  return Object.entries(holder).flatMap(([name, member]: [string, unknown]) => [
    { holder, name },
    ...(typeof member === 'object' && member !== null ? placesIn(member, depth + 1) : []),
  ]);
}
