/** What one trust bundle says otherwise than another: every member, named by what it is of instead of by its place in a list. Pure. */
import { canonicalJson } from './canonical.js';
import type { TrustBundle } from './trust-bundle.js';

export interface BundleChange {
  /** Such as `hosts.host-a.status` or `classes.rack.referenceSets.kernel-6.1.pcrValues.4`. */
  readonly at: string;
  /** Undefined where it was not there; then all of it is in `after`. */
  readonly before?: unknown;
  readonly after?: unknown;
}

/** In the order of `at`. Empty where both say the same; the order of lists makes no difference but in scopes. */
export function diffBundles(before: TrustBundle, after: TrustBundle): readonly BundleChange[] {
  return changes('', named(before), named(after)).sort((a, b) => (a.at < b.at ? -1 : 1));
}

/** Why hosts that have `before` would not take `after`; null where they would, as far as the bundles tell. */
export function successionProblem(before: TrustBundle, after: TrustBundle): string | null {
  if (after.serial > before.serial || canonicalJson(before) === canonicalJson(after)) return null;
  return `its serial is ${after.serial}: hosts that have seen ${before.serial} take only a higher one`;
}

/** Lists of things with a name as records, lists of numbers and texts in ascending order. */
function named(bundle: TrustBundle): unknown {
  const classes = Object.entries(bundle.classes).map(([name, hostClass]) => [
    name,
    { ...hostClass, pcrs: [...hostClass.pcrs].sort((a, b) => a - b), firmwareVersions: hostClass.firmwareVersions && [...hostClass.firmwareVersions].sort(), referenceSets: keyed(hostClass.referenceSets, 'id') },
  ]);
  const parameters = { ...bundle.parameters, wordsOfTwo: [...bundle.parameters.wordsOfTwo].sort() };
  return { ...bundle, parameters, hosts: keyed(bundle.hosts, 'hostId'), classes: Object.fromEntries(classes) as unknown, operators: keyed(bundle.operators, 'name') };
}

function keyed<K extends string, T extends Readonly<Record<K, string>>>(items: readonly T[], key: K): Readonly<Record<string, T>> {
  // Ids of reference sets need not differ: the second of one id is one more, its number behind a space, which no id has.
  const seen = new Map<string, number>();
  return Object.fromEntries(
    items.map((item) => {
      const count = (seen.get(item[key]) ?? 0) + 1;
      seen.set(item[key], count);
      return [count === 1 ? item[key] : `${item[key]} #${count}`, item];
    }),
  );
}

function changes(at: string, before: unknown, after: unknown): BundleChange[] {
  if (isRecord(before) && isRecord(after)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
    return [...keys].flatMap((key) => changes(at === '' ? key : `${at}.${key}`, own(before, key), own(after, key)));
  }
  if (before !== undefined && after !== undefined && canonicalJson(before) === canonicalJson(after)) return [];
  return [{ at, ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) }];
}

/** A class may be called `constructor`. */
function own(record: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
