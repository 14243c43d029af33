/**
 * Who may have what done: operators, by their keys, and the scopes that the trust bundle gives them. A person, a
 * portal's service and an automaton are all operators. What only gives something up (an abort, a hold) asks for nobody's word.
 */
import { z } from 'zod';
import { PublicKey } from './envelope.js';
import { HostId, type VmId } from './ids.js';

export const ACTIONS = ['start', 'migrate', 'approve', 'fence', 'reinstate'] as const;
export type Action = (typeof ACTIONS)[number];

/** Which the trust bundle can let hosts take only from two operators: nothing but a person's word stands behind them. */
export const WORDS_OF_TWO = ['fence', 'reinstate'] as const satisfies readonly Action[];

const ANY = '*';
const VmPattern = z.string().regex(/^(?:\*|[a-z0-9][a-z0-9-]{0,47}\*?)$/, 'a VM id, the beginning of one with * after it, or *');
const HostPattern = z.union([z.literal(ANY), HostId]);

/** Allows each of the actions for each of the VMs, from each of `sources` to each of `destinations`. A start, a fence and a reinstatement have no source. */
export const Scope = z.strictObject({
  actions: z.array(z.enum(ACTIONS)).min(1).max(ACTIONS.length),
  vms: z.array(VmPattern).min(1).max(1000),
  /** Of `start`, `fence` and `reinstate`, left out of the question. */
  sources: z.array(HostPattern).min(1).max(1000),
  /** Of `start`, where; of `fence`, the host that is said to be off; of `reinstate`, the host whose records are. */
  destinations: z.array(HostPattern).min(1).max(1000),
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

export function isAllowed({ scopes }: Operator, { action, vmId, source, destination }: Wish): boolean {
  return scopes.some(
    (scope) =>
      scope.actions.includes(action) &&
      scope.vms.some((pattern) => matches(pattern, vmId)) &&
      (source === null || scope.sources.some((pattern) => pattern === ANY || pattern === source)) &&
      scope.destinations.some((pattern) => pattern === ANY || pattern === destination),
  );
}

function matches(pattern: string, vmId: VmId | null): boolean {
  if (vmId === null) return pattern === ANY;
  return pattern.endsWith(ANY) ? vmId.startsWith(pattern.slice(0, -1)) : vmId === pattern;
}
