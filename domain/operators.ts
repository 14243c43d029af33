/**
 * Who may have what done: operators, by their keys, and the scopes that the trust bundle gives them. A person, a
 * portal's service and an automaton are all operators. What only gives something up (an abort, a hold) asks for nobody's word.
 */
import { z } from 'zod';
import { PublicKey } from './envelope.js';
import { AbsolutePath, HostId, type VmId } from './ids.js';
import { BridgeName, type VmDocument } from './vm.js';

export const ACTIONS = ['start', 'migrate', 'approve', 'fence', 'reinstate'] as const;
export type Action = (typeof ACTIONS)[number];

/** Which the trust bundle can let hosts take only from two operators: nothing but a person's word stands behind them. */
export const WORDS_OF_TWO = ['fence', 'reinstate'] as const satisfies readonly Action[];

const ANY = '*';
const VmPattern = z.string().regex(/^(?:\*|[a-z0-9][a-z0-9-]{0,47}\*?)$/, 'a VM id, the beginning of one with * after it, or *');
const HostPattern = z.union([z.literal(ANY), HostId]);
/** `/srv/web/*` is all that lies below /srv/web, at any depth. */
const PathPattern = z.string().refine((text) => text === ANY || isOneOf(AbsolutePath.regex(/^[^*]*$/), text.endsWith('/*') ? text.slice(0, -2) : text), 'an absolute path, a folder with /* after it, or *');
const BridgePattern = z.string().refine((text) => text === ANY || isOneOf(BridgeName, text.endsWith(ANY) ? text.slice(0, -1) : text), 'the name of a bridge, the beginning of one with * after it, or *');

/**
 * Allows each of the actions for each of the VMs, from each of `sources` to each of `destinations`; a start and a move, of VMs that open
 * nothing but what it names. A start, a fence and a reinstatement have no source.
 */
export const Scope = z.strictObject({
  actions: z.array(z.enum(ACTIONS)).min(1).max(ACTIONS.length),
  vms: z.array(VmPattern).min(1).max(1000),
  /** Of `start`, `fence` and `reinstate`, left out of the question. */
  sources: z.array(HostPattern).min(1).max(1000),
  /** Of `start`, where; of `fence`, the host that is said to be off; of `reinstate`, the host whose records are. */
  destinations: z.array(HostPattern).min(1).max(1000),
  /** Of `start` and `migrate`: what the VM document may name. Empty: a VM without disks, or without networks. */
  disks: z.array(PathPattern).max(1000),
  bootFiles: z.array(PathPattern).min(1).max(1000),
  bridges: z.array(BridgePattern).max(1000),
});
export type Scope = Readonly<z.infer<typeof Scope>>;

export const OperatorName = z.string().regex(/^[a-z0-9][a-z0-9._@-]{0,63}$/, 'lower-case letters, digits, and . _ @ - inside; at most 64');

export const Operator = z.strictObject({
  name: OperatorName,
  publicKey: PublicKey,
  status: z.enum(['active', 'revoked']),
  scopes: z.array(Scope).max(100),
});
export type Operator = Readonly<z.infer<typeof Operator>>;

/** What an operator wants: `source` is null where there is none; `vmId`, where it is about all VMs of a host. */
export interface Wish {
  readonly action: Action;
  readonly vmId: VmId | null;
  readonly source: HostId | null;
  readonly destination: HostId;
}

export function isWordOfTwo(action: Action, { wordsOfTwo }: { readonly wordsOfTwo: readonly Action[] }): boolean {
  return wordsOfTwo.includes(action);
}

export function isAllowed({ scopes }: Operator, wish: Wish): boolean {
  return scopes.some((scope) => covers(scope, wish));
}

/** What a VM opens on its host, as its document names it. */
export interface Resource {
  readonly kind: 'disk' | 'boot file' | 'bridge';
  readonly name: string;
}

/**
 * What of the VM no scope allows with this wish. One scope has to allow the wish and all of the VM: what two allow is not mixed. Of several
 * that allow the wish, the one that lacks the least is told. All of the VM where none does, or there is no such operator.
 */
export function resourcesNotAllowed(operator: Operator | undefined, wish: Wish, vm: VmDocument): readonly Resource[] {
  const scopes = (operator?.scopes ?? []).filter((scope) => covers(scope, wish));
  const all = resourcesOf(vm);
  return scopes.map((scope) => all.filter((resource) => !names(scope, resource))).reduce((least, lacking) => (lacking.length < least.length ? lacking : least), all);
}

function resourcesOf({ disks, boot, networks }: VmDocument): readonly Resource[] {
  return [
    ...disks.map(({ path }): Resource => ({ kind: 'disk', name: path })),
    ...[boot.kernel, boot.initrd].map((name): Resource => ({ kind: 'boot file', name })),
    ...networks.map(({ bridge }): Resource => ({ kind: 'bridge', name: bridge })),
  ];
}

const PATTERNS = { disk: 'disks', 'boot file': 'bootFiles', bridge: 'bridges' } as const satisfies Record<Resource['kind'], keyof Scope>;

/** Paths are documents', hence normalised. */
function names(scope: Scope, { kind, name }: Resource): boolean {
  return scope[PATTERNS[kind]].some((pattern) => (pattern.endsWith(ANY) ? name.startsWith(pattern.slice(0, -1)) : name === pattern));
}

function covers(scope: Scope, { action, vmId, source, destination }: Wish): boolean {
  return (
    scope.actions.includes(action) &&
    scope.vms.some((pattern) => matches(pattern, vmId)) &&
    (source === null || scope.sources.some((pattern) => pattern === ANY || pattern === source)) &&
    scope.destinations.some((pattern) => pattern === ANY || pattern === destination)
  );
}

function isOneOf(schema: z.ZodString, text: string): boolean {
  return schema.safeParse(text).success;
}

function matches(pattern: string, vmId: VmId | null): boolean {
  if (vmId === null) return pattern === ANY;
  return pattern.endsWith(ANY) ? vmId.startsWith(pattern.slice(0, -1)) : vmId === pattern;
}
