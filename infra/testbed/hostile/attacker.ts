/**
 * Whoever owns Temporal, as numbers: each act is a handful of them, so that the same ones do the same again, and smaller ones do something simpler. He asks any activity
 * of any host: what was asked before, made to fit another move, with members changed; and where a host is in his hands, its TPM signs what he likes.
 */
import { canonicalJson, digestOf } from '../../../domain/canonical.js';
import type { Heard, KnownMove, Loot } from './loot.js';
import { HOSTS, type HostName, PCRS } from './people.js';
import type { MemoryTpm } from './memory-tpm.js';

export interface Edit {
  /** Which member. */
  readonly at: number;
  /** Below `SHALLOW`: anywhere; else a member of the argument itself. */
  readonly how: number;
  readonly value: number;
}

export interface Act {
  /** 0: it follows the act before; else it lies in wait for this one of `MOMENTS`. */
  readonly upon: number;
  /** Turns to wait since then. */
  readonly wait: number;
  /** 0: something asked lately, again. 1: any activity. 2: one that takes what a host signed. 3: one that ends a move, or begins it. */
  readonly kind: number;
  readonly activity: number;
  /** Which of the known arguments; 0 is the newest. */
  readonly base: number;
  /** 0: where it was asked; else a host. */
  readonly host: number;
  /** 0: as it was; else for the n-th newest move. */
  readonly move: number;
  readonly edits: readonly Edit[];
  /** 0: statements are as they were; else the host in his hands signs them anew: of which VM and epoch, what of them, with which order and to whom. */
  readonly forge: number;
  /** Turns that its activity takes before a part of the host has it wait, and how many it waits then; 0: none. */
  readonly after: number;
  readonly stall: number;
  /** 0: it is scheduled now; else at another time, as Temporal says. */
  readonly when: number;
}

export interface Attack {
  readonly host: HostName;
  readonly activity: string;
  readonly argument: unknown;
  /** What Temporal says of when it scheduled it. */
  readonly scheduledAtMs: number;
}

const RECENT = 12;
export const [SHALLOW, HOWS] = [5, 10];
const DEEPEST = 6;
const TAKE_STATEMENTS = ['resolveSource', 'yieldToClaim', 'giveReceipt'];
const END_OR_BEGIN = ['settleSource', 'settleDestination', 'closeSession', 'openSession'];
export const TURNED = 'host-c turns';
/** What he lies in wait for: steps of an honest move, and a host that falls into his hands. */
export const MOMENTS = ['copyMemory', 'openSession', 'unwrapSecrets', 'prepareDestination', 'settleSource', 'resolveSource', TURNED] as const;
/** That own a VM when he begins. */
const HOLDERS = ['host-a', 'host-b'] as const;
/** Forgeries of a larger number claim an epoch that nobody reached; of a yet larger one, by the order of another move. */
const [LATER_EPOCH, OTHER_ORDER] = [4, 8];
export const FORGERIES = 12;
/** Of Temporal's clock: long ago, in the year 2200, and what is no time at all. */
const TIMES: readonly number[] = [0, Date.UTC(2200, 0), 9e18, Number.NaN];
/** What an order may be made to say. */
const OTHER_WORDS: readonly object[] = [
  { migrationId: '99999999-9999-4999-8999-999999999999' }, { vmId: 'new', migrationId: '88888888-8888-4888-8888-888888888888', epoch: 1 }, { epoch: 1000 }, { destination: 'host-c' }, { source: 'host-c' }, { vmId: 'db' }, { notAfter: '2099-01-01T00:00:00Z' }, { requiresApproval: false },
];
const RUBBISH: readonly unknown[] = [
  null, 2.5, -1, 0, 1, 2, '', [], {}, true, 'x', 9_007_199_254_740_992, 1e308, 'x'.repeat(70_000), '\u0000\u001b[2J', '../../etc', ['__proto__'], ['x'], JSON.parse('{"__proto__":{"state":"owner"}}'), JSON.parse(`${'['.repeat(500)}${']'.repeat(500)}`),
];

/** Of the rubbish, a list where a text belongs. */
export const A_LIST = RUBBISH.findIndex((one) => Array.isArray(one) && one.length > 0);

export function attackOf(act: Act, loot: Loot, activityNames: readonly string[], badTpm: MemoryTpm | null): Attack {
  const base = pick(heardBy(act, loot, activityNames), act.base);
  if (!base) throw new Error('nothing was ever asked');
  const move = act.move === 0 ? null : (pick([...loot.moves].reverse(), act.move - 1) ?? null);
  let argument = copyOf(base.argument);
  if (move) argument = copyOf(fitted(argument, move, loot));
  for (const edit of act.edits) argument = edited(argument, edit, loot);
  if (badTpm && act.forge > 0) argument = forged(argument, { tpm: badTpm, how: act.forge, orders: loot.moves.map(({ envelope }) => envelope) });
  const isForged = act.forge > 0 && badTpm !== null;
  const isClaim = isForged && base.activity === 'yieldToClaim';
  const host = isClaim && act.host === 0 ? (pick(HOLDERS, act.forge) ?? 'host-a') : act.host === 0 ? (move ? hostFor(base, move, loot) : (base.host as HostName)) : (pick(HOSTS, act.host - 1) ?? 'host-a');
  return { host, activity: base.activity, argument, scheduledAtMs: act.when === 0 ? Date.now() : (pick(TIMES, act.when - 1) ?? 0) };
}

/** Newest first. */
function heardBy({ kind, activity }: Act, { heard }: Loot, activityNames: readonly string[]): readonly Heard[] {
  if (kind === 0) return heard.slice(-RECENT).reverse();
  const names = kind === 1 ? activityNames : kind === 2 ? TAKE_STATEMENTS : END_OR_BEGIN;
  return heard.filter((one) => one.activity === pick(names, activity)).reverse();
}

/** The host that has the part in this move that the one that was asked had in its own. */
function hostFor(base: { readonly host: string; readonly argument: unknown }, move: KnownMove, loot: Loot): HostName {
  const own = moveIn(base.argument, loot);
  if (!own) return base.host as HostName;
  return (base.host === own.source ? move.source : move.destination) as HostName;
}

function moveIn(argument: unknown, loot: Loot): KnownMove | null {
  const text = JSON.stringify(argument) ?? '';
  return loot.moves.find(({ migrationId, envelope }) => text.includes(migrationId) || text.includes((envelope as { payload: string }).payload)) ?? null;
}

/** As if it had been asked of another move: ids, hosts, epoch and order are that move's. */
function fitted(argument: unknown, move: KnownMove, loot: Loot): unknown {
  const own = moveIn(argument, loot);
  const replace = (value: unknown, name = ''): unknown => {
    if (own && value === own.migrationId) return move.migrationId;
    if (own && value === own.vmId) return move.vmId;
    if (own && name !== 'hostId' && value === own.destination) return move.destination;
    if (name === 'epoch' && typeof value === 'number') return move.epoch + 1;
    if (typeof value !== 'object' || value === null) return value;
    if (own && (value as { payload?: unknown }).payload === (own.envelope as { payload: string }).payload) return move.envelope;
    if (name === 'vm' && (value as { vmId?: unknown }).vmId !== move.vmId) return loot.valuesOf('vm').find((vm) => (vm as { vmId?: unknown } | null)?.vmId === move.vmId) ?? value;
    return mapMembers(value, replace);
  };
  return replace(argument);
}

function edited(argument: unknown, { at, how, value }: Edit, loot: Loot): unknown {
  const places = placesIn(argument, how < SHALLOW ? 0 : DEEPEST);
  const place = pick(places, at);
  if (!place) return argument;
  const { holder, name } = place;
  switch (how % 5) {
    case 0:
      Object.assign(holder, { [name]: copyOf(pick(RUBBISH, value)) });
      return argument;
    case 1:
      if (Array.isArray(holder)) holder.splice(Number(name), 1);
      else Reflect.deleteProperty(holder, name);
      return argument;
    case 2:
      Object.assign(holder, { [name]: copyOf(pick(loot.valuesOf(name), value) ?? null) });
      return argument;
    case 4:
      return rewritten(argument, value);
    default:
      Object.assign(holder, { [name]: copyOf(pick(loot.valuesOf(pick(loot.names, at * 31 + value) ?? ''), value) ?? null) });
      return argument;
  }
}

/** What operators signed says something else, under the signatures that it had. */
function rewritten(value: unknown, how: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (!('payload' in value) || typeof value.payload !== 'string') return mapMembers(value, (member) => rewritten(member, how));
  try {
    const document = JSON.parse(Buffer.from(value.payload, 'base64').toString()) as Record<string, unknown>;
    Object.assign(document, pick(OTHER_WORDS, how));
    return { ...value, payload: Buffer.from(canonicalJson(document)).toString('base64') };
  } catch {
    return value; // no document
  }
}

interface Forgery {
  readonly tpm: MemoryTpm;
  readonly how: number;
  /** Genuine, of any move. */
  readonly orders: readonly unknown[];
}

/** Each document beside a quote is signed again by the TPM of a host in bad hands, which the document then names; `how` also says over which PCRs. */
function forged(value: unknown, forgery: Forgery): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const { tpm, how, orders } = forgery;
  const { quote, ...rest } = value as Record<string, unknown>;
  const said = Object.entries(rest).find(([, member]) => typeof member === 'object' && member !== null && !Array.isArray(member));
  if (!quote || !said) return mapMembers(value, (member) => forged(member, forgery));
  const [name, member] = said;
  const document: Record<string, unknown> = { ...(member as object) };
  for (const field of ['hostId', 'destination']) if (field in document) document[field] = tpm.hostId;
  if (document['purpose'] === 'succession') document['ownedEpoch'] = 1000;
  if (document['purpose'] === 'claim') document['vmId'] = pick(['web', 'old', 'db'], how);
  if (document['purpose'] === 'claim' && how > LATER_EPOCH) document['epoch'] = 1000;
  if ('authority' in rest && how > OTHER_ORDER) rest['authority'] = copyOf(pick(orders, how));
  if (document['verdict'] !== undefined && how % 2 === 0) Object.assign(document, document['verdict'] === 'accepted' ? { verdict: 'rejected', manifestDigest: null, reason: 'no' } : { verdict: 'accepted', manifestDigest: 'ab'.repeat(32), reason: null });
  const pcrs = how % 5 === 4 ? [23] : PCRS;
  try {
    const { attest, signature } = tpm.quoteNow(pcrs, Buffer.from(digestOf(document), 'hex'));
    return { ...rest, [name]: document, quote: { attest, signature } };
  } catch {
    return value; // no canonical form
  }
}

function placesIn(holder: unknown, depth: number): { readonly holder: object; readonly name: string }[] {
  if (typeof holder !== 'object' || holder === null || depth > DEEPEST) return [];
  return Object.entries(holder).flatMap(([name, member]) => [{ holder, name }, ...placesIn(member, depth + 1)]);
}

function mapMembers(value: object, change: (member: unknown, name: string) => unknown): unknown {
  if (Array.isArray(value)) return value.map((member) => change(member, ''));
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, change(member, name)]));
}

function copyOf(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}

function pick<T>(list: readonly T[], n: number): T | undefined {
  return list.length === 0 ? undefined : list[n % list.length];
}
